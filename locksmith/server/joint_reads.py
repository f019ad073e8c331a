"""Single keys that several parts of a server read now and then: in one request, if they ask at about the same time.

Each mirror asks every ten seconds how the store stands. Who checks credentials asks whether they have changed. Each
needs a read that begins after it has asked, so all who ask before a read begins can share it.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from locksmith.errors import StoreRefusedError
from locksmith.store.protocol import Reading, Store

GATHER: Final = 0.02
"""Seconds for which a read waits for others whose time has come too."""


class JointReads:
    """Reads of one store. Errors are the store's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next: _Joint | None = None

    async def get(self, key: str) -> Reading:
        """Read a key, with all who ask within a moment."""
        return await self._join(key).reading(key)

    async def get_now(self, key: str) -> Reading:
        """Read a key at once, with all who wait for others to ask."""
        joint = self._join(key)
        joint.begins.set()
        return await joint.reading(key)

    def _join(self, key: str) -> "_Joint":
        if self._next is None:
            self._next = _Joint(self._store, self._has_begun)
        self._next.keys[key] = None
        return self._next

    def _has_begun(self) -> None:
        self._next = None


class _Joint:
    """One read; keys are gathered until it begins, and `has_begun` is called then."""

    def __init__(self, store: Store, has_begun: Callable[[], None]) -> None:
        self.keys: dict[str, None] = {}
        self.begins = asyncio.Event()
        self._store, self._has_begun = store, has_begun
        self._reading = asyncio.ensure_future(self._read())
        self._reading.add_done_callback(_heed)

    async def reading(self, key: str) -> Reading:
        """Give a key of it. If a caller is cancelled, the others get theirs all the same."""
        try:
            return (await asyncio.shield(self._reading))[key]
        except StoreRefusedError:
            if len(self.keys) == 1:
                raise
        return await self._store.get(key)  # this server's user of etcd may have no right to read another of the keys

    async def _read(self) -> Mapping[str, Reading]:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER):
                    await self.begins.wait()
        finally:
            self._has_begun()
        if len(self.keys) == 1:
            [key] = self.keys
            return {key: await self._store.get(key)}
        return dict(zip(self.keys, await self._store.read(tuple(self.keys)), strict=True))


def _heed(reading: "asyncio.Future[Mapping[str, Reading]]") -> None:
    """Take note of an error that no caller waits for any more."""
    if not reading.cancelled():
        reading.exception()
