"""Attempts at a guarded write, repeated until its outcome is known.

A write whose answer was lost may be applied later than any read that follows. Only a later write with the same guard
decides it: either it succeeds, and the lost one never can, or its guard fails, and what is read then is the outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TypeVar

from locksmith.errors import ConflictError, OutcomeUnknownError, StoreError, StoreFullError
from locksmith.meter import Meter

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
"""Seconds, at most, before the first try after a lost race, and before any."""
CROWDING = 5
"""How many times as long as its lost attempt a loser may pause: attempts are slow where many are at it."""


class Decider:
    """Repeats attempts that lost a race, or their answer; `limit` seconds after the first, no other one begins."""

    def __init__(self, rng: Random, limit: float, meter: Meter) -> None:
        self._meter = meter
        self._rng = rng
        self._limit = limit

    async def decide(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Give what the first attempt gives that is decided; an outcome that stayed unknown outlives other errors."""
        clock = asyncio.get_running_loop()
        ends = clock.time() + self._limit
        pause = FIRST_PAUSE
        undecided: OutcomeUnknownError | None = None
        while True:
            began = clock.time()
            try:
                return await attempt()
            except OutcomeUnknownError as error:
                # The write that filled the store would have been seen by now; no other is done until an operator comes.
                if isinstance(error, StoreFullError) and isinstance(undecided, StoreFullError):
                    raise
                undecided = error
                lost: StoreError = error
            except ConflictError as error:
                self._meter.lost_race()
                lost = error
            except StoreError as error:
                raise undecided or error from None
            if clock.time() >= ends:
                raise undecided or lost
            pause = min(max(pause, CROWDING * (clock.time() - began)), LONGEST_PAUSE)
            await asyncio.sleep(self._rng.uniform(0, pause))
            pause *= 2


@contextmanager
def remembered(found: T, lost: list[T]) -> Iterator[None]:
    """Add what a write starts from to `lost` where its answer is: the next attempt may find what it has done."""
    try:
        yield
    except OutcomeUnknownError:
        lost.append(found)
        raise
