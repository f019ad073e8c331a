"""News of a large group that are shown one after another: of a window that opens, all machines have news."""

import asyncio
from collections.abc import Callable
from random import Random

from locksmith.lock.arrival import wider

LONGEST_PUT_OFF = 300.0
"""Seconds for which news are put off at most: what is in the store has to be prolonged in time, too."""


class PutOff:
    """For how long a machine of a large group keeps its news to itself: of a window that opens all machines have news.

    `spread` gives the seconds over which the group spreads them. `wake` is called when it is time to show them.
    """

    def __init__(self, spread: Callable[[], float], machine_id: str) -> None:
        self._spread = spread
        self._rng = Random(machine_id)  # noqa: S311 - only unlike those of other machines
        self._until: float | None = None
        self._failures = 0
        self.wake: Callable[[], None] = lambda: None

    def fails(self, after: float) -> None:
        """Draw when to show them if this attempt fails: each time from a longer time `after` that moment."""
        self._failures += 1
        self._until = after + self._rng.uniform(0, min(LONGEST_PUT_OFF, wider(self._spread(), self._failures)))

    def holds(self, now: float) -> bool:
        """Whether it is not yet time for the news that there are."""
        if self._until is None:
            later = self._rng.uniform(0, min(LONGEST_PUT_OFF, self._spread()))
            self._until = now + later
            if later > 0:
                asyncio.get_running_loop().call_later(later, self.wake)
        return now < self._until

    def over(self) -> None:
        """Take note that there are no news any more."""
        self._until, self._failures = None, 0
