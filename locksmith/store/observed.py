"""A store that counts its calls, and how each ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from locksmith.errors import ConflictError, OutcomeUnknownError, StoreError, StoreRefusedError
from locksmith.store.meter import Meter
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

T = TypeVar("T")

KINDS = (
    *("get", "read", "list", "range", "count", "folders"),
    *("create", "lend", "enter", "rejoin", "swap", "delete", "update", "replace", "renew", "revoke", "knows", "wait"),
)
OK, CONFLICT, REFUSED, UNKNOWN, UNAVAILABLE = "ok", "conflict", "refused", "unknown", "unavailable"
CUT_OFF = "cut_off"
"""The caller did not wait for the end: a watch is not needed any more, or a step took too long."""
RESULTS = (OK, CONFLICT, REFUSED, UNKNOWN, UNAVAILABLE, CUT_OFF)


class ObservedStore:
    """`Store`, with each call told to a meter."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self._store = store
        self._meter = meter

    @property
    def transactional(self) -> bool:
        """Whether a swap and its siblings are one transaction."""
        return self._store.transactional

    async def get(self, key: str) -> Reading:
        """Read one key."""
        return await self._count("get", self._store.get(key))

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys."""
        return await self._count("read", self._store.read(keys))

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Read the keys below a prefix."""
        return await self._count("list", self._store.list(prefix, limit=limit, last_before=last_before))

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys between two."""
        return await self._count("range", self._store.range(start, end, limit=limit, at=at))

    async def count(self, prefix: str) -> int:
        """Count the keys below a prefix."""
        return await self._count("count", self._store.count(prefix))

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below a prefix."""
        return await self._count("folders", self._store.folders(prefix))

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist."""
        return await self._count("create", self._store.create(key, value, ttl=ttl))

    async def lend(self, ttl: float) -> int:
        """Get the lease of a note."""
        return await self._count("lend", self._store.lend(ttl))

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Write a place and its ticket."""
        return await self._count("enter", self._store.enter(make, ttl=ttl))

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Write a new value over an entry that expires with another."""
        return await self._count("rejoin", self._store.rejoin(entry, value, other, ttl=ttl))

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings."""
        return await self._count("swap", self._store.swap(key, value, version, also, ttl=ttl))

    async def delete(self, key: str, version: int) -> None:
        """Remove a key."""
        await self._count("delete", self._store.delete(key, version))

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over an entry that expires."""
        return await self._count("update", self._store.update(entry, value, ttl))

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write over another's entry that expires."""
        return await self._count("replace", self._store.replace(entry, value, ttl))

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong an entry."""
        await self._count("renew", self._store.renew(entry, ttl))

    async def revoke(self, entry: Entry) -> None:
        """Remove an entry that expires."""
        await self._count("revoke", self._store.revoke(entry))

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether an entry is part of the store's history."""
        return await self._count("knows", self._store.knows(seen))

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait for a change."""
        return await self._count("wait", self._store.wait(key, after, prefix=prefix, limit=limit, until=until))

    async def close(self) -> None:
        """Let go of every connection."""
        await self._store.close()

    async def _count(self, kind: str, call: Awaitable[T]) -> T:
        try:
            answer = await call
        except (StoreError, asyncio.CancelledError) as error:  # a defect is no answer of the store
            self._meter.request(kind, _result(error))
            raise
        self._meter.request(kind, OK)
        return answer


def _result(error: BaseException) -> str:
    match error:
        case ConflictError():
            return CONFLICT
        case OutcomeUnknownError():
            return UNKNOWN
        case StoreRefusedError():
            return REFUSED
        case StoreError():
            return UNAVAILABLE
        case _:
            return CUT_OFF
