# ruff: noqa: ARG002 - what is refused has the arguments of the protocol
"""What a machine without etcd has of its group's store: the keys that it may read, and its own records.

It is the store of the presence, the membership and the windows, which are the same as with etcd. The lock is not among
them: its calls are those of the strategy (locksmith_strategies/server.py).
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from locksmith.errors import OutcomeUnknownError, StoreRefusedError
from locksmith.host.server_client import ServerClient
from locksmith.lock import machine_wire as wire
from locksmith.store.protocol import (
    Also,
    Change,
    Delete,
    Entering,
    Entry,
    Fingerprint,
    Listing,
    Reading,
    Until,
    any_change,
)
from locksmith.util.jsonread import BadJsonError, read

T = TypeVar("T")

LIMIT = 20.0
"""Seconds for an answer, of each server."""
ONLY = "a machine without etcd reads its group's keys, and writes its own records, through a server alone"


class ServerStore:
    """`Store`, as far as a machine may use it; all else is a `StoreRefusedError`."""

    transactional = True

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    async def get(self, key: str) -> Reading:
        """Read one key."""
        [reading] = await self.read([key])
        return reading

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys."""
        said = await self._call(wire.READ, keys=list(keys))
        return _understood(lambda: wire.decode_readings(read(said, "readings", list), list(keys)))

    async def count(self, prefix: str) -> int:
        """Count the machines that are present; `prefix` is theirs."""
        del prefix
        said = await self._call(wire.COUNT)
        return _understood(lambda: read(said, "count", int))

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist."""
        return await self._write("create", key, value, ttl=ttl or 0.0)

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a record of this machine, and remove another with it."""
        del ttl
        gone: dict[str, Any] = {}
        for other in also:
            if not isinstance(other, Delete) or gone:
                raise StoreRefusedError(ONLY)
            gone = {"gone": other.key, "gone_version": other.version}
        return await self._write("swap", key, value, version=version, **gone)

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over a record with a `ttl`."""
        return await self._write("update", entry.key, value, version=entry.version, ttl=ttl)

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write over a record of another run."""
        return await self._write("replace", entry.key, value, version=entry.version, ttl=ttl)

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong a record."""
        await self._call(wire.PRESENCE, write="renew", key=entry.key, version=entry.version, ttl=ttl)

    async def revoke(self, entry: Entry) -> None:
        """Remove a record with a `ttl`."""
        await self._call(wire.PRESENCE, write="revoke", key=entry.key, version=entry.version)

    async def delete(self, key: str, version: int) -> None:
        """Remove a record."""
        await self._call(wire.PRESENCE, write="delete", key=key, version=version)

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether the semaphore was so once."""
        said = await self._call(wire.KNOWS, version=seen.version, digest=seen.digest)
        return {"yes": True, "no": False}.get(_understood(lambda: read(said, "knows", str)))

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Refuse."""
        raise StoreRefusedError(ONLY)

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Refuse."""
        raise StoreRefusedError(ONLY)

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Refuse."""
        raise StoreRefusedError(ONLY)

    async def lend(self, ttl: float) -> int:
        """Refuse."""
        raise StoreRefusedError(ONLY)

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Refuse."""
        raise StoreRefusedError(ONLY)

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Refuse."""
        raise StoreRefusedError(ONLY)

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Refuse."""
        raise StoreRefusedError(ONLY)

    async def close(self) -> None:
        """End the connections that are kept."""
        self._client.close()

    async def _write(self, write: str, key: str, value: bytes, **fields: Any) -> Entry:
        sent = base64.b64encode(value).decode()
        said = await self._call(wire.PRESENCE, write=write, key=key, value=sent, **fields)
        return _understood(lambda: wire.decode_entry(read(said, "entry", dict)))

    async def _call(self, call: str, **fields: Any) -> dict[str, Any]:
        return await self._client.call(call, limit=LIMIT, **fields)


def _understood(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except BadJsonError as error:
        raise OutcomeUnknownError(f"the server answers what it must not: {error}") from None
