"""Makes the places of one program's claims in a queue, finds them again after a restart, keeps and removes them.

A name has one ticket, which leads to its one place (places.py). So a machine never waits for a place of its own that an
earlier run of it made: it finds that before it makes another.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from locksmith import keys, places, waiter
from locksmith.errors import ConflictError, CorruptValueError
from locksmith.fleet import Claim
from locksmith.kv.store import ABSENT, Delete, Entry, Store, remove
from locksmith.queue_sight import LONG, estimate
from locksmith.waiter import Waiter

FAR_TTL = 900.0
"""Seconds after which a place expires that nobody keeps, where more than `LONG` are before it: 100,000 of them would be
prolonged 4,000 times a second."""
DIGITS = 19
"""Digits of the highest number that a ticket may name."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A place, and its ticket, which expires with it; when it was kept, in the loop's time, and for how long.

    `doubtful`: a write of it was cut off, and it may stand otherwise than in `entry` by now.
    """

    claim: Claim
    ticket: Entry
    entry: Entry
    kept: float
    ttl: float
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """What the store has of a name: its ticket, its place, and one that a version before this one made."""

    ticket: Entry | None
    place: Entry | None
    older: Entry | None


class Places:
    """The places of one program, one at a time. `ttl` is for how long they last near the front."""

    def __init__(self, store: Store, group: str, ttl: float, halt_after: str) -> None:
        self._store = store
        self._group = group
        self._ttl = ttl
        self._halt_after = halt_after
        # A ticket whose place is gone: the next place needs another number.
        self._used: Entry | None = None

    async def enter(self, claim: Claim) -> tuple[Place, int]:
        """Draw a ticket and make its place at the end, or find the one there is; and the tickets in its slice.

        Of a place that was there nothing is known: then it is as if there were no other ticket.
        """
        used, self._used = self._used, None
        try:
            if used is not None:
                await remove(self._store, used)
            ticket, tickets = await self._draw(claim)
            far = estimate(tickets) > LONG
            return await self._join(claim, ticket, ticket.created, FAR_TTL if far else self._ttl), tickets
        except ConflictError:
            return await self._again(claim), 1

    async def renew(self, place: Place) -> Place:
        """Prolong a place; `ConflictError`: it is gone."""
        await self._store.renew(place.entry, place.ttl)
        return replace(place, kept=_now())

    async def write(self, place: Place) -> Place:
        """Write a place once more, to last as long as one near the front; `ConflictError`: it is no longer so."""
        now = waiter.decode(place.entry.value, place.entry.key)
        record = waiter.encode(replace(now, beat=now.beat + 1, lasts=int(self._ttl)))
        entry, ticket = await self._store.rejoin(place.entry, record, place.ticket, ttl=self._ttl)
        return Place(place.claim, ticket, entry, _now(), self._ttl)

    async def remove(self, place: Place) -> None:
        """Remove a place and its ticket."""
        await self._store.revoke(place.entry)
        if place.ticket.lease != place.entry.lease:
            await self._remove(place.ticket)

    async def remove_of(self, claim: Claim) -> None:
        """Remove a claim's place that an earlier run of this program had; without one, nothing."""
        found = await self._find(claim)
        for entry in (found.place, found.older):
            if entry is not None and _nonce(entry) == claim.nonce:
                await remove(self._store, entry)
                if found.ticket is not None and found.ticket.lease != entry.lease:
                    await self._remove(found.ticket)

    def gone(self, place: Place) -> None:
        """Take note that a place is gone, and not its ticket."""
        self._used = place.ticket

    async def _draw(self, claim: Claim, number: str = "") -> tuple[Entry, int]:
        """Make a ticket; `number` is the one of its place, where that is not its own revision."""
        key, among = places.ticket_key(self._group, claim), keys.tickets_prefix(self._group, places.name_of(claim))
        return await self._store.enter(key, number.encode(), among)

    async def _join(self, claim: Claim, ticket: Entry, number: int, ttl: float, older: int = ABSENT) -> Place:
        """Make the place of a ticket, and remove the one that a version before this one made."""
        key, gone = places.place_key(self._group, claim, number), places.older_key(self._group, claim)
        record = waiter.encode(Waiter.of(claim, self._halt_after, int(ttl)))
        entry, ticket = await self._store.join(key, record, ticket, [Delete(gone, older)], ttl=ttl)
        return Place(claim, ticket, entry, _now(), ttl)

    async def _again(self, claim: Claim) -> Place:
        """Take over the place that an earlier run of this program had, or put this claim's in the stead of another."""
        found = await self._find(claim)
        if found.place is not None and found.ticket is not None and _nonce(found.place) == claim.nonce:
            return await self._take_over(claim, found.ticket, found.place)
        for entry in (found.place, found.ticket):
            if entry is not None:
                await self._remove(entry)
        older = found.older
        turn = older.created if older is not None and _nonce(older) == claim.nonce else 0
        ticket, _ = await self._draw(claim, str(turn or ""))
        return await self._join(claim, ticket, turn or ticket.created, self._ttl, older.version if older else ABSENT)

    async def _take_over(self, claim: Claim, ticket: Entry, entry: Entry) -> Place:
        lasts = read(entry, lambda found: found.lasts)
        place = Place(claim, ticket, entry, _now(), float(lasts or self._ttl))
        return await (self.renew(place) if entry.lease else self.write(place))

    async def _find(self, claim: Claim) -> _Found:
        wanted = [places.ticket_key(self._group, claim), places.older_key(self._group, claim)]
        ticket, older = [reading.entry for reading in await self._store.read(wanted)]
        if ticket is None:
            return _Found(None, None, older)
        named = ticket.value.isdigit() and len(ticket.value) < DIGITS
        key = places.place_key(self._group, claim, int(ticket.value) if named else ticket.created)
        return _Found(ticket, (await self._store.get(key)).entry, older)

    async def _remove(self, entry: Entry) -> None:
        """Remove an entry, unless it was removed with another."""
        with contextlib.suppress(ConflictError):
            await remove(self._store, entry)


def read(entry: Entry, part: Callable[[Waiter], T]) -> T | None:
    """Read a part of a place's record; None: it cannot be read."""
    try:
        return part(waiter.decode(entry.value, entry.key))
    except CorruptValueError:
        return None


def _nonce(entry: Entry) -> str | None:
    return read(entry, lambda found: found.nonce)


def _now() -> float:
    return asyncio.get_running_loop().time()
