"""Which groups have changed, for the notifications: each is read soon, and no more often than is cheap."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final

from locksmith.lock.records import keys

CALM: Final = 1.0
"""Seconds between two readings at least."""
RESTS: Final = 50
"""The pause after a reading, in multiples of the time that it took: so all of them take 2 % of a core."""

Changed = Callable[[str, Collection[str]], None]
"""Told of a group, and of the keys that have changed there."""

_QUIET: Final = ("waiters", "tickets", "members", "absent", "history", "credential-history", "notices")
"""Folders of a group of which nothing is ever told."""


class News:
    """Has groups that changed read, by `read`, one after another."""

    def __init__(self, read: Callable[[str], Awaitable[None]]) -> None:
        self._read = read
        self._groups: dict[str, None] = {}
        self._woken, self._stopping = asyncio.Event(), asyncio.Event()
        self._rests_until = float("-inf")

    def add(self, group: str, changed: Collection[str]) -> None:
        """Take note of a change, unless no notice can follow from it."""
        if group not in self._groups and _matters(group, changed):
            self._groups[group] = None
            self._woken.set()

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping.set()
        self._woken.set()

    async def run(self, seconds: float) -> None:
        """Read what changes for some seconds, and what has changed before."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while not self._stopping.is_set() and loop.time() < ends:
            await _until(self._woken, ends - loop.time())
            await _until(self._stopping, min(self._rests_until, ends) - loop.time())
            if loop.time() < self._rests_until:
                return
            groups, self._groups = self._groups, {}
            self._woken.clear()
            began = loop.time()
            for group in groups:
                await self._read(group)
            if groups:
                took = loop.time() - began
                self._rests_until = began + took + max(CALM, RESTS * took)


def _matters(group: str, changed: Collection[str]) -> bool:
    """Tell whether a notice may follow from a change: not from the queue, the history, nor the notices themselves.

    Without a key the group is known again, after a while in which it was not.
    """
    at = keys.group_prefix(group)
    quiet = tuple(f"{at}{folder}/" for folder in _QUIET)
    return not changed or any(not key.startswith(quiet) for key in changed)


async def _until(event: asyncio.Event, limit: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            await event.wait()
