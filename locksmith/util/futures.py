"""Futures that no caller may wait for any more."""

import asyncio
from typing import Any


def heed(future: asyncio.Future[Any]) -> None:
    """Take note of the error of a future that is done: asyncio logs those of which nothing does."""
    if not future.cancelled():
        future.exception()
