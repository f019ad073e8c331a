"""The windows of this machine: those of the configuration, and the named sets of the file or of the store.

A set of the store is read again before a reboot begins, and right before the point of no return. So the whole fleet
obeys an operator's change of the set.
"""

from collections.abc import Callable
from datetime import datetime

from locksmith.agent.facts import WindowSight
from locksmith.config.model import WindowSettings
from locksmith.errors import CorruptValueError, StoreError
from locksmith.lock.window_sets import WindowStore
from locksmith.store.protocol import Store
from locksmith.util.words import quoted
from locksmith.window import window_set

WAITING, IDLE = 30.0, 900.0
"""Seconds after which the sets are read again: while a reboot waits for its window, and while no reboot is needed."""


class ConfiguredWindows:
    """The windows of `settings`. `open_store` connects to the store, for the sets that the file does not have.

    `elapsed` is the clock for the age of a reading (seconds).
    """

    def __init__(self, settings: WindowSettings, open_store: Callable[[], Store], elapsed: Callable[[], float]) -> None:
        self._settings = settings
        self._open_store = open_store
        self._elapsed = elapsed
        self._store: Store | None = None
        self._stored = settings.stored
        self._sight = WindowSight(window_set.union(settings.of_file))
        self._read_at: float | None = None

    async def check(self, now: datetime, *, wanted: bool) -> WindowSight:
        """Give the windows of this machine. `StoreError`: a reboot is needed, and the store does not have them."""
        if self._stored and self._is_old(now, wanted=wanted):
            try:
                self._sight, self._read_at = await self._read(), self._elapsed()
            except StoreError as error:
                if wanted:
                    raise
                self._sight = WindowSight(error=f"the windows of {', '.join(self._stored)} are not known: {error}")
        return self._sight

    def forget(self) -> None:
        """Read the store's sets again at the next call."""
        self._read_at = None

    async def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            await self._store.close()

    def _is_old(self, now: datetime, *, wanted: bool) -> bool:
        if self._read_at is None:
            return True
        windows, age = self._sight.windows, self._elapsed() - self._read_at
        if wanted and (windows is None or windows.contains(now)):
            return True
        return age >= (WAITING if wanted else IDLE)

    async def _read(self) -> WindowSight:
        self._store = self._store or self._open_store()
        sets = [*self._settings.of_file]
        for name in self._stored:
            try:
                found = await WindowStore(self._store).read(name)
            except CorruptValueError as error:
                return WindowSight(error=str(error))
            if found is None:
                return WindowSight(
                    error=f"there is no set of windows {name!r} in the file or in the store: "
                    f"`locksmithctl window set {quoted(name)} {window_set.EXAMPLE}` makes one"
                )
            sets.append(found)
        return WindowSight(window_set.union(sets))
