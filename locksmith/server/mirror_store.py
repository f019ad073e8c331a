"""Read-only stores that answer from mirrors, and who keeps the mirrors of a server's groups.

`GroupMirrors.store(group)` is for all that reads a group, like `fleet.reader.read_group(mirrors.store(group), group)`.
It raises `StoreUnavailableError` while the group is not current. `last_known=True` gives what was known last, however
old that is: for a page that shows the age (`mirrors.of(group).freshness`).
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from locksmith.errors import PastGoneError, StoreRefusedError
from locksmith.lock.records import keys
from locksmith.server.group_mirror import GroupMirror, Mirror, Unfollowed
from locksmith.server.joint_reads import JointReads
from locksmith.store.feed import Feeds
from locksmith.store.protocol import (
    Also,
    Change,
    Entering,
    Entry,
    Fingerprint,
    Listing,
    Reading,
    Store,
    Until,
    any_change,
)
from locksmith.store.replica import Replica


class MirrorStore:
    """`Store` without its writes. Each answer is of the revision that it names. Nothing here waits but `wait`.

    `StoreUnavailableError`: the mirror is not `current`. `StoreRefusedError`: a write, or a key that is not mirrored.
    """

    transactional = True

    def __init__(self, mirrors: Sequence[Mirror], *, last_known: bool = False) -> None:
        self._mirrors = mirrors
        self._current = not last_known

    async def get(self, key: str) -> Reading:
        """Give one key."""
        return self._of(key).get(key)

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Give several keys: those of one mirror as they are at one revision."""
        return [self._of(key).get(key) for key in keys]

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Give the keys below a prefix."""
        return self._of(prefix).list(prefix, limit, last_before)

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Give the keys between two; `PastGoneError`: the mirror has gone on from revision `at`."""
        replica = self._of(start)
        if at and at != replica.revision:
            raise PastGoneError(f"locksmith-server no longer has the revision {at}")
        return replica.range(start, end, limit)

    async def count(self, prefix: str) -> int:
        """Count the keys below a prefix."""
        return self._of(prefix).count(prefix)

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below a prefix."""
        return self._of(prefix).folders(prefix)

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether this entry is there now; None: it is not, and the past is not known here."""
        entry = self._of(seen.key).get(seen.key).entry
        return True if entry is not None and Fingerprint.of(entry) == seen else None

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait for a change."""
        return await self._mirror(key).wait(key, after, prefix=prefix, limit=limit, until=until)

    async def close(self) -> None:
        """Do nothing: the mirrors are of the server."""

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Refuse."""
        del value, ttl
        self.refuse(key)

    async def lend(self, ttl: float) -> int:
        """Refuse."""
        del ttl
        self.refuse("a lease")

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Refuse."""
        del ttl
        self.refuse(make(0).place.key)

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Refuse."""
        del value, other, ttl
        self.refuse(entry.key)

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Refuse."""
        del value, version, also, ttl
        self.refuse(key)

    async def delete(self, key: str, version: int) -> None:
        """Refuse."""
        del version
        self.refuse(key)

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Refuse."""
        del value, ttl
        self.refuse(entry.key)

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Refuse."""
        del value, ttl
        self.refuse(entry.key)

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Refuse."""
        del ttl
        self.refuse(entry.key)

    async def revoke(self, entry: Entry) -> None:
        """Refuse."""
        self.refuse(entry.key)

    def refuse(self, what: str) -> NoReturn:
        """Write nothing."""
        raise StoreRefusedError(f"{what} cannot be written through what locksmith-server keeps in memory: a defect")

    def _mirror(self, key: str) -> Mirror:
        for mirror in self._mirrors:
            if key.startswith(mirror.prefix):
                return mirror
        raise StoreRefusedError(f"{key} is not among the keys that locksmith-server keeps in memory")

    def _of(self, key: str) -> Replica:
        return self._mirror(key).require(current=self._current)


class GroupMirrors:
    """The mirrors of a server's groups, and that of the sets of windows, which all groups share.

    On a store that tells no changes (etcd's v2 API) nothing is mirrored: readers ask it, every `POLL` seconds at most.
    """

    def __init__(self, store: Store, groups: Iterable[str]) -> None:
        self._store = store
        self.follows = isinstance(store, Feeds)
        """Whether the store tells its changes."""
        make = GroupMirror if self.follows else Unfollowed
        self.joint = JointReads(store)
        """What reads a key at the time of a round, with those that the mirrors read."""
        self._groups = {group: make(store, group, joint=self.joint) for group in groups}
        self._windows = Mirror(store, keys.windows_prefix(), "the sets of windows", joint=self.joint)
        self._running: list[asyncio.Task[None]] = []

    def of(self, group: str) -> GroupMirror:
        """Give the mirror of a group that this server serves; `KeyError`: it does not."""
        return self._groups[group]

    def store(self, group: str, *, last_known: bool = False) -> Store:
        """Give what reads a group, and the sets of windows. It is not to be closed."""
        if not self.follows:
            return self._store
        return MirrorStore(self.views(group), last_known=last_known)

    def views(self, group: str) -> tuple[Mirror, ...]:
        """Give the mirrors that have the keys of a group, and the sets of windows."""
        # The keys of the default group begin as those of the sets of windows.
        return self._windows, self.of(group)

    def doubt(self) -> None:
        """Have nothing that is known count as current, as another cluster counts from now on."""
        for mirror in (self._windows, *self._groups.values()):
            mirror.doubt()

    def start(self) -> None:
        """Begin to follow the store."""
        for mirror in (self._windows, *self._groups.values()) if self.follows else ():
            self._running.append(asyncio.ensure_future(mirror.run()))

    async def close(self) -> None:
        """Follow the store no more. What is known stays, and gets old."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
