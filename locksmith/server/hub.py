"""What all parts of a server share: the mirrors of its groups, and what waits by them.

The server's parts get from here what reads a group (`mirrors.store(group)`), and the store in which a machine near the
front of a queue asks (`store_of(group)`): etcd itself, apart from its watches.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from locksmith.server.group_mirror import ROUND, SETTLE, GroupMirror
from locksmith.server.mirror_store import GroupMirrors
from locksmith.server.proven_reads import SPREAD, FarBack, Proofs
from locksmith.server.shared_places import SharedPlaces
from locksmith.server.shared_reads import SharedReads
from locksmith.server.shared_renewals import SharedRenewals
from locksmith.server.waiting_room import WaitingRoom
from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from locksmith.store.protocol import Change, Reading, Store, Until, any_change

LONGEST_READ: Final = ROUND + SETTLE + SPREAD + 1
"""Seconds within which a mirror is proven, and who waited for that is answered. Then machines share a read."""
SETTLE_LIMIT: Final = 3.0
"""Seconds for what a server does still that ends in order."""
READY_LIMIT: Final = 3.0
"""Seconds for which a reader waits for a mirror that is read for the first time."""


class WatchingStore(ObservedStore):
    """A store whose changes of one group are told by its mirror: who waits opens no watch of its own."""

    def __init__(self, store: Store, mirror: GroupMirror) -> None:
        super().__init__(store, Meter())
        self._mirror = mirror

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait for a change: from memory, as long as that is kept current."""
        if self._mirror.keeps(key) and self._mirror.freshness.current:
            return await self._mirror.wait(key, after, prefix=prefix, limit=limit, until=until)
        return await super().wait(key, after, prefix=prefix, limit=limit, until=until)


class Hub:
    """The groups of a server, on one store. Where that tells no changes (etcd's v2 API), all ask the store itself."""

    def __init__(self, store: Store, groups: Iterable[str]) -> None:
        groups = tuple(groups)
        self._store = store
        self.mirrors = GroupMirrors(store, groups)
        self._rooms: dict[str, WaitingRoom] = {}
        self._stores: dict[str, Store] = {}
        self._shared = SharedReads(store)
        self._proofs: dict[str, Proofs] = {}
        self._kept: dict[str, SharedPlaces] = {}
        self._renewals: dict[str, SharedRenewals] = {}
        self._running: list[asyncio.Task[None]] = []
        for group in groups if self.mirrors.follows else ():
            mirror = self.mirrors.of(group)
            self._kept[group] = kept = SharedPlaces(store, mirror, group)
            self._rooms[group] = room = WaitingRoom(mirror, group, kept.called)
            kept.spare(room.is_near)
            self._renewals[group] = SharedRenewals(store, mirror)
            self._stores[group] = WatchingStore(store, mirror)
            self._proofs[group] = Proofs(mirror)

    def room(self, group: str) -> WaitingRoom | None:
        """Give where the machines of a group wait; None: they wait at the store."""
        return self._rooms.get(group)

    def answered(self, group: str, machine: str) -> None:
        """Note that a machine has called for its claim, and is answered by the store."""
        if (kept := self._kept.get(group)) is not None:
            kept.answered(machine)

    def renewals(self, group: str) -> SharedRenewals | None:
        """Give what prolongs the presence of a group's machines; None: each asks the store."""
        return self._renewals.get(group)

    def store_of(self, group: str) -> Store:
        """Give the store in which a machine of a group asks."""
        return self._stores.get(group, self._store)

    def reads_of(self, group: str, machine: str) -> Store:
        """Give the store in which a machine compares what it has seen: with others before it, it may share a read."""
        room = self.room(group)
        place = room.place_of(machine) if room is not None else None
        if room is None or place is None:
            return self.store_of(group)
        near, mirror = partial(room.wait, place, LONGEST_READ), self.mirrors.of(group)
        return FarBack(self._store, self._shared, near, mirror, self._proofs[group])

    async def read_since(self, key: str, since: float) -> tuple[Reading, float]:
        """Give a key of any part of the store as it was after a moment, and when the request for it began."""
        return await self.mirrors.joint.get_since(key, since)

    def recent(self, group: str) -> Store:
        """Give where a group may be read that is a moment old: in memory if that is current, else the store itself."""
        if group in self._rooms and self.mirrors.of(group).freshness.current:
            return self.mirrors.store(group)
        return self._store

    def tell(self, changed: Callable[[str, Collection[str]], None]) -> None:
        """Have each change of a group told, with the keys that have changed. It must neither wait nor fail."""
        for group in self._rooms:
            self.mirrors.of(group).on_change(partial(changed, group))

    def size_of(self, group: str, asked: Sequence[object]) -> int:
        """Say how many bytes keys of a group will have in an answer, by what was last known of them."""
        mirror = self.mirrors.of(group)
        found = (mirror.replica.get(key).entry for key in asked if isinstance(key, str))
        return sum(len(entry.value) * 4 // 3 for entry in found if entry is not None)

    async def ready(self, group: str) -> None:
        """Wait a moment for the mirror of a group, after a start: else the store would be read twice."""
        if group in self._rooms and not self.mirrors.of(group).freshness.current:
            await self.mirrors.of(group).changed(self.mirrors.of(group).revision, READY_LIMIT)

    def start(self) -> None:
        """Begin to follow the store."""
        self.mirrors.start()
        self._running += [asyncio.ensure_future(kept.run()) for kept in self._kept.values()]
        self._running += [asyncio.ensure_future(renewals.run()) for renewals in self._renewals.values()]

    async def settle(self) -> None:
        """Do what was promised to machines, as this server ends in order; after `SETTLE_LIMIT` seconds it is left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_LIMIT):
                await asyncio.gather(*(renewals.settle() for renewals in self._renewals.values()))

    async def close(self) -> None:
        """End what `start` began. Who waits keeps its place: the next server that it asks keeps that."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.mirrors.close()
