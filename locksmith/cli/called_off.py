"""Work that a person may call off: Ctrl-C, SIGTERM and the end of the terminal alike."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from locksmith.errors import HostError

T = TypeVar("T")


async def unless_called_off(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, cancelled by SIGTERM or SIGHUP as by Ctrl-C. `HostError` says which came; Ctrl-C stays what it is."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel, f"{number.name} came")
    try:
        return await task
    except asyncio.CancelledError as error:
        if not error.args:
            raise  # Ctrl-C
        raise HostError(f"ended: {error.args[0]}") from None
