"""The attempts of one group's FleetLock clients to write the semaphore, one after another in the order of their coming.

Two attempts at one moment start from the same version of the semaphore, so one of them loses, and pauses. In turn each
reads, decides and writes by itself, and decides on what the one before has left. A turn changes nothing else: other
servers and daemons know of none, and each write is guarded as without.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

log = logging.getLogger(__name__)

TURN_LIMIT: Final = 3.0
"""Seconds for which an attempt waits for its turn; then it is made without one. They are a part of the call's limit."""


class AttemptTurns:
    """The turns of one group, and how many attempts have `begun`, `waited`, or were `late`: made without a turn."""

    def __init__(self) -> None:
        self.begun = self.waited = self.late = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no attempt that came before is under way."""
        own = await self._begin()
        self.begun += 1
        try:
            yield
        finally:
            if own:
                self._end()

    def idle_since(self, begun: int) -> bool:
        """Tell whether no attempt was made since `begun` was this number: what was read then may still hold."""
        return self.begun == begun and not self._lock.locked()

    async def _begin(self) -> bool:
        self.waited += self._lock.locked()
        try:
            async with asyncio.timeout(TURN_LIMIT):
                return await self._lock.acquire()
        except TimeoutError:
            self.late += 1
            log.info("%d attempts were made without their turn: etcd is slow, or one before takes long", self.late)
            return False

    def _end(self) -> None:
        self._lock.release()
