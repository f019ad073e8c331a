"""When Python collects garbage in a server: seldom, and never for long while calls wait.

Most objects are freed as soon as no other has them. Those that have each other are found by going through all objects.
With 10,000 machines that wait there are millions, so that stops the event loop for a good part of a second, and Python
does it dozens of times while the machines come. So here it goes through what is new. A connection that has ended is
freed at once (connection.py), but with TLS asyncio's transport stays, with 3 KiB. So Python goes through everything
after many such connections have ended, or after a long while.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

NEW: Final = 2_000
"""New objects after which Python goes through those."""
TOGETHER: Final = 50
"""Such collections after which it goes once more through what they have left."""
NEVER: Final = 1_000_000
"""Of those, before it goes through everything by itself: so many never come."""
ENDED: Final = 5_000
"""Connections that have ended and were not freed, after which it goes through everything."""
EVERYTHING_AFTER: Final = 1800.0
"""Seconds after which it does so in any case."""
CHECK_AFTER: Final = 10.0
"""Seconds between two checks of how many have ended."""

_OWN_METHODS: Final = ("_read_ready_cb", "_write_ready")
"""Under these names CPython's transport of a socket has methods of its own, and so itself; the second from 3.12 on."""


def free(transport: asyncio.BaseTransport) -> bool:
    """Free the transport of a connection that has ended; False: a collection has to find it."""
    own = vars(transport)
    found = [own.pop(name) for name in _OWN_METHODS if name in own]
    return bool(found)


async def collect_seldom(ended: Callable[[], int]) -> None:
    """Have garbage in this process collected seldom, until this is cancelled.

    `ended` tells how many connections have ended and were not freed.
    """
    loop, before = asyncio.get_running_loop(), gc.get_threshold()
    gc.collect()
    gc.freeze()  # what has been imported stays
    gc.set_threshold(NEW, TOGETHER, NEVER)
    try:
        while True:
            before_these, due = ended(), loop.time() + EVERYTHING_AFTER
            while loop.time() < due and ended() - before_these < ENDED:  # noqa: ASYNC110 - no event for each connection
                await asyncio.sleep(CHECK_AFTER)
            gc.collect()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
