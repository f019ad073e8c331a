"""One read of the store for all machines that ask the same thing within five seconds, where no mirror has the keys.

Each machine compares the store with what it has seen before it asks for a slot. Keys of its group are read from memory
(proven_reads.py). The others, and whether an entry is part of the store's history, most machines ask alike. A read that
begins after a machine has asked is linearizable for it, so the machines that ask within `TOGETHER` seconds share the
next. That an entry is part of the store's history is believed for `BELIEVED` seconds. Near the front of the queue no
machine waits for others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from locksmith.store.protocol import Fingerprint, Reading, Store
from locksmith.util.futures import heed

TOGETHER: Final = 5.0
"""Seconds between two reads of the same keys."""
BELIEVED: Final = 10.0
"""Seconds, as long as a mirror's round."""
MOST: Final = 1000
"""Different reads, and entries, that are remembered."""


class SharedReads(ObservedStore):
    """`Store`, of which many ask the same."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, Meter())
        self._next: dict[tuple[str, ...], asyncio.Task[Sequence[Reading]]] = {}
        self._began: dict[int, float] = {}
        """When the last read of these keys began, by their hash: they may be long, and another's only costs time."""
        self._known: dict[Fingerprint, float] = {}

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys, with all who ask for them before that begins."""
        wanted = tuple(keys)
        if (task := self._next.get(wanted)) is None:
            task = self._next[wanted] = asyncio.ensure_future(self._read(wanted))
            task.add_done_callback(heed)
        return await asyncio.shield(task)

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether an entry is part of the store's history."""
        if self._known.get(seen, float("-inf")) + BELIEVED > _now():
            return True
        known = await super().knows(seen)
        if known is True:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[seen] = _now()
        return known

    async def _read(self, keys: tuple[str, ...]) -> Sequence[Reading]:
        try:
            await asyncio.sleep(self._began.get(hash(keys), float("-inf")) + TOGETHER - _now())
        finally:
            # Who asks from now on did not ask before this read began.
            del self._next[keys]
        if len(self._began) >= MOST:
            self._began.clear()
        self._began[hash(keys)] = _now()
        return await super().read(keys)


class Unhurried(ObservedStore):
    """What one machine reads that has others before it: with them, or at once where `comes_near` returns before."""

    def __init__(self, store: Store, shared: SharedReads, comes_near: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store, Meter())
        self._shared, self._comes_near = shared, comes_near

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys."""
        shared = asyncio.ensure_future(self._shared.read(keys))
        near = asyncio.ensure_future(self._comes_near())
        try:
            await asyncio.wait({shared, near}, return_when=asyncio.FIRST_COMPLETED)
            return shared.result() if shared.done() else await super().read(keys)
        finally:
            shared.cancel()
            near.cancel()

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether an entry is part of the store's history."""
        return await self._shared.knows(seen)


def _now() -> float:
    return asyncio.get_running_loop().time()
