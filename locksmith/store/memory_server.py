"""The server of the store in memory: keys, leases and watches, on the clock of the event loop.

Above 300 lines, in one piece: its methods are transactions over the same few fields.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from locksmith.errors import ConflictError, PastGoneError, StoreRefusedError
from locksmith.store.feed import Batch, Hear, Opened, Removed
from locksmith.store.protocol import (
    ABSENT,
    MOST_OPERATIONS,
    Also,
    Change,
    Check,
    Delete,
    Entering,
    Entry,
    Fingerprint,
    Listing,
    Note,
    Put,
    Reading,
    knows_by_present,
)


@dataclass(eq=False, slots=True)
class Watch:
    """A watch of a key, or of a prefix."""

    key: str
    prefix: bool
    woken: asyncio.Future[Change]


@dataclass(eq=False, slots=True)
class Listener:
    """A client that is told each change below a prefix; `ended` is set when its connection is lost."""

    prefix: str
    hear: Hear
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Backup:
    """A store as it was: its revision, its entries, and the seconds that each of its leases had left."""

    revision: int
    entries: tuple[Entry, ...]
    left: dict[int, float]


@dataclass(slots=True)
class MemoryServer:
    """What all clients share. Nothing here awaits, so each method is a transaction."""

    revision: int = 1
    cluster: str = "cafe"
    _entries: dict[str, Entry] = field(default_factory=dict)
    _deadlines: dict[int, float] = field(default_factory=dict)
    _changed: dict[str, int] = field(default_factory=dict)
    _compacted: int = 0
    # The values that were written since the last compaction, by their key and version.
    _past: dict[tuple[str, int], bytes] = field(default_factory=dict)
    # Each folder's keys, so that no call has to read all of them; and when one of them was changed last.
    _folders: dict[str, dict[str, None]] = field(default_factory=dict)
    _touched: dict[str, int] = field(default_factory=dict)
    # By key, and by prefix; in order of their coming, so that a simulation wakes all clients the same way twice.
    _watches: dict[str, dict[Watch, None]] = field(default_factory=dict)
    _broad: dict[str, dict[Watch, None]] = field(default_factory=dict)
    _listeners: dict[Listener, None] = field(default_factory=dict)
    # The keys that were changed since the listeners were told.
    _untold: dict[str, None] = field(default_factory=dict)
    _leases: int = 0
    # The keys of each lease.
    _bound: dict[int, dict[str, None]] = field(default_factory=dict)

    def read(self, key: str) -> Reading:
        """Read one key."""
        return Reading(self._entries.get(key), self.revision)

    def read_all(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys, or `StoreRefusedError` where they are more than etcd's default allows."""
        _refuse_too_many(len(keys))
        return [self.read(key) for key in keys]

    def list(self, prefix: str, limit: int, last_before: int | None) -> Listing:
        """Read the keys below a prefix, as `Store.list` says."""
        below = (self._entries[key] for folder in self._below(prefix) for key in self._folders[folder])
        found = sorted(below, key=lambda entry: (entry.created, entry.key))
        total = len(found)
        if last_before is not None:
            found = [entry for entry in found if entry.created < last_before][-limit:]
        elif limit:
            found = found[:limit]
        return Listing(tuple(found), self.revision, total)

    def range(self, start: str, end: str, limit: int, at: int) -> Listing:
        """Read the keys between two, as `Store.range` says; of the past no more is known than that it is gone."""
        if at and at != self.revision:
            raise PastGoneError(f"the store in memory no longer has its revision {at}")
        found = sorted(key for key in self._folders.get(_folder(start), ()) if start <= key < end)
        entries = tuple(self._entries[key] for key in (found[:limit] if limit else found))
        return Listing(entries, self.revision, len(found))

    def count(self, prefix: str) -> int:
        """Count the keys below a prefix."""
        return sum(len(self._folders[folder]) for folder in self._below(prefix))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below a prefix."""
        below = (folder.removeprefix(prefix) for folder in self._below(prefix) if self._folders[folder])
        return tuple(sorted({rest.partition("/")[0] for rest in below if rest}))

    def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether an entry is part of this history."""
        if seen.version > self.revision:
            return False
        if seen.version <= self._compacted:
            return knows_by_present(seen, self._entries.get(seen.key))
        past = self._past.get((seen.key, seen.version))
        return past is not None and Fingerprint.of(Entry(seen.key, past, seen.version, 0)) == seen

    def commit(self, changes: Sequence[Also]) -> None:
        """Make all changes in one revision, or `ConflictError` and none; `StoreRefusedError`: they are too many."""
        _refuse_too_many(len(changes))
        for change in changes:
            if not isinstance(change, Note) and not _holds(change, self.read(change.key)):
                raise ConflictError(f"{change.key} was changed since it was read; nothing was written")
        for change in changes:
            if isinstance(change, Note) and change.lease not in self._deadlines:
                raise StoreRefusedError("requested lease not found")
        self.revision += 1
        for change in changes:
            if isinstance(change, Note):
                self._change(Put(change.key, change.value, ABSENT))
                self._expire(self._bind(self._entries[change.key], change.lease))
            elif not isinstance(change, Check):
                self._change(change)

    def grant(self, ttl: float) -> int:
        """Make a lease that no key is bound to yet."""
        self._leases += 1
        self._deadlines[self._leases] = asyncio.get_running_loop().time() + ttl
        return self._leases

    def put(self, key: str, value: bytes, version: int, also: Sequence[Also] = ()) -> Entry:
        """Write a key and its siblings."""
        self.commit([Put(key, value, version), *also])
        return self._entries[key]

    def lend(self, put: Put, ttl: float, also: Sequence[Also] = ()) -> Entry:
        """Write a key, which expires `ttl` seconds from now, and its siblings."""
        self._leases += 1
        written = self.put(put.key, put.value, put.version, also)
        entry = self._bind(written, self._leases)
        self.prolong(entry, ttl)
        self._expire(entry)
        return entry

    def enter(self, entering: Entering, ttl: float) -> tuple[Entry, Entry, int]:
        """Write a place and its ticket, and count."""
        place, ticket = self.join(entering.place, entering.ticket, [entering.gone], ttl)
        return place, ticket, self.range(entering.since, place.key, 0, 0).total

    def join(self, put: Put, other: Put, also: Sequence[Also], ttl: float) -> tuple[Entry, Entry]:
        """Write two keys, which expire together `ttl` seconds from now."""
        self.commit([put, other, *also])
        self._leases += 1
        both = self._bind(self._entries[put.key], self._leases), self._bind(self._entries[other.key], self._leases)
        self.prolong(both[0], ttl)
        self._expire(both[0])
        return both

    def bind(self, puts: Sequence[Put], lease: int) -> None:
        """Write keys, and bind them to a lease; `StoreRefusedError`: it has ended."""
        if lease not in self._deadlines:
            raise StoreRefusedError("requested lease not found")
        ends = self._deadlines[lease]
        self.commit(puts)
        self._deadlines[lease] = ends  # the lease of a key that was bound to it before has not ended
        for put in puts:
            self._expire(self._bind(self._entries[put.key], lease))

    def prolong(self, entry: Entry, ttl: float) -> None:
        """Move the end of an entry to `ttl` seconds from now, or `ConflictError` where it is gone."""
        self._leased(entry)
        self._deadlines[entry.lease] = asyncio.get_running_loop().time() + ttl

    def prolong_many(self, entries: Sequence[Entry], ttl: float) -> Sequence[Entry]:
        """Prolong those that are still there, and give the others."""
        ended = []
        for entry in entries:
            try:
                self.prolong(entry, ttl)
            except ConflictError:
                ended.append(entry)
        return ended

    def overwrite(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over an entry that expires, or has lost its lease; it expires `ttl` seconds from now."""
        if entry.lease:
            self._leased(entry)
        created = self.put(entry.key, value, entry.version)
        self._leases += 1
        written = self._bind(created, self._leases)
        self.prolong(written, ttl)
        self._expire(written)
        return written

    def revoke(self, entry: Entry) -> None:
        """Remove an entry that expires, unless it is gone."""
        with contextlib.suppress(ConflictError):
            self.commit([Delete(one.key, one.version) for one in self._bound_to(self._leased(entry).lease)])

    def changed(self, key: str, after: int, *, prefix: bool) -> bool:
        """Whether a key, or anything below it, was changed after a revision, or the server cannot tell any more.

        That is so for a revision that never was, and for one whose following ones were compacted.
        """
        if after > self.revision or after + 1 < self._compacted:
            return True
        if prefix:
            return any(self._touched[folder] > after for folder in self._below(key))
        return self._changed.get(key, 0) > after

    def change(self, key: str, after: int, *, prefix: bool) -> Change | None:
        """Give the change of a key, or of anything below it, after a revision; None: there is none yet."""
        if not self.changed(key, after, prefix=prefix):
            return None
        now = self.read(key)
        if prefix or (now.entry is not None and now.version <= after):
            return Change()
        told = now.entry is None and after <= self.revision and after + 1 >= self._compacted
        return Change(now) if now.entry is not None else Change(removed=told)

    def watch(self, key: str, *, prefix: bool) -> Watch:
        """Register for the next change."""
        watch = Watch(key, prefix, asyncio.get_running_loop().create_future())
        (self._broad if prefix else self._watches).setdefault(key, {})[watch] = None
        return watch

    def forget(self, watch: Watch) -> None:
        """End a registration."""
        watches = self._broad if watch.prefix else self._watches
        watches[watch.key].pop(watch)
        if not watches[watch.key]:
            del watches[watch.key]

    def listen(self, listener: Listener, after: int) -> None:
        """Tell each change below a prefix from now on; `PastGoneError`: there were some after that revision.

        Of the past no more is known here than that it is gone.
        """
        if self.changed(listener.prefix, after, prefix=True):
            raise PastGoneError(f"the store in memory no longer has its revision {after + 1}")
        self._listeners[listener] = None
        listener.hear(Opened(self.revision))

    def drop(self, listener: Listener) -> None:
        """End what `listen` began."""
        self._listeners.pop(listener, None)
        listener.ended.set()

    def drop_all(self) -> None:
        """Break the connection of every listener."""
        for listener in tuple(self._listeners):
            self.drop(listener)

    def compact(self) -> None:
        """Forget what happened before this revision, as etcd does now and then: a client that waits goes on waiting."""
        self._compacted, self._past = self.revision, {}
        self._changed = {key: at for key, at in self._changed.items() if at == self.revision}

    def backup(self) -> Backup:
        """Copy what is there, as `etcdctl snapshot save` does."""
        left = {lease: ends - asyncio.get_running_loop().time() for lease, ends in self._deadlines.items()}
        return Backup(self.revision, tuple(self._entries.values()), left)

    def restore(self, backup: Backup) -> None:
        """Be again what a backup holds: its revision too, and leases that have as long to live as they had then.

        Every client loses its connection, so every waiting client is told to read again.
        """
        self.revision, self._compacted, self._changed = backup.revision, backup.revision, {}
        self._entries, self._folders, self._touched, self._deadlines, self._past = {}, {}, {}, {}, {}
        self._bound = {}
        for entry in backup.entries:
            self._keep(entry)
            if entry.lease:
                self._bind(entry, entry.lease)
        for entry in backup.entries:
            if entry.lease in backup.left:
                self.prolong(entry, backup.left[entry.lease])
                self._expire(entry)
        for waiting in (*self._watches.values(), *self._broad.values()):
            _wake(waiting, Change())
        self.drop_all()

    def _tell(self) -> None:
        """Tell every listener what was changed: as it stands now, so each transaction is whole."""
        untold, self._untold = tuple(self._untold), {}
        for listener in tuple(self._listeners):
            below = [key for key in untold if key.startswith(listener.prefix)]
            if below:
                changes = [self._entries.get(key) or Removed(key, self.revision) for key in below]
                listener.hear(Batch(changes, self.revision))

    def _below(self, prefix: str) -> Sequence[str]:
        return [folder for folder in self._folders if folder.startswith(prefix)]

    def _leased(self, entry: Entry) -> Entry:
        now = self._entries.get(entry.key)
        if now is None or not entry.lease or now.lease != entry.lease:
            raise ConflictError(f"{entry.key} has expired or was revoked")
        return now

    def _bind(self, entry: Entry, lease: int) -> Entry:
        bound = self._entries[entry.key] = replace(entry, lease=lease)
        self._bound.setdefault(lease, {})[entry.key] = None
        return bound

    def _unbind(self, entry: Entry) -> None:
        """Take a key from its lease, which ends with its last one."""
        keys = self._bound.get(entry.lease, {})
        keys.pop(entry.key, None)
        if not keys:
            self._bound.pop(entry.lease, None)
            self._deadlines.pop(entry.lease, None)

    def _bound_to(self, lease: int) -> Sequence[Entry]:
        return [self._entries[key] for key in self._bound.get(lease, ())]

    def _keep(self, entry: Entry) -> None:
        folder = _folder(entry.key)
        self._entries[entry.key] = entry
        self._past[entry.key, entry.version] = entry.value
        self._folders.setdefault(folder, {})[entry.key] = None
        self._changed[entry.key] = self._touched[folder] = self.revision

    def _change(self, change: Put | Delete) -> None:
        before, folder = self._entries.get(change.key), _folder(change.key)
        if before is not None:
            self._unbind(before)
        if isinstance(change, Put):
            created = before.created if before else self.revision
            self._keep(Entry(change.key, change.value, self.revision, created))
        elif before is not None:
            del self._entries[change.key], self._folders[folder][change.key]
            self._changed[change.key] = self._touched[folder] = self.revision
        if self._listeners and not self._untold:
            asyncio.get_running_loop().call_soon(self._tell)  # by then what was written has its lease
        if self._listeners:
            self._untold[change.key] = None
        now = self.read(change.key)
        _wake(self._watches.get(change.key, ()), Change(now, before) if now.entry else Change(removed=True))
        for prefix, waiting in self._broad.items():
            if change.key.startswith(prefix):
                _wake(waiting, Change())

    def _expire(self, entry: Entry) -> None:
        """Remove an entry whose time is over; come back later while it isn't."""
        loop = asyncio.get_running_loop()
        deadline = self._deadlines.get(entry.lease)
        if deadline is None:
            return
        if loop.time() < deadline:
            loop.call_at(deadline, self._expire, entry)
            return
        if gone := self._bound_to(entry.lease):
            self.commit([Delete(one.key, one.version) for one in gone])


def _refuse_too_many(operations: int) -> None:
    if operations > MOST_OPERATIONS:
        raise StoreRefusedError(f"too many operations in txn request: {operations}, and {MOST_OPERATIONS} are allowed")


def _folder(key: str) -> str:
    return key[: key.rfind("/") + 1]


def _holds(guard: Put | Delete | Check, now: Reading) -> bool:
    return now.entry is not None if guard.version is None else now.version == guard.version


def _wake(waiting: Iterable[Watch], change: Change) -> None:
    for watch in waiting:
        if not watch.woken.done():
            watch.woken.set_result(change)
