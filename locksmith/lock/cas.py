"""Attempts at a guarded write, repeated until its outcome is known.

A write whose answer was lost may be applied later than any read that follows. Only a later write with the same guard
decides it: either it succeeds, and the lost one never can, or its guard fails, and what is read then is the outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from random import Random
from typing import Generic, TypeVar

from locksmith.errors import ConflictError, OutcomeUnknownError, StoreError, StoreFullError
from locksmith.store.meter import Meter

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
"""Seconds, at most, before the first try after a lost race, and before any."""
CROWDING = 5
"""How many times as long as its lost attempt a loser may pause: attempts are slow where many are at it."""
LEAST_DISTANCE, LONGEST_DISTANCE = 0.02, 8.0
"""Seconds, at most, for which one who lost to others in the crowd stays away before it asks. Below the least: none."""
NEARER, FARTHER = 0.5, 2.0
"""What becomes of that distance after an attempt that won, and after one that lost: half of all attempts win then.

It is also at least `CROWDING` times as long as the attempt that lost took.
"""


Turn = Callable[[], AbstractAsyncContextManager[None]]
"""What each attempt is made in: its turn among the attempts of one program."""


class CasRetry:
    """Repeats attempts that lost a race, or their answer; `limit` seconds after the first, no other one begins.

    Each attempt is made in a `turn` of its own, which ends before the pause after a lost race.
    """

    def __init__(self, rng: Random, limit: float, meter: Meter, turn: Turn = nullcontext) -> None:
        self._meter = meter
        self._turn = turn
        self._rng = rng
        self._limit = limit
        self._races = 0
        self._distance = 0.0
        self._lost = False

    async def contend(self, attempt: Callable[[], Awaitable[T]], busy: type[Exception]) -> T:
        """Do what `run` does in a crowd without a queue: a process that keeps losing asks less often.

        An attempt has lost if another write came first, or if it ended with `busy` twice in a row. The first attempt of
        all, and each one after a win without rivals, begins at once.
        """
        clock = asyncio.get_running_loop()
        if self._distance:
            await asyncio.sleep(self._rng.uniform(0, self._distance))
        began, races, was_busy = clock.time(), self._races, self._lost
        self._lost = True
        try:
            done = await self.run(attempt)
        except busy:
            if was_busy:
                self._keep_away(clock.time() - began)
            raise
        except BaseException:
            self._lost = was_busy
            raise
        self._lost = False
        if self._races != races:
            self._keep_away(clock.time() - began)
        else:
            self._distance = self._distance * NEARER if self._distance > LEAST_DISTANCE else 0.0
        return done

    def _keep_away(self, took: float) -> None:
        farther = max(LEAST_DISTANCE, FARTHER * self._distance, CROWDING * took)
        self._distance = min(LONGEST_DISTANCE, farther)

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Give what the first attempt gives that is decided; an outcome that stayed unknown outlives other errors."""
        clock = asyncio.get_running_loop()
        ends = clock.time() + self._limit
        pause = FIRST_PAUSE
        undecided: OutcomeUnknownError | None = None
        while True:
            began = clock.time()
            try:
                async with self._turn():
                    began = clock.time()
                    return await attempt()
            except OutcomeUnknownError as error:
                # The write that filled the store would have been seen by now; no other is done until an operator comes.
                if isinstance(error, StoreFullError) and isinstance(undecided, StoreFullError):
                    raise
                undecided = error
                lost: StoreError = error
            except ConflictError as error:
                self._meter.lost_race()
                self._races += 1
                lost = error
            except StoreError as error:
                raise undecided or error from None
            if clock.time() >= ends:
                raise undecided or lost
            pause = min(max(pause, CROWDING * (clock.time() - began)), LONGEST_PAUSE)
            await asyncio.sleep(self._rng.uniform(0, pause))
            pause *= 2


class LostWrites(Generic[T]):
    """What the writes of one operation started from, where their responses were lost.

    The next attempt may find what such a write has done. It tells that only by comparing with what was there before.
    """

    def __init__(self) -> None:
        self._found: list[T] = []

    def __bool__(self) -> bool:
        """Whether a response was lost."""
        return bool(self._found)

    def __iter__(self) -> Iterator[T]:
        """Give what the writes started from, the oldest first."""
        return iter(self._found)

    @property
    def last(self) -> T | None:
        """What the last of these writes started from."""
        return self._found[-1] if self._found else None

    @contextmanager
    def watch(self, found: T) -> Iterator[None]:
        """Remember what a write starts from, if its response is lost."""
        try:
            yield
        except OutcomeUnknownError:
            self._found.append(found)
            raise
