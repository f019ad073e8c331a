"""Work that an operator may cancel with Ctrl-C, with SIGTERM, or by closing the terminal."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from locksmith.cli.output import note
from locksmith.errors import HostError

T = TypeVar("T")

STAYS = "not stopped: others would wait for this program's slot or place as long as it stands still; Ctrl-C gives it up"


async def unless_interrupted(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, cancelled by SIGTERM or SIGHUP as by Ctrl-C. `HostError` says which came; Ctrl-C stays what it is.

    Ctrl-Z does not stop it: other machines would wait for its slot or place while it stands still.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel, f"{number.name} came")
    loop.add_signal_handler(signal.SIGTSTP, note, STAYS)
    try:
        return await task
    except asyncio.CancelledError as error:
        if not error.args:
            raise  # Ctrl-C
        raise HostError(f"ended: {error.args[0]}") from None
