"""Waiting for a condition inside an event loop."""

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object], what: str, limit: float = 45.0) -> None:
    """Wait until something holds; after `limit` seconds, fail and say what did not happen."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + limit
    while not holds():
        assert loop.time() < ends, f"not within {limit:g} s: {what}"
        await asyncio.sleep(0.005)
