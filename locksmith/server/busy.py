"""Who holds the slots of a group, for the refusals of its clients: read at most once in a while, however many call."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from locksmith.errors import CorruptValueError, StoreError
from locksmith.fleet.reader import read_slots
from locksmith.fleet.slots import busy_words
from locksmith.store.protocol import Store

FRESH = 2.0
"""Seconds for which the words count."""
READ_LIMIT = 3.0
"""Seconds for reading them: the client waits."""


class BusySlots:
    """The words of all groups. `clock` is local time. No call raises, except if it is cancelled."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._words: dict[str, tuple[str, str, float]] = {}

    async def words(self, group: str, otherwise: str) -> str:
        """Say who holds the slots, since when and why; where that cannot be read, or one is free, `otherwise`.

        `otherwise` has the ids of the holders: with other holders, the words are read again.
        """
        now = asyncio.get_running_loop().time()
        known, words, ends = self._words.get(group, ("", "", now))
        if known != otherwise or now >= ends:
            words = ""
            with suppress(StoreError, CorruptValueError, TimeoutError):
                async with asyncio.timeout(READ_LIMIT):
                    words = busy_words(await read_slots(self._store, group), self._clock())
            self._words[group] = (otherwise, words, now + FRESH)
        return words or otherwise
