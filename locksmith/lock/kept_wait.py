"""What a claim waits for, across its calls: a watch is opened once, and not again at each heartbeat."""

import asyncio
from collections.abc import Awaitable, Callable

from locksmith.util.futures import heed


class KeptWait:
    """What is waited for. It goes on between two calls: to open thousands of watches at each heartbeat is a load."""

    def __init__(self) -> None:
        self._aim: object = None
        self._task: asyncio.Task[None] | None = None
        self._wait: Callable[[], Awaitable[None]] | None = None

    def aim(self, at: object, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for something from now on; the same again goes on as it is."""
        if at is not self._aim:
            self.stop()
            self._aim, self._wait = at, wait

    def stop(self) -> None:
        """Wait for nothing."""
        if self._task is not None:
            self._task.cancel()
        self._aim = self._task = self._wait = None

    async def ended(self, limit: float) -> bool:
        """Wait for at most `limit` seconds; True: it is over, and an error of it is raised. With no aim, True."""
        if self._task is None:
            if self._wait is None:
                return True
            self._task = asyncio.ensure_future(self._wait())
            self._task.add_done_callback(heed)
        task = self._task
        done, _ = await asyncio.wait([task], timeout=limit)
        if not done:
            return False
        self.stop()
        task.result()
        return True
