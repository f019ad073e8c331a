"""Who holds the slots of a group, for the refusals of its clients: read once for all who call meanwhile.

What was read counts for `FRESH` seconds, unless the holders are others by then.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from typing import Any

from locksmith.errors import CorruptValueError, StoreError
from locksmith.fleet.reader import read_slots
from locksmith.fleet.slots import busy_words
from locksmith.server.known import Shared, now
from locksmith.store.protocol import Store

FRESH = 2.0
"""Seconds for which the words count."""
READ_LIMIT = 3.0
"""Seconds for reading them: the client waits."""


class BusySlots:
    """The words of all groups, read in the store that `reads` gives. `clock` is local time.

    No call raises, except if it is cancelled.
    """

    def __init__(self, reads: Callable[[str], Store], clock: Callable[[], datetime]) -> None:
        self._reads = reads
        self._clock = clock
        self._groups: dict[str, _Words] = {}

    async def words(self, group: str, otherwise: str) -> str:
        """Say who holds the slots, since when and why; where that cannot be read, or one is free, `otherwise`.

        `otherwise` has the ids of the holders: with other holders, the words are read again.
        """
        of_group = self._groups.get(group)
        if of_group is None:
            of_group = self._groups[group] = _Words(lambda: self._read(group))
        return await of_group.get(otherwise) or otherwise

    async def _read(self, group: str) -> str:
        with suppress(StoreError, CorruptValueError, TimeoutError):
            async with asyncio.timeout(READ_LIMIT):
                return busy_words(await read_slots(self._reads(group), group), self._clock())
        return ""


class _Words:
    """What was read last of a group, for which holders, and until when that counts."""

    def __init__(self, read: Callable[[], Coroutine[Any, Any, str]]) -> None:
        self._read_words, self._share = read, Shared(self._read)
        self._wanted = self._holders = self._words = ""
        self._ends = float("-inf")

    async def get(self, holders: str) -> str:
        if self._holders != holders or now() >= self._ends:
            self._wanted = holders
            await self._share()
        return self._words

    async def _read(self) -> None:
        holders = self._wanted  # who comes from now on with others reads again, but not before this has ended
        self._words = await self._read_words()
        self._holders, self._ends = holders, now() + FRESH
