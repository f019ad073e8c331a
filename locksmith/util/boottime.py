"""Time that counts while the machine is suspended: CLOCK_BOOTTIME, which no step of the wall clock moves.

asyncio's own loop goes by CLOCK_MONOTONIC, which stands still in a suspend. A machine that wakes up after an hour would
take what it saw before for fresh, and what it was granted before for its own. So both programs run on a loop whose time
is this one. Every `loop.time()`, and every limit of a wait, counts a suspend as it counts a process that was stopped.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def boot_time() -> float:
    """Give the seconds since the machine has booted, suspended ones too (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class BootTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is `boot_time`. A timer that came due in a suspend rings right after it."""

    def time(self) -> float:
        """Give the time by which the timers ring."""
        return boot_time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end, as `asyncio.run` does, on a loop of boot time."""
    with asyncio.Runner(loop_factory=BootTimeLoop) as runner:
        return runner.run(main)
