"""Where a place stands in the queue, seen at a cost that does not grow with the queue.

etcd walks over each key of a range that it is asked for, and sorts them all for any order but that of their names. So a
place far back never asks for all that is before it. It has the places counted in a span right before its own, which
grows until there are enough in it for a long rest, or until it reaches the first place.
"""

import asyncio
import itertools
from dataclasses import dataclass

from locksmith.errors import CorruptValueError
from locksmith.lock import places
from locksmith.lock.records import keys, semaphore
from locksmith.store.protocol import Entry, Store

KNOWN = 20
"""How many places from the first on watch the one before: each watch costs etcd 140 KB."""
KNOWN_FOR_A_SLOT, MOST_KNOWN = 4, 1000
"""For each slot, how many places watch the one before, if those are more than `KNOWN`; and how many do at most.

As many machines may take a slot before the others check the queue again.
"""
LONG = 1000
"""From how many places on a queue is long: it is counted by a slice of its tickets."""
SPAN, GROWTH = 1024, 8
"""How many numbers before its own a place reads first, and how many times as many if those are not enough.

More places have one number only where they came at one moment: before each place that is made the revision counts up.
"""
COUNT_AFTER = 300.0
"""Seconds after which a long queue is counted again."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen: the position (1: the first), the length of the queue, and the places right before the own one.

    `before` has all of the few before the first ones, and at least the one that is to be watched; it is empty where the
    place stands far back. Not `exact`: the position is that or a later one. Not `counted`: the length is an estimate.
    `leaseless` are places that no lease ends: before the own one, or of an older version, for which no machine waits.
    `own` is None where the own place is gone.
    """

    own: Entry | None
    position: int
    length: int
    before: tuple[Entry, ...]
    revision: int
    exact: bool = True
    counted: bool = True
    leaseless: tuple[Entry, ...] = ()
    known: int = KNOWN
    """How many places from the first on watch the one before."""


class QueueSight:
    """One place's view of its queue. Errors are the store's."""

    def __init__(self, store: Store, group: str) -> None:
        self._store = store
        self._group = group
        self._length = 0
        self._counted = float("-inf")
        self._span = SPAN
        self._far = False

    def entered(self, ahead: int, slots: int) -> bool:
        """Take note of how many places were right before a new one, with so many slots; True: it stands far back."""
        self._length, self._counted, self._span = 0, float("-inf"), SPAN
        self._far = ahead > known_for(slots)
        return self._far

    async def observe(self, place: Entry) -> Sight:
        """See where a place stands."""
        if (self._far or self._length > LONG) and _now() - self._counted > COUNT_AFTER:
            await self._count(place)
        if not self._far and (sight := await self._near(place)):
            return sight
        return await self._from_afar(place)

    async def _count(self, place: Entry) -> None:
        """Count the tickets of the own slice; if they are few, the first places of the queue are read too."""
        tickets = await self._store.count(keys.tickets_prefix(self._group, places.name_in(place.key)))
        length, self._counted = keys.SLICES * (tickets - 1), _now()
        self._length, self._far = (length, self._far) if length > LONG else (0, False)

    async def _near(self, place: Entry) -> Sight | None:
        """Look from the first place on; None: the own one stands too far back for that."""
        short = self._length <= LONG
        upto = places.past(keys.waiters_prefix(self._group)) if short else _after(place.key)
        seen = await self._store.range(places.bound(self._group, 0), upto, limit=KNOWN + 1)
        if short:
            self._length = seen.total
        before = tuple(itertools.takewhile(lambda entry: entry.key < place.key, seen.entries))
        if len(before) > KNOWN:
            return None
        own = next((entry for entry in seen.entries if entry.key == place.key), None)
        older = [entry for entry in seen.entries if places.number_of(entry.key) is None]
        leaseless = (
            *itertools.takewhile(lambda entry: not entry.lease, reversed(before)),
            *(entry for entry in older if not entry.lease),
        )
        length = max(self._length, len(before) + 1)
        return Sight(own, len(before) + 1, length, before, seen.revision, counted=short, leaseless=leaseless)

    async def _from_afar(self, place: Entry) -> Sight:
        """Read a span before the own place, and the first place of the span: a copied keyspace has no leases."""
        own, known = await self._own_and_known(place)
        while True:
            low = max(0, _number(place) - self._span)
            seen = await self._store.range(places.bound(self._group, low), _after(place.key), limit=1)
            if low == 0 or seen.total > max(LONG, known + 1):
                break
            self._span *= GROWTH
        self._far = seen.total > known + 1
        if not self._far and seen.total <= KNOWN + 1 and (sight := await self._near(place)):
            return sight
        return Sight(
            own,
            seen.total,
            max(self._length, seen.total),
            () if self._far else await self._right_before(place),
            seen.revision,
            exact=not self._far,
            counted=self._length <= LONG,
            leaseless=await self._leaseless(place, low) if any(not entry.lease for entry in seen.entries) else (),
            known=known,
        )

    async def _leaseless(self, place: Entry, low: int) -> tuple[Entry, ...]:
        """Find places without a lease, of which the first in a span is one: those of a copied keyspace are many."""
        page = await self._store.range(places.bound(self._group, low), place.key, limit=KNOWN)
        return tuple(entry for entry in page.entries if not entry.lease)

    async def _own_and_known(self, place: Entry) -> tuple[Entry | None, int]:
        """Read the own place, and how many places are to watch: as many as slots may become free at one moment."""
        key = keys.semaphore_key(self._group)
        own, lock = await self._store.read([place.key, key])
        try:
            slots = semaphore.decode(lock.entry.value, key).max if lock.entry else 1
        except CorruptValueError:  # the first machine reports it
            slots = 1
        return own.entry, known_for(slots)

    async def _right_before(self, place: Entry) -> tuple[Entry, ...]:
        span, low = SPAN, 1
        while low:
            low = max(0, _number(place) - span)
            seen = await self._store.range(places.bound(self._group, low), place.key)
            if seen.entries:
                return seen.entries[-1:]
            span *= GROWTH
        return ()


def known_for(slots: int) -> int:
    """Say how many places watch the one before: at least as many as slots may become free at one moment."""
    return max(KNOWN, min(MOST_KNOWN, KNOWN_FOR_A_SLOT * slots))


def _number(place: Entry) -> int:
    """Read the number of a place of one's own, which has one."""
    return places.number_of(place.key) or 0


def _after(key: str) -> str:
    return key + "\0"


def _now() -> float:
    return asyncio.get_running_loop().time()
