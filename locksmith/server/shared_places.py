"""Keeps the places of the machines of a group that wait at this server: by one lease, not one for each.

A machine that waits far back calls about every minute. To prolong a lease of its own each time would cost the store a
request for each machine. So the server binds the places of the machines that call it to a lease of its own, many in one
transaction, and prolongs that. docs/decisions/0078 has the reasons.

- A machine that calls no more is noted here, and its place removed `SILENT` seconds after its last call.
- If this server ends, its lease ends too, `TTL` seconds later. Until then its machines call another server, which binds
  their places to its own lease. Their numbers in the queue stay.
- A place that another server, or its own machine, has written since is none of this server's business any more.
- Near the front a place has a lease of its own again: its machine writes it when it asks the store (lock/queue.py).
  This server does not write it from then on: the machine's take names its place as the machine wrote it.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from locksmith.errors import ConflictError, CorruptValueError, StoreError, StoreRefusedError
from locksmith.lock import places
from locksmith.lock.records import keys, waiter
from locksmith.server.group_mirror import Mirror
from locksmith.store.feed import Feeds
from locksmith.store.protocol import Entry, Put, Store

log = logging.getLogger(__name__)

TTL: Final = 240.0
"""Seconds after which the places expire of a server that is gone. Its machines call another one within one of them."""
KEEP_AFTER: Final = 60.0
"""Seconds after which the lease is prolonged."""
LEFT: Final = 20.0
"""Seconds for which the lease must last still when a place is bound to it: a few rounds."""
SILENT: Final = 150.0
"""Seconds after its last call at which the place of a machine is removed: it calls every minute."""
ROUND: Final = 5.0
"""Seconds between two checks of which machines have called."""
AT_ONCE: Final = 250
"""Places that are checked in one round of the event loop: ten thousand take 20 ms, and calls would wait."""
TOGETHER: Final = 50
"""Places that are bound in one transaction, each with its ticket."""


@dataclass(frozen=True, slots=True)
class _Guest:
    """A machine's place as it was when the machine called last, and when that was, in the loop's time."""

    place: Entry
    called: float
    fresh: bool = True
    """Whether it has called since the last round."""


class SharedPlaces:
    """One group's. `called` notes a call; `run` does the rest. Errors are logged, and tried again."""

    def __init__(self, store: Store, mirror: Mirror, group: str) -> None:
        self._store, self._mirror, self._group = store, mirror, group
        self._guests: dict[str, _Guest] = {}
        # The keys of places that are gone. Their tickets may be there still: the lease of the others would keep them.
        self._left: dict[str, None] = {}
        self._lease, self._kept = 0, float("-inf")
        self._warned = False
        self._is_near: Callable[[str], bool] = _never

    def spare(self, is_near: Callable[[str], bool]) -> None:
        """Write no place, by its key, of which `is_near` tells that its machine asks the store itself by now."""
        self._is_near = is_near

    def called(self, place: Entry) -> None:
        """Note that the machine of a place has called, and waits here."""
        self._guests[place.key] = _Guest(place, _now())

    def answered(self, machine: str) -> None:
        """Note that a machine has called, and is answered by the store: a place of it that is noted here stays so."""
        ticket = self._mirror.replica.get(keys.ticket_key(self._group, machine)).entry
        number = places.number_of_ticket(ticket.value) if ticket is not None else None
        key = places.numbered_key(self._group, machine, number) if number is not None else ""
        if (guest := self._guests.get(key)) is not None:
            self._guests[key] = replace(guest, called=_now())

    async def run(self) -> None:
        """Keep the places until this is cancelled. They stay then, as long as the lease does."""
        while True:
            await asyncio.sleep(ROUND)
            try:
                await self._round()
                self._warned = False
            except StoreError as error:
                if not self._warned:
                    log.warning("the places of machines that wait here are not kept: %s", error)
                self._warned = True
            except Exception:
                log.exception("a defect of locksmith-server: the places of machines that wait here are not kept")

    async def _round(self) -> None:
        if not self._mirror.freshness.current:
            return
        now = _now()
        await self._keep(now)
        foreign, silent = list[Entry](), list[Entry]()
        for number, key in enumerate(tuple(self._guests), 1):
            self._sort(key, now, foreign, silent)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        for entry in silent:
            guest = self._guests.get(entry.key)
            if guest is not None and guest.called <= now - SILENT:  # it has not called meanwhile
                log.info("removing %s: its machine has not called for %.0f s", entry.key, SILENT)
                await self._remove(entry)
        await self._remove_tickets()
        for start in range(0, len(foreign), TOGETHER):
            await self._bind(foreign[start : start + TOGETHER])

    def _sort(self, key: str, now: float, foreign: list[Entry], silent: list[Entry]) -> None:
        """Note what is to be done with a place: `foreign` ones are bound, and those of `silent` machines removed."""
        guest, entry = self._guests[key], self._mirror.replica.get(key).entry
        if entry is None:
            del self._guests[key]
            self._left[key] = None
        elif entry.lease != self._lease and self._is_near(key):
            del self._guests[key]
        elif entry.lease == self._lease:
            if now - guest.called > SILENT:
                silent.append(entry)
            elif guest.fresh:
                self._guests[key] = replace(guest, fresh=False)
        elif now - guest.called <= SILENT and (guest.fresh or entry.version == guest.place.version):
            foreign.append(entry)
            self._guests[key] = replace(guest, place=entry, fresh=False)
        else:
            del self._guests[key]  # another has written it since

    async def _keep(self, now: float) -> None:
        """Prolong the lease, through any place that has it."""
        if not self._lease or now - self._kept < KEEP_AFTER:
            return
        bound = (self._mirror.replica.get(key).entry for key in self._guests)
        entry = next((entry for entry in bound if entry is not None and entry.lease == self._lease), None)
        if entry is None:
            if now - self._kept > TTL / 2:
                self._lease = 0  # no place needs it: it ends
            return
        try:
            await self._store.renew(entry, TTL)
        except ConflictError:
            log.warning("the lease of the places of machines that wait here has ended: they enter the queue again")
            self._lease = 0
        else:
            self._kept = now

    async def _bind(self, entries: list[Entry]) -> None:
        """Bind places and their tickets to the lease; of those that have just changed, the others."""
        store = self._store
        if not isinstance(store, Feeds):
            raise StoreRefusedError("this store does not bind many keys to one lease")
        puts = [put for entry in entries for put in self._puts(entry)]
        if not puts:
            return
        if not self._lease:
            asked = _now()  # it runs from then on at the earliest: this server may stand still until it hears of it
            self._lease, self._kept = await self._store.lend(TTL), asked
        if _now() - self._kept > TTL - LEFT:
            return  # this server has stood still: the lease may end in a moment, and the next round prolongs it first
        try:
            await store.bind(puts, self._lease)
            self._bound(entries)
        except ConflictError:
            half = len(entries) // 2
            if half:
                await self._bind(entries[:half])
                await self._bind(entries[half:])
            return
        except StoreRefusedError:
            self._lease = 0
            raise

    def _bound(self, entries: list[Entry]) -> None:
        """Note that other servers leave these places to this one: from now on their machines have the time to call.

        They may have called another server, or the store, while this one stood still.
        """
        for entry in entries:
            if (guest := self._guests.get(entry.key)) is not None:
                self._guests[entry.key] = replace(guest, called=_now())

    def _puts(self, place: Entry) -> list[Put]:
        """Give the writes that bind a place, and its ticket if it has one."""
        try:
            record = waiter.encode(replace(waiter.decode(place.value, place.key), shared=True))
        except CorruptValueError:
            return []
        ticket = self._ticket(place.key)
        return [Put(place.key, record, place.version)] + (
            [Put(ticket.key, ticket.value, ticket.version)] if ticket is not None else []
        )

    def _ticket(self, place: str) -> Entry | None:
        return self._mirror.replica.get(keys.ticket_key(self._group, places.name_in(place))).entry

    async def _remove(self, place: Entry) -> None:
        ticket = self._ticket(place.key)
        try:
            await self._store.delete(place.key, place.version)
            if ticket is not None:
                await self._store.delete(ticket.key, ticket.version)
        except ConflictError:
            log.debug("%s was changed meanwhile", place.key)

    async def _remove_tickets(self) -> None:
        for place in tuple(self._left):
            await self._remove_ticket(place)
            del self._left[place]

    async def _remove_ticket(self, place: str) -> None:
        """Remove the ticket of a place that is gone, if it was left: its removal may have failed.

        A machine that comes back meanwhile makes another ticket.
        """
        ticket = self._ticket(place)
        if ticket is None or not self._lease or ticket.lease != self._lease:
            return
        number = places.number_of_ticket(ticket.value)
        if number is None or places.numbered_key(self._group, places.name_in(place), number) != place:
            return
        with suppress(ConflictError):
            await self._store.delete(ticket.key, ticket.version)


def _never(_place: str) -> bool:
    return False


def _now() -> float:
    return asyncio.get_running_loop().time()
