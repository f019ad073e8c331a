"""Refusals from memory: a call is rehearsed on the group's mirror, and asks etcd only if it may be granted.

The rehearsal is the call itself, with the lock's own code, on a store that reads from the mirror and writes nothing.
If it ends in a refusal, that is the answer. Where it would write, or cannot tell, it ends, and the call begins again at
etcd. It never ends in a permission: that takes a write. docs/decisions/0089 has the reasons.

A place in the queue is the one exception: the rehearsal keeps it, at etcd, if it does not last for long enough.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NoReturn

from locksmith.server.foreseen import NotForeseenError
from locksmith.server.group_mirror import FRESH, GroupMirror, Mirror
from locksmith.server.hub import Hub, WatchingStore
from locksmith.server.kept_places import KeptPlaces
from locksmith.server.mirror_store import MirrorStore
from locksmith.store.protocol import Also, Entering, Entry, Listing, Reading, Store


class RehearsalStore(MirrorStore):
    """What a rehearsal asks. `store` is etcd, for the places that are to be kept."""

    def __init__(self, mirrors: Sequence[Mirror], kept: KeptPlaces, store: Store) -> None:
        super().__init__(mirrors)
        self._kept, self._store = kept, store

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong a place, unless it lasts for long enough."""
        await self._kept.renew(self._store, entry, ttl)

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Write a place, unless it is as it is to be, and was written lately."""
        if self._kept.suits(entry, ttl):
            return entry, other
        return await self._store.rejoin(entry, value, other, ttl=ttl)

    def refuse(self, what: str) -> NoReturn:
        """End the rehearsal."""
        raise NotForeseenError(f"{what} is to be written")


class CallStore(WatchingStore):
    """The store of one call. Its changes are told by the mirror. It knows what the mirror must have for the next call.

    `revision` is the highest that was read or written. `unclear`: something was removed, or may have been written, and
    nothing was read since.
    """

    def __init__(self, store: Store, mirror: GroupMirror, kept: KeptPlaces) -> None:
        super().__init__(store, mirror)
        self._kept = kept
        self.revision = 0
        self.unclear = False

    async def get(self, key: str) -> Reading:
        """Read one key."""
        reading = await super().get(key)
        self._saw(reading.revision)
        return reading

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys."""
        readings = await super().read(keys)
        self._saw(min((reading.revision for reading in readings), default=0))
        return readings

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys between two."""
        listing = await super().range(start, end, limit=limit, at=at)
        self._saw(listing.revision)
        return listing

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist."""
        self.unclear = True
        return self._wrote(await super().create(key, value, ttl=ttl))

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Write a place and its ticket."""
        self.unclear = True
        place, ticket, ahead = await super().enter(make, ttl=ttl)
        return self._wrote(place), ticket, ahead

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong a place, unless it lasts for long enough."""
        await self._kept.renew(self._store, entry, ttl)

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Write a place and its ticket once more, unless they are as they are to be, and were written lately."""
        if self._kept.suits(entry, ttl):
            return entry, other
        self.unclear = True
        written, ticket = await super().rejoin(entry, value, other, ttl=ttl)
        return self._wrote(written), ticket

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings."""
        self.unclear = True
        return self._wrote(await super().swap(key, value, version, also, ttl=ttl))

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over an entry that expires."""
        self.unclear = True
        return self._wrote(await super().update(entry, value, ttl))

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write over another's entry that expires."""
        self.unclear = True
        return self._wrote(await super().replace(entry, value, ttl))

    async def delete(self, key: str, version: int) -> None:
        """Remove a key."""
        self.unclear = True
        await super().delete(key, version)

    async def revoke(self, entry: Entry) -> None:
        """Remove an entry that expires."""
        self.unclear = True
        await super().revoke(entry)

    def _saw(self, revision: int) -> None:
        self.revision, self.unclear = max(self.revision, revision), False

    def _wrote(self, entry: Entry) -> Entry:
        self._saw(entry.version)
        return entry


@dataclass(frozen=True, slots=True)
class _Asked:
    """The last call of a client that asked etcd: what it has seen, and when it ended, in the loop's time."""

    revision: int
    unclear: bool
    at: float


SOON: Final = 0.05
"""Seconds for which a call waits for the mirror; etcd tells it of a change within a few milliseconds."""
KEPT_FOR: Final = FRESH
"""Seconds for which a call is remembered: what is current by then was read after it."""


class Rehearsals:
    """The rehearsals of one group, on what a server keeps in memory. `store` is etcd."""

    def __init__(self, hub: Hub, group: str, store: Store) -> None:
        self._mirror = hub.mirrors.of(group)
        self._store = store
        self._calls: dict[str, _Asked] = {}
        self._release: _Asked | None = None
        self._kept = KeptPlaces(self._mirror, group)
        self.on_mirror = RehearsalStore(hub.mirrors.views(group), self._kept, store)
        """The store of all rehearsals."""

    def call_store(self) -> CallStore:
        """Give the store of a call that asks etcd."""
        return CallStore(self._store, self._mirror, self._kept)

    def asked(self, client: str, store: CallStore, *, releases: bool = False) -> None:
        """Note that a call of a client has asked etcd. A call that `releases` a slot concerns all clients."""
        now = _now()
        self._calls.pop(client, None)
        for other, call in tuple(islice(self._calls.items(), 2)):  # the oldest come first
            if call.at < now - KEPT_FOR:
                del self._calls[other]
        self._calls[client] = _Asked(store.revision, store.unclear, now)
        if releases:
            self._release = _Asked(store.revision, False, now)

    def knows(self, client: str) -> bool:
        """Tell whether the mirror is current, and has all that matters here of what earlier calls have done.

        That is what the client has done itself, and the last release: a slot that was just freed is not refused.
        """
        freshness = self._mirror.freshness
        if not freshness.current or freshness.age is None:
            return False
        proven_at = _now() - freshness.age
        return all(self._has(call, proven_at) for call in (self._calls.get(client), self._release))

    async def knows_soon(self, client: str) -> bool:
        """Do what `knows` does, after a moment in which the mirror may hear of what it lacks."""
        until, call = _now() + SOON, self._calls.get(client)
        if call is not None and call.unclear:
            return self.knows(client)  # no change tells what has become of it
        while not self.knows(client) and self._mirror.freshness.current and (left := until - _now()) > 0:
            await self._mirror.changed(self._mirror.revision, left)
        return self.knows(client)

    def _has(self, call: _Asked | None, proven_at: float) -> bool:
        if call is None or call.at < proven_at:
            return True
        return not call.unclear and call.revision <= self._mirror.proven_revision


def _now() -> float:
    return asyncio.get_running_loop().time()
