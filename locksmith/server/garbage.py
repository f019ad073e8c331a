"""When Python collects garbage in a server: seldom, and never for long while calls wait.

Most objects are freed as soon as no other has them. Those that have each other are found by going through all objects.
With 10,000 machines that wait there are millions, so that stops the event loop for a good part of a second, and Python
does it dozens of times while the machines come. No connection leaves such garbage here (connection.py). So going
through what is new is enough, and through everything once in a long while.
"""

import asyncio
import gc
from typing import Final

NEW: Final = 2_000
"""New objects after which Python goes through those."""
TOGETHER: Final = 50
"""Such collections after which it goes once more through what they have left."""
NEVER: Final = 1_000_000
"""Of those, before it goes through everything: their number does not decide that."""
EVERYTHING_AFTER: Final = 1800.0
"""Seconds after which it goes through everything."""


async def collect_seldom() -> None:
    """Have garbage in this process collected seldom, until this is cancelled."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what has been imported stays
    gc.set_threshold(NEW, TOGETHER, NEVER)
    try:
        while True:
            await asyncio.sleep(EVERYTHING_AFTER)
            gc.collect()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
