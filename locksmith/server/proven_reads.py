"""What a machine far back in the queue reads of its group: from memory, once the store has said that this is so.

Each machine compares the store with what it has seen, before it asks for a slot. It needs a read that is linearizable:
one that begins after it has asked. A mirror asks the store every few seconds how it stands, and knows when it has come
as far. What it has from then on is such a read, for all who asked before. So thousands of machines cost the store no
request.

The answers go out a few at a time. Each is followed by two more calls of its machine, and a hand-over of a slot shall
not wait until hundreds of others are done.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from locksmith.server.group_mirror import Mirror
from locksmith.server.shared_reads import SharedReads, Unhurried
from locksmith.store.protocol import Reading, Store

AT_ONCE: Final = 4
"""Machines that are answered at one moment."""
PAUSE: Final = 0.01
"""Seconds until the next are."""
SPREAD: Final = 5.0
"""Seconds within which all are answered that may be: if they are very many, more of them at once."""


class Proofs:
    """Who waits until a mirror is proven."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._at_once = 0
        mirror.on_proof(self._begin)

    def since_now(self) -> "asyncio.Future[None]":
        """Give a future that ends when the mirror has what the store had at this moment, or later."""
        loop = asyncio.get_running_loop()
        proven: asyncio.Future[None] = loop.create_future()
        self._waiting.append((loop.time(), proven))
        return proven

    def _begin(self) -> None:
        if not self._at_once:
            self._at_once = max(AT_ONCE, int(len(self._waiting) * PAUSE / SPREAD))
            self._tell_some()

    def _tell_some(self) -> None:
        told = 0
        while self._waiting and told < self._at_once and self._mirror.proven_since(self._waiting[0][0]):
            _, proven = self._waiting.popleft()
            if not proven.done():  # else it has been read in another way, or its machine is gone
                proven.set_result(None)
                told += 1
        if told < self._at_once:
            self._at_once = 0
        else:
            asyncio.get_running_loop().call_later(PAUSE, self._tell_some)


class FarBack(Unhurried):
    """The store of one machine that has others before it. If `comes_near` ends first, it reads etcd at once."""

    def __init__(
        self,
        store: Store,
        shared: SharedReads,
        comes_near: "Callable[[], asyncio.Future[bool]]",
        mirror: Mirror,
        proofs: Proofs,
    ) -> None:
        super().__init__(store, shared, comes_near)
        self._near, self._mirror, self._proofs = comes_near, mirror, proofs

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys."""
        mirror = self._mirror
        if not all(map(mirror.keeps, keys)):
            return await super().read(keys)
        asked, near = asyncio.get_running_loop().time(), self._near()
        proven = self._proofs.since_now()
        either: set[asyncio.Future[Any]] = {proven, near}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            is_near = near.done() and near.result()
        finally:
            proven.cancel()
            near.cancel()
        if mirror.proven_since(asked):
            return [Reading(mirror.replica.get(key).entry, mirror.proven_revision) for key in keys]
        # A mirror without a proof may mean that etcd is slow, and thousands should not ask it at one moment.
        return await (self._store.read(keys) if is_near else super().read(keys))
