"""The store on etcd's v2 API, which CoreOS locksmith uses.

How v2 differs from the protocol, and what this store does about it:

- A refresh keeps the value and wakes no watcher, but raises the key's modifiedIndex (seen on 3.4 and 3.5). So the
  version of a key that expires is its createdIndex, which a refresh keeps. If the modifiedIndex has moved, a guarded
  write of such a key reads it first.
- Values are text: a value that is not UTF-8 is refused.
- A `.`, `..` or empty segment collapses in a path: such a key is refused. A segment that begins with `_` is hidden: its
  key can be read and written, but is not listed.
- etcd keeps only the last 1000 events of the whole store. A wait that begins before them is told to read again.

Above 300 lines, in one piece: it is one method for each of the protocol, and the guards that v2 lacks between them.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from locksmith.errors import ConflictError, StoreError, StoreRefusedError
from locksmith.store.etcd2_cluster import Cluster
from locksmith.store.etcd2_member import (
    ALREADY_EXISTS,
    COMPARE_FAILED,
    KEY_NOT_FOUND,
    NOT_A_DIRECTORY,
    AnsweredNoError,
    Call,
    Node,
)
from locksmith.store.meter import Meter
from locksmith.store.protocol import (
    ABSENT,
    Also,
    Change,
    Delete,
    Entering,
    Entry,
    Fingerprint,
    Listing,
    NoObserver,
    Note,
    Observer,
    Put,
    Reading,
    Until,
    any_change,
    knows_by_present,
)
from locksmith.store.settings import StoreSettings

MISSING = {KEY_NOT_FOUND, NOT_A_DIRECTORY}
"""The codes of a key that does not exist (the second: a folder above it is a key)."""
LOST_RACE = {KEY_NOT_FOUND, COMPARE_FAILED, ALREADY_EXISTS}

T = TypeVar("T")
Params = dict[str, str | int]


class Etcd2Store:
    """`locksmith.store.protocol.Store` on etcd's v2 API. Bad endpoints or TLS files raise `UsageError`."""

    transactional = False

    def __init__(
        self,
        settings: StoreSettings,
        meter: Meter | None = None,
        observer: Observer = NoObserver(),  # noqa: B008 - it has no state
    ) -> None:
        self._timeout = settings.timeout
        # The modifiedIndex of each key that a refresh of this client has moved: by the key, with its version.
        self._moved: dict[str, tuple[int, int]] = {}
        self._cluster = Cluster(settings, meter or Meter(), observer)

    async def get(self, key: str) -> Reading:
        """Read one key, linearizably (a quorum read)."""
        return await self._get(key, self._until())

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys, one after another."""
        until = self._until()
        return [await self._get(key, until) for key in keys]

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Read the keys below a folder, oldest creation first. v2 sends the whole folder: `limit` is applied here."""
        call = _call("GET", prefix.rstrip("/"), {"quorum": "true", "recursive": "true"})
        try:
            answer = await self._cluster.ask(call, self._until())
        except AnsweredNoError as no:
            return _if_missing(no, Listing((), no.index, 0))
        below = answer.node.leaves() if answer.node.is_directory else ()
        entries = sorted(map(_entry, below), key=lambda entry: entry.created)
        return Listing(tuple(_bounded(entries, limit, last_before)), answer.index, len(entries))

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys between two. v2 sends the whole folder, as it is now; it is sorted here."""
        del at
        found = await self.list(start[: start.rfind("/") + 1])
        between = sorted((entry for entry in found.entries if start <= entry.key < end), key=lambda entry: entry.key)
        return Listing(tuple(between[:limit] if limit else between), found.revision, len(between))

    async def count(self, prefix: str) -> int:
        """Count the keys below a folder: v2 sends the whole folder."""
        return (await self.list(prefix)).total

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below a prefix. v2 keeps an empty folder, and an empty folder counts."""
        try:
            answer = await self._cluster.ask(_call("GET", prefix.rstrip("/"), {"quorum": "true"}), self._until())
        except AnsweredNoError as no:
            return _if_missing(no, ())
        return tuple(sorted(node.key.rpartition("/")[2] for node in answer.node.nodes if node.is_directory))

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist; `ttl` is rounded up to whole seconds."""
        expiry: Params = {} if ttl is None else {"ttl": _whole_seconds(ttl)}
        params: Params = {"value": _text(key, value), "prevExist": "false", **expiry}
        return _entry(await self._write("PUT", key, params, self._until()))

    async def lend(self, ttl: float) -> int:
        """Give 0: on v2 each key has a time to live of its own."""
        del ttl
        return 0

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Read the index, write the ticket, write the place, which expires by itself; then remove, and count."""
        until = self._until()
        entering = make((await self._get(make(0).ticket.key, until)).revision)
        ticket = await self.create(entering.ticket.key, entering.ticket.value)
        place = await self.create(entering.place.key, entering.place.value, ttl=ttl)
        if isinstance(entering.gone, Delete):
            with contextlib.suppress(StoreError):
                await self._delete(entering.gone.key, entering.gone.version, until)
        return place, ticket, (await self.range(entering.since, place.key)).total

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Write the key that expires."""
        write = self.update if entry.lease else self.replace
        return await write(entry, value, ttl), other

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write `key` if it still has `version`: first the puts, then the key, then the deletes, then the notes.

        After the write of the key nothing is an error any more: if a delete fails, its key stays.
        """
        until = self._until()
        for put in also:
            if isinstance(put, Put):
                await self._swap(put.key, put.value, put.version, until)
        entry = await self._swap(key, value, version, until, ttl)
        for gone in also:
            if isinstance(gone, Delete):
                with contextlib.suppress(StoreError):
                    await self._delete(gone.key, gone.version, until)
        for note in also:
            if isinstance(note, Note):
                with contextlib.suppress(StoreError):
                    await self._swap(note.key, note.value, ABSENT, until, note.ttl)
        return entry

    async def delete(self, key: str, version: int) -> None:
        """Remove a key that still has `version`."""
        await self._delete(key, version, self._until())

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value with a new time to live."""
        params: Params = {"value": _text(entry.key, value), "ttl": _whole_seconds(ttl)}
        return _entry(await self._guarded("PUT", entry.key, params, entry.version, self._until()))

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Remove the key and create it again: only so does it get another creation index, which is its version."""
        await self.revoke(entry)
        return await self.create(entry.key, value, ttl=ttl)

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong an entry: a refresh, which wakes no watcher and keeps value and version, but raises the index."""
        refresh: Params = {"ttl": _whole_seconds(ttl), "refresh": "true", "prevExist": "true"}
        await self._guarded("PUT", entry.key, refresh, entry.version, self._until())

    async def revoke(self, entry: Entry) -> None:
        """Remove an entry, if it is still the same, with the same value: v2 may have two values at one version."""
        same: Params = {"prevValue": _text(entry.key, entry.value)} if entry.value else {}
        with contextlib.suppress(ConflictError):
            await self._guarded("DELETE", entry.key, same, entry.version, self._until())

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Compare with the key as it is now: v2 cannot read the past."""
        entry = (await self.get(seen.key)).entry
        return knows_by_present(seen, entry, rewritten=entry is not None and bool(entry.lease))

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait for an event of `key`, or below the folder, after index `after`: a long poll.

        If the member freezes, it is silent, and the wait ends with `limit`. The value of the key is not told.
        """
        del until
        end = asyncio.get_running_loop().time() + limit
        path = key.rstrip("/")
        # Only the index is needed: for a folder, that of a hidden key in it which no program creates.
        now = await self._get(f"{path}/_" if prefix else path, self._until())
        if now.revision < after:
            return Change()  # restored from a backup: the index to wait for may be years away
        params: Params = {"wait": "true", "waitIndex": after + 1, "recursive": "true" if prefix else "false"}
        return Change() if await self._cluster.poll(_call("GET", path, params), end) else None

    async def close(self) -> None:
        """Let go of every connection: calls under way end, and every further call is refused."""
        self._cluster.close()

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    async def _get(self, key: str, until: float) -> Reading:
        index, node = await self._read(key, until)
        return Reading(_entry(node) if node else None, index)

    async def _read(self, key: str, until: float) -> tuple[int, Node | None]:
        """Read the store's index and the key's node; a folder is no key."""
        try:
            answer = await self._cluster.ask(_call("GET", key, {"quorum": "true"}), until)
        except AnsweredNoError as no:
            return _if_missing(no, (no.index, None))
        return answer.index, None if answer.node.is_directory else answer.node

    async def _swap(self, key: str, value: bytes, version: int, until: float, ttl: float | None = None) -> Entry:
        expiry: Params = {} if ttl is None else {"ttl": _whole_seconds(ttl)}
        params: Params = {"value": _text(key, value), **expiry}
        return _entry(await self._guarded("PUT", key, params, version, until))

    async def _delete(self, key: str, version: int, until: float) -> None:
        if version == ABSENT:
            raise ConflictError(f"{key} was to be removed as absent")
        await self._guarded("DELETE", key, {}, version, until)

    async def _guarded(self, method: str, key: str, params: Params, version: int, until: float) -> Node:
        """Write at `version`, or at the modifiedIndex of the last refresh, if there were only refreshes since."""
        if version == ABSENT:  # `prevIndex=0` would guard nothing
            return await self._write(method, key, {**params, "prevExist": "false"}, until)
        known, moved = self._moved.pop(key, (version, version))
        index = moved if known == version else version
        try:
            node = await self._write(method, key, {**params, "prevIndex": index}, until)
        except ConflictError:
            index = await self._latest_index(key, version, until)
            node = await self._write(method, key, {**params, "prevIndex": index}, until)
        if node.expires and node.modified != _version(node):
            self._moved[key] = (_version(node), node.modified)
        return node

    async def _latest_index(self, key: str, version: int, until: float) -> int:
        """Look up the modifiedIndex of a key that still has `version`, or raise `ConflictError`."""
        _, node = await self._read(key, until)
        if node is None or _version(node) != version:
            raise ConflictError(f"{key} was changed or removed meanwhile")
        return node.modified

    async def _write(self, method: str, key: str, params: Params, until: float) -> Node:
        try:
            return (await self._cluster.ask(_call(method, key, params), until)).node
        except AnsweredNoError as no:
            if no.code in LOST_RACE:
                raise ConflictError(f"{key} was changed meanwhile: {no}") from None
            raise StoreRefusedError(f"etcd refused {method} of {key}: {no}") from None


def _call(method: str, key: str, params: Params) -> Call:
    if any(segment in {"", ".", ".."} for segment in key.split("/")):
        raise StoreRefusedError(
            f"the key {key!r} cannot be used on etcd v2: paths collapse empty, `.` and `..` segments"
        )
    return Call(method, key, params)


def _if_missing(no: AnsweredNoError, nothing: T) -> T:
    if no.code in MISSING:
        return nothing
    raise StoreRefusedError(f"etcd refused to read: {no}") from None


def _entry(node: Node) -> Entry:
    lease = node.created if node.expires else 0
    return Entry(node.key, node.value or b"", _version(node), node.created, lease)


def _version(node: Node) -> int:
    return node.created if node.expires else node.modified


def _bounded(entries: Sequence[Entry], limit: int, last_before: int | None) -> Sequence[Entry]:
    if last_before is None:
        return entries[:limit] if limit else entries
    older = [entry for entry in entries if entry.created < last_before]
    return older[-limit:]  # -0: all of them


def _whole_seconds(ttl: float) -> int:
    return max(1, math.ceil(ttl))


def _text(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise StoreRefusedError(f"etcd v2 keeps text only, and the value for {key} is none: {error}") from None
