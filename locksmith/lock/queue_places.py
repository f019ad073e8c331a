"""Makes the places of one program's claims in a queue, finds them again after a restart, keeps and removes them.

A name has one ticket, which leads to its one place (places.py). So a machine never waits for a place of its own that an
earlier run of it made: it finds that before it makes another.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from locksmith.errors import ConflictError, CorruptValueError
from locksmith.lock import places
from locksmith.lock.errors import OtherServerError
from locksmith.lock.queue_sight import SPAN
from locksmith.lock.records import waiter
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.waiter import Waiter
from locksmith.store.protocol import ABSENT, Check, Delete, Entering, Entry, Put, Store, remove

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A place, and its ticket, which expires with it; when it was kept, in the loop's time, and for how long.

    `doubtful`: a write of it was cut off, and it may differ from `entry` by now.
    """

    claim: Claim
    ticket: Entry
    entry: Entry
    kept: float
    ttl: float
    uncertain: bool = False
    found: bool = False
    """Whether it was there: an earlier run, or another server, made it."""


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

    async def enter(self, claim: Claim) -> tuple[Place, int]:
        """Make a place at the end, or find the one there is; and tell how many are right before it.

        Of a place that was there that is not known: then it is as if there were none.
        """
        try:
            return await self._enter(claim)
        except ConflictError:
            return await self._again(claim), 0

    def resumed(self, claim: Claim, ticket: Entry, entry: Entry) -> Place:
        """Give a place as it was read: it is to be kept at once."""
        lasts = read(entry, lambda found: found.lasts)
        return Place(claim, ticket, entry, float("-inf"), float(lasts or self._ttl), found=True)

    async def renew(self, place: Place) -> Place:
        """Prolong a place; `ConflictError`: it is gone."""
        await self._store.renew(place.entry, place.ttl)
        return replace(place, kept=_now())

    async def write(self, place: Place, ttl: float) -> Place:
        """Write a place once more, to last for `ttl`; `ConflictError`: it is no longer so."""
        now = waiter.decode(place.entry.value, place.entry.key)
        record = waiter.encode(now.kept(int(ttl)))
        entry, ticket = await self._store.rejoin(place.entry, record, place.ticket, ttl=ttl)
        return Place(place.claim, ticket, entry, _now(), ttl)

    async def remove(self, place: Place) -> None:
        """Remove a place and its ticket, also where they have lost their lease, as in a copied keyspace."""
        await self._remove(place.entry)
        await self._remove_ticket(place.ticket, place.entry)

    async def remove_of(self, claim: Claim, known: str = "") -> None:
        """Remove a claim's place that an earlier run of this program had; without one, nothing.

        Also a place with the key `known`: its ticket may be gone, if another server has taken the slot of the claim.
        """
        found = await self._find(claim)
        left = (await self._store.get(known)).entry if known and found.ticket is None else None
        for entry in (found.place, found.older, left):
            if entry is not None and _nonce(entry) == claim.nonce:
                await remove_place(self._store, entry)
                if found.ticket is not None:
                    await self._remove_ticket(found.ticket, entry)

    async def _enter(self, claim: Claim, turn: int | None = None, older: int = ABSENT) -> tuple[Place, int]:
        """Make a ticket and its place, in the stead of one of that version that an older version of locksmith made.

        `turn` is the number, where that is not the revision.
        """
        record = waiter.encode(Waiter.of(claim, self._halt_after, int(self._ttl)))
        legacy = places.older_key(self._group, claim)
        gone = Check(legacy, ABSENT) if older == ABSENT else Delete(legacy, older)

        def make(revision: int) -> Entering:
            number = revision if turn is None else turn
            return Entering(
                Put(places.place_key(self._group, claim, number), record, ABSENT),
                Put(places.ticket_key(self._group, claim), str(number).encode(), ABSENT),
                gone,
                since=places.bound(self._group, max(0, number - SPAN)),
            )

        entry, ticket, ahead = await self._store.enter(make, ttl=self._ttl)
        return Place(claim, ticket, entry, _now(), self._ttl), ahead

    async def _again(self, claim: Claim) -> Place:
        """Take over the place that an earlier run of this program had, or put this claim's in the stead of another.

        Of a client's place another server may have made it: that one's claim is the client's.
        """
        found = await self._find(claim)
        if found.place is not None and found.ticket is not None and _nonce(found.place) == claim.nonce:
            return await self._take_over(claim, found.ticket, found.place)
        if claim.is_clients and found.place is not None and _nonce(found.place) is not None:
            raise OtherServerError(f"{claim.holder} has a place in the queue for another call")
        for entry in (found.place, found.ticket):
            if entry is not None:
                await self._remove(entry)
        older = found.older
        turn = older.created if older is not None and _nonce(older) == claim.nonce else None
        place, _ = await self._enter(claim, turn, older.version if older else ABSENT)
        return place

    async def _take_over(self, claim: Claim, ticket: Entry, entry: Entry) -> Place:
        place = self.resumed(claim, ticket, entry)
        own = entry.lease and not is_shared(entry)
        return await (self.renew(place) if own else self.write(place, self._ttl))

    async def _find(self, claim: Claim) -> _Found:
        wanted = [places.ticket_key(self._group, claim), places.older_key(self._group, claim)]
        ticket, older = [reading.entry for reading in await self._store.read(wanted)]
        if ticket is None:
            return _Found(None, None, older)
        number = places.number_of_ticket(ticket.value)
        if number is None:
            return _Found(ticket, None, older)
        key = places.place_key(self._group, claim, number)
        return _Found(ticket, (await self._store.get(key)).entry, older)

    async def _remove_ticket(self, ticket: Entry, place: Entry) -> None:
        """Remove the ticket of a place that was removed, unless the end of their own lease has removed both."""
        if not ticket.lease or ticket.lease != place.lease or is_shared(place):
            await self._remove(ticket)

    async def _remove(self, entry: Entry) -> None:
        """Remove an entry, unless it was removed with another."""
        with contextlib.suppress(ConflictError):
            await remove_place(self._store, entry)


async def remove_place(store: Store, entry: Entry) -> None:
    """Remove a place or its ticket; `ConflictError`: it was changed meanwhile.

    A lease that many places share is not revoked with one of them. A ticket does not say whose lease it has, so it
    counts as one that shares it.
    """
    if entry.lease and not is_shared(entry):
        await remove(store, entry)
    else:
        await store.delete(entry.key, entry.version)


def is_shared(place: Entry) -> bool:
    """Tell whether the lease of a place is that of many; also of a place that cannot be read, whose lease may be."""
    return read(place, lambda found: found.shared) is not False


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
