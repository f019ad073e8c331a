"""Calls of one client in one server, one after another: a client may make the next while one is under way."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from locksmith.errors import LocksmithError

MOST_WAITING = 4
"""How many calls of one client may wait for the one under way."""


class TooManyCallsError(LocksmithError):
    """Refused: too many calls of one client are under way."""


class Turns:
    """Who acts, and how many wait, by client."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, client: Hashable) -> AsyncIterator[None]:
        """Wait until no other call of this client is under way; `TooManyCallsError`: too many wait already."""
        lock, calls = self._locks.get(client, (asyncio.Lock(), 0))
        if calls > MOST_WAITING:
            raise TooManyCallsError
        self._locks[client] = (lock, calls + 1)
        try:
            async with lock:
                yield
        finally:
            calls = self._locks[client][1] - 1
            if calls:
                self._locks[client] = (lock, calls)
            else:
                del self._locks[client]
