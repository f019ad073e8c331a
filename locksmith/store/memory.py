"""The store in memory: many clients of one server (memory_server.py).

For tests and for the simulation of fleets, which draws its faults through `Faults`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from locksmith.errors import ConflictError, StoreUnavailableError
from locksmith.store.cluster import ForeignError, OneCluster
from locksmith.store.feed import Hear
from locksmith.store.memory_server import Listener, MemoryServer, Watch
from locksmith.store.protocol import (
    ABSENT,
    Also,
    Change,
    Delete,
    Entering,
    Entry,
    Fingerprint,
    Known,
    Listing,
    NoObserver,
    Observer,
    Position,
    Put,
    Reading,
    Until,
    any_change,
)

__all__ = ["URL", "Call", "Calm", "Faults", "MemoryServer", "MemoryStore"]

T = TypeVar("T")

URL = "memory:"
"""Where this store is."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call on its way to the server; `apply` does the call there, as a whole."""

    name: str
    key: str
    write: bool
    apply: Callable[[], T]


class Faults(Protocol):
    """The network between a client and the server.

    A network may raise `StoreUnavailableError` and never apply the call. It may apply a write and raise
    `OutcomeUnknownError`, or raise first and apply later. It may also wait before it applies the call.
    """

    async def carry(self, call: Call[T]) -> T:
        """Bring one call to the server and its answer back."""
        ...


class Calm:
    """Every call arrives."""

    async def carry(self, call: Call[T]) -> T:
        """Apply the call after all other tasks had a turn: between two calls anything may happen."""
        await asyncio.sleep(0)
        return call.apply()


class MemoryStore:
    """A client of a `MemoryServer`, with its own network."""

    transactional = True

    def __init__(
        self,
        server: MemoryServer,
        faults: Faults | None = None,
        observer: Observer = NoObserver(),  # noqa: B008 - it has no state
    ) -> None:
        self._server = server
        self._observer = observer
        self._faults: Faults = faults or Calm()
        self._watches: set[Watch] = set()
        self._one = OneCluster([URL], observer.clusters, self._identify, 1.0)

    async def get(self, key: str) -> Reading:
        """Read one key."""
        return await self._carry("get", key, lambda: self._server.read(key))

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys at one moment."""
        return await self._carry("read", keys[0], lambda: self._server.read_all(keys))

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Read the keys below a prefix."""
        return await self._carry("list", prefix, lambda: self._server.list(prefix, limit, last_before))

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys between two."""
        return await self._carry("range", start, lambda: self._server.range(start, end, limit, at))

    async def count(self, prefix: str) -> int:
        """Count the keys below a prefix."""
        return await self._carry("count", prefix, lambda: self._server.count(prefix))

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below a prefix."""
        return await self._carry("folders", prefix, lambda: self._server.folders(prefix))

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist."""

        def apply() -> Entry:
            return self._write(Put(key, value, ABSENT), (), ttl)

        return await self._carry("create", key, apply, write=True)

    async def lend(self, ttl: float) -> int:
        """Get the lease of a note."""
        return await self._carry("lend", "", lambda: self._server.grant(ttl))

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Write a place and its ticket."""
        key = make(0).ticket.key
        return await self._carry("enter", key, lambda: self._server.enter(make(self._server.revision), ttl), write=True)

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Write a new value over an entry that expires with another."""
        put = Put(entry.key, value, entry.version)
        also = Put(other.key, other.value, other.version)
        return await self._carry("rejoin", entry.key, lambda: self._server.join(put, also, (), ttl), write=True)

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings in one transaction."""
        put = Put(key, value, version)
        return await self._carry("swap", key, lambda: self._write(put, also, ttl), write=True)

    async def delete(self, key: str, version: int) -> None:
        """Remove a key that still has this version."""
        await self._carry("delete", key, lambda: self._server.commit([Delete(key, version)]), write=True)

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over an entry that expires."""
        return await self._carry("update", entry.key, lambda: self._server.overwrite(entry, value, ttl), write=True)

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write over another's entry that expires."""
        return await self._carry("replace", entry.key, lambda: self._server.overwrite(entry, value, ttl), write=True)

    async def revoke(self, entry: Entry) -> None:
        """Remove an entry that expires."""
        await self._carry("revoke", entry.key, lambda: self._server.revoke(entry), write=True)

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong an entry."""
        await self._carry("renew", entry.key, lambda: self._server.prolong(entry, ttl), write=True)

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether an entry is part of the store's history."""
        return await self._carry("knows", seen.key, lambda: self._server.knows(seen))

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait for a change after a revision."""
        try:
            async with asyncio.timeout(limit):
                with self._watching(key, prefix=prefix) as watch:
                    change = await self._carry("wait", key, lambda: self._server.change(key, after, prefix=prefix))
                    change = change or await watch.woken
                while change.reading is not None and not until(change):
                    with self._watching(key, prefix=prefix) as watch:
                        later = self._server.change(key, change.reading.revision, prefix=prefix)
                        change = later or await watch.woken
                return change
        except TimeoutError:
            return None

    @contextlib.contextmanager
    def _watching(self, key: str, *, prefix: bool) -> Iterator[Watch]:
        watch = self._server.watch(key, prefix=prefix)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)
            self._server.forget(watch)

    async def whole(self, prefix: str) -> Listing:
        """Read all keys below a prefix."""
        return await self._carry("whole", prefix, lambda: self._server.list(prefix, 0, None))

    async def feed(self, prefix: str, after: int, hear: Hear, *, limit: float) -> None:
        """Tell each change below a prefix. The network may break it: the server then drops all that listen."""
        listener = Listener(prefix, hear)
        try:
            await self._carry("feed", prefix, lambda: self._server.listen(listener, after))
            async with asyncio.timeout(limit):
                await listener.ended.wait()
        except TimeoutError:
            return
        finally:
            self._server.drop(listener)

    async def bind(self, puts: Sequence[Put], lease: int) -> None:
        """Write keys, and bind them to one lease."""
        await self._carry("bind", puts[0].key, lambda: self._server.bind(puts, lease), write=True)

    async def renew_many(self, entries: Sequence[Entry], ttl: float) -> Sequence[Entry]:
        """Prolong several entries."""
        return await self._carry("renew", entries[0].key, lambda: self._server.prolong_many(entries, ttl), write=True)

    async def close(self) -> None:
        """End every wait under way."""
        for watch in self._watches:
            if not watch.woken.done():
                watch.woken.set_exception(StoreUnavailableError("this client of the store in memory was closed"))

    def _write(self, put: Put, also: Sequence[Also], ttl: float | None) -> Entry:
        if ttl is None:
            return self._server.put(put.key, put.value, put.version, also)
        return self._server.lend(put, ttl, also)

    async def _carry(self, name: str, key: str, apply: Callable[[], T], *, write: bool = False) -> T:
        try:
            self._one.clusters.heard(URL, self._server.cluster)
        except ForeignError as error:
            raise await self._one.refuse(f"the store in memory: {error}") from None
        known = self._observer.sending()
        at: list[Position] = []

        def answer() -> T:
            try:
                return apply()
            finally:
                at.append(Position(self._server.revision, self._server.cluster))

        try:
            result = await self._faults.carry(Call(name, key, write, answer))
        except ConflictError:
            self._hear(at, known)
            raise
        self._hear(at, known)
        return result

    async def _identify(self, _url: str, _limit: float) -> str:
        return self._server.cluster

    def _hear(self, at: Sequence[Position], known: Known) -> None:
        if at:
            self._observer.answered(at[-1], known)
