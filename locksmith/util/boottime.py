"""The time since the boot, suspends included: CLOCK_BOOTTIME, which no step of the wall clock moves.

asyncio's own loop uses CLOCK_MONOTONIC, which stops during a suspend. After an hour of suspend a machine would believe
what it saw and was granted before. So both programs run on a loop with this time. Every `loop.time()`, and every limit
of a wait, counts a suspend like the time of a stopped process.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def boot_time() -> float:
    """Give the seconds since the machine booted, suspends included (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class BootTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is `boot_time`. A timer that is due in a suspend fires right after it."""

    def time(self) -> float:
        """Give the time of the timers."""
        return boot_time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end, as `asyncio.run` does, on a loop of boot time."""
    with asyncio.Runner(loop_factory=BootTimeLoop) as runner:
        return runner.run(main)
