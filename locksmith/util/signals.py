"""Signals that a program hears until it ends, and ignores from then on."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial

Handlers = Mapping[signal.Signals, Callable[[], object]]


@contextlib.contextmanager
def heard(handlers: Handlers) -> Iterator[None]:
    """Call these in the running loop, each at its signal. Afterwards the signals are ignored: no loop hears them.

    The loop's own handlers are not used. It takes them off as it closes, and a signal in that moment, or later, would
    end the process by the signal's default. Must be called in the main thread.
    """
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        signal.signal(number, partial(_call_in, loop, handler))
    try:
        yield
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)


def _call_in(loop: asyncio.AbstractEventLoop, handler: Callable[[], object], *_signal: object) -> None:
    loop.call_soon_threadsafe(handler)
