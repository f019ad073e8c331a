"""An event loop whose time is made up: when nothing is ready it jumps to the next timer.

No threads, no files, no sleeping: an hour of a fleet takes as long as its thinking does, and happens again the same
way.
"""

import asyncio
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StalledError(Exception):
    """Everybody waits and no timer is left: nothing can ever happen again."""


class _Jump:
    """Stands where the loop looks for the world's events, and lets time go by instead."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Let `timeout` seconds go by; the loop asks once a turn."""
        self._loop.after_turn()
        if timeout is None:
            raise StalledError
        self._loop.now += timeout
        return []


class VirtualLoop(BaseEventLoop):
    """`now` is the time in seconds since the start; `after_turn` is called after each turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.after_turn: Callable[[], None] = lambda: None
        self._selector = _Jump(self)

    def time(self) -> float:
        """Tell the made-up time."""
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        """Have none: there is no world outside."""

    def _write_to_self(self) -> None:
        """Need no waking: nobody else is there."""


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on a loop of its own and end whatever it leaves behind."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
