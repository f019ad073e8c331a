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
    """One group's. `waited` counts attempts that had to wait for their turn, `late` those that were made without it."""

    def __init__(self) -> None:
        self.waited = self.late = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no attempt that came before is under way."""
        own = await self._begin()
        try:
            yield
        finally:
            if own:
                self._end()

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
