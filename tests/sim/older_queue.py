"""The queue as versions before the numbered places have it: `waiters/<name>`, in the order of creation.

Machines of both versions stand in one queue while a fleet is upgraded.
"""

import asyncio
import itertools
from dataclasses import replace

from locksmith.lock import places
from locksmith.lock.queue import Queue
from locksmith.lock.queue_places import Place, Places
from locksmith.lock.queue_sight import QueueSight, Sight
from locksmith.lock.records import keys, waiter
from locksmith.lock.records.waiter import Waiter
from locksmith.store.protocol import remove


class OlderPlaces(Places):
    """One key for each name."""

    async def enter(self, claim) -> tuple[Place, int]:
        """Make the place, or take over the one there is."""
        key = places.older_key(self._group, claim)
        found = (await self._store.get(key)).entry
        record = waiter.encode(Waiter.of(claim, self._halt_after))
        if found is not None and waiter.decode(found.value, key).nonce == claim.nonce:
            if found.lease:
                await self._store.renew(found, self._ttl)
            else:
                found = await self._store.replace(found, record, self._ttl)
        else:
            if found is not None:
                await remove(self._store, found)
            found = await self._store.create(key, record, ttl=self._ttl)
        return Place(claim, found, found, now(), self._ttl), 0

    async def write(self, place, ttl) -> Place:
        """Write the place once more."""
        then = waiter.decode(place.entry.value, place.entry.key)
        record = waiter.encode(replace(then, beat=then.beat + 1))
        entry = await self._store.update(place.entry, record, ttl)
        return Place(place.claim, entry, entry, now(), ttl)

    async def remove_of(self, claim, known="") -> None:
        """Remove the place that an earlier run had. It has no ticket, so nothing else is `known`."""
        del known
        found = (await self._store.get(places.older_key(self._group, claim))).entry
        if found is not None and waiter.decode(found.value, found.key).nonce == claim.nonce:
            await remove(self._store, found)


class OlderSight(QueueSight):
    """Every place that was made before the own one is before it, of whatever version."""

    def entered(self, ahead, slots) -> bool:
        """Look at once."""
        del ahead, slots
        return False

    async def observe(self, place) -> Sight:
        """See the places that were made before: all of them, as so many slots may be free."""
        prefix = keys.waiters_prefix(self._group)
        seen = await self._store.list(prefix, last_before=place.created + 1)
        own = next((entry for entry in seen.entries if entry.key == place.key), None)
        before = tuple(entry for entry in seen.entries if entry.created < place.created)
        leaseless = tuple(itertools.takewhile(lambda entry: not entry.lease, reversed(before)))
        return Sight(own, len(before) + 1, seen.total, before, seen.revision, leaseless=leaseless)


class OlderQueue(Queue):
    """The queue of an older version."""

    def __init__(self, store, group, **more) -> None:
        super().__init__(store, group, **more)
        mine = self._places
        self._places = OlderPlaces(store, group, mine._ttl, mine._halt_after)
        self._sight = OlderSight(store, group)


def now() -> float:
    """Tell the loop's time."""
    return asyncio.get_running_loop().time()
