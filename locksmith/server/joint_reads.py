"""Single keys that several parts of a server read now and then: in one request, if they ask at about the same time.

Each mirror asks every ten seconds how the store stands. Who checks credentials asks whether they have changed. Each
needs a read that begins after it has asked, so all who ask before a read begins can share it. Keys that are asked for
again and again are read with each request: it costs no more, and who asks next may know that already.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from locksmith.errors import StoreRefusedError
from locksmith.lock.chunks import READS
from locksmith.store.protocol import Reading, Store
from locksmith.util.futures import heed

GATHER: Final = 0.02
"""Seconds for which a read waits for others whose time has come too."""


class JointReads:
    """Reads of one store. Errors are the store's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next: _Joint | None = None
        self._known: dict[str, tuple[Reading, float]] = {}
        """Of each key that goes with every request: what it was, and when the request began."""

    async def get(self, key: str) -> Reading:
        """Read a key, with all who ask within a moment."""
        return await self._join(key).reading(key)

    async def get_since(self, key: str, since: float) -> tuple[Reading, float]:
        """Give a key as a request found it that began after a moment, and when it began; if there is none, ask now.

        From then on the key goes with each request.
        """
        if key not in self._known or self._known[key][1] <= since:
            joint = self._join(key)
            joint.begins.set()
            self._known[key] = await joint.reading(key), joint.began
        return self._known[key]

    def _join(self, key: str) -> "_Joint":
        if self._next is None:
            self._next = _Joint(self._store, self._has_begun, self._has_read, self._known)
        self._next.keys[key] = None
        return self._next

    def _has_read(self, found: Mapping[str, Reading], began: float) -> None:
        for key in self._known:
            if key in found:
                self._known[key] = found[key], began
        if not found:
            self._known.clear()

    def _has_begun(self) -> None:
        self._next = None


class _Joint:
    """One read. Its keys are gathered until it begins: then `has_begun` is called, and `began` is the time.

    `has_read` hears what it found, and nothing at all if etcd refuses it.
    """

    def __init__(
        self,
        store: Store,
        has_begun: Callable[[], None],
        has_read: Callable[[Mapping[str, Reading], float], None],
        goes_with: Iterable[str],
    ) -> None:
        self.keys: dict[str, None] = dict.fromkeys(goes_with)
        self.begins = asyncio.Event()
        self.began = 0.0
        self._store, self._has_begun, self._has_read = store, has_begun, has_read
        self._reading = asyncio.ensure_future(self._read())
        self._reading.add_done_callback(heed)

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
        self.began = asyncio.get_running_loop().time()
        try:
            found = await self._found()
        except StoreRefusedError:
            self._has_read({}, self.began)
            raise
        self._has_read(found, self.began)
        return found

    async def _found(self) -> Mapping[str, Reading]:
        if len(self.keys) == 1:
            [key] = self.keys
            return {key: await self._store.get(key)}
        keys, found = tuple(self.keys), dict[str, Reading]()
        for some in (keys[start : start + READS] for start in range(0, len(keys), READS)):
            found |= zip(some, await self._store.read(some), strict=True)
        return found
