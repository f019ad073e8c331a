"""An event loop whose time is made up: when nothing is ready it jumps to the next timer.

No threads, no files, no sleeping: an hour of a fleet takes as long as its thinking does, and happens again the same
way.
"""

import asyncio
import heapq
from asyncio import Handle, TimerHandle
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StalledError(Exception):
    """Everybody waits and no timer is left: nothing can ever happen again."""


class SpinningError(Exception):
    """Time stands still: there is always something to do at once."""


MOST_ENDS = 20
"""How often what is left of a run is cancelled."""
MOST_TURNS = 50_000
"""How many turns one moment may take: the largest fleet needs a small part of them."""


class VirtualLoop(BaseEventLoop):
    """`now` is the time in seconds since the start; `after_turn` is called after each turn of the loop.

    Timers of one moment ring in the order in which they were set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.after_turn: Callable[[], None] = lambda: None
        self._ready = deque[Handle]()
        self._stopping = False
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._set = 0
        self._turns = 0

    def time(self) -> float:
        """Tell the made-up time."""
        return self.now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> TimerHandle:
        """Set a timer."""
        timer = TimerHandle(when, callback, args, self, context)
        self._set += 1
        heapq.heappush(self._timers, (when, self._set, timer))
        return timer

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Handle:
        """Set something for the next turn."""
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _run_once(self) -> None:
        """Take a turn: whatever is ready, or else the next timer. The base's asks the world outside."""
        self.after_turn()
        self._turns += 1
        if self._turns > MOST_TURNS:
            self._turns = 0  # for the end of what is left
            raise SpinningError
        if not self._ready and not self._stopping:
            self._ring()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _ring(self) -> None:
        timers = self._timers
        while timers:
            when, _, timer = heapq.heappop(timers)
            if timer.cancelled():
                continue
            if when > self.now:
                self.now, self._turns = when, 0
            self._ready.append(timer)
            return
        raise StalledError

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """Need no count of them."""

    def _process_events(self, event_list: list[Any]) -> None:
        """Have none: there is no world outside."""

    def _write_to_self(self) -> None:
        """Need no waking: no other thread is there."""


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on a loop of its own and end whatever it leaves behind."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            return runner.run(main(loop))
        finally:
            _end_what_is_left(loop)


def _end_what_is_left(loop: VirtualLoop) -> None:
    """Cancel all tasks, and those that they begin at their end: a machine still tells its server that it leaves."""
    for _ in range(MOST_ENDS):
        left = asyncio.all_tasks(loop)
        if not left:
            return
        for task in left:
            task.cancel()
        with suppress(StalledError):
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
