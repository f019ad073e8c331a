"""Attempts at a write, over time: what is tried again, how soon, how long, and what is said in the end."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from locksmith.errors import ConflictError, OutcomeUnknownError, StoreFullError, StoreUnavailableError
from locksmith.lock.cas import CROWDING, FIRST_PAUSE, LONGEST_PAUSE, CasRetry, LostWrites
from locksmith.lock.guarded import Guarded
from locksmith.lock.reboot_lock import RebootLock
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.meter import Meter
from tests.sim.virtual_time import run

LIMIT = 30.0


class Longest(Random):
    """Draws the longest pause that may be."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


class Races(Meter):
    """Counts the races that were lost."""

    lost = 0

    def lost_race(self) -> None:
        self.lost += 1


class Tries:
    """What becomes of attempts, and when each began; the last outcome is that of all after it."""

    def __init__(self, *outcomes: Exception | str, takes: float = 0.0) -> None:
        self.outcomes = list(outcomes)
        self.takes = takes
        self.began: list[float] = []
        self.races = Races()
        self.ended = 0.0

    def decide(self) -> object:
        async def main(_loop) -> object:
            try:
                async with asyncio.timeout(3 * LIMIT):  # or tries without an end would keep the test from ending
                    return await CasRetry(Longest(), LIMIT, self.races).run(self._attempt)
            finally:
                self.ended = asyncio.get_running_loop().time()

        return run(main)

    @property
    def pauses(self) -> list[float]:
        ends = [began + self.takes for began in self.began]
        return [round(after - end, 6) for end, after in zip(ends, self.began[1:], strict=False)]

    async def _attempt(self) -> str:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_what_is_decided_at_once_is_tried_once():
    tries = Tries("done")
    assert tries.decide() == "done"
    assert len(tries.began) == 1
    assert tries.races.lost == 0


def test_each_race_that_is_lost_is_counted_and_tried_again_after_twice_as_long():
    tries = Tries(*[ConflictError("lost")] * 4, "done")
    assert tries.decide() == "done"
    assert tries.races.lost == 4
    assert tries.pauses == [FIRST_PAUSE * factor for factor in (1, 2, 4, 8)]


def test_where_attempts_are_slow_losers_pause_longer_but_never_over_a_second():
    """Many are at it then: who came back at once would only make the others lose too."""
    tries = Tries(ConflictError("lost"), "done", takes=0.05)
    tries.decide()
    assert tries.pauses == [CROWDING * 0.05]
    tries = Tries(*[ConflictError("lost")] * 3, "done", takes=1.0)
    tries.decide()
    assert tries.pauses == [LONGEST_PAUSE] * 3


def test_after_the_limit_no_attempt_begins_and_the_lost_race_is_the_error():
    tries = Tries(ConflictError("lost"), takes=1.0)
    with pytest.raises(ConflictError):
        tries.decide()
    assert LIMIT - 2 < tries.began[-1] <= LIMIT
    assert LIMIT <= tries.ended < LIMIT + 2


def test_an_attempt_that_ends_at_the_limit_is_the_last():
    tries = Tries(ConflictError("lost"), takes=LIMIT)
    with pytest.raises(ConflictError):
        tries.decide()
    assert len(tries.began) == 1


@pytest.mark.parametrize(
    "make",
    [Guarded, lambda store, group, rng: RebootLock(store, group, rng=rng).guarded],
    ids=["tool", "daemon"],
)
@pytest.mark.parametrize(("takes", "begun"), [(29.9, 2), (30.0, 1)])
def test_a_lock_that_is_told_no_limit_begins_attempts_for_half_a_minute(takes, begun, make):
    began = []

    async def attempt() -> None:
        began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(takes)
        raise ConflictError("lost")

    async def main(_loop) -> None:
        async with asyncio.timeout(3 * LIMIT):
            await make(MemoryStore(MemoryServer()), "", rng=Longest()).retry.run(attempt)

    with pytest.raises(ConflictError):
        run(main)
    assert len(began) == begun


@pytest.mark.parametrize("later", [ConflictError("lost"), StoreUnavailableError("away")], ids=["race", "store away"])
def test_an_outcome_that_stayed_unknown_is_what_is_said_in_the_end(later):
    """A withdrawal goes by it: what may still win has to be settled first."""
    tries = Tries(OutcomeUnknownError("unknown"), later)
    with pytest.raises(OutcomeUnknownError):
        tries.decide()


def test_a_store_that_is_away_is_no_race_and_is_not_tried_again():
    tries = Tries(StoreUnavailableError("away"), "done")
    with pytest.raises(StoreUnavailableError, match="away"):
        tries.decide()
    assert tries.races.lost == 0


def test_a_lost_answer_is_no_race_and_is_tried_again():
    tries = Tries(OutcomeUnknownError("unknown"), "done")
    assert tries.decide() == "done"
    assert tries.races.lost == 0


def test_a_full_store_and_then_a_lost_answer_are_two_things():
    tries = Tries(StoreFullError("full"), OutcomeUnknownError("unknown"), "done")
    assert tries.decide() == "done"


@pytest.mark.parametrize(
    ("error", "kept"),
    [(OutcomeUnknownError("unknown"), ["before"]), (ConflictError("lost"), []), (None, [])],
    ids=["answer lost", "race lost", "done"],
)
def test_only_what_a_lost_answer_may_have_changed_is_remembered(error, kept):
    lost: LostWrites[str] = LostWrites()

    def write() -> None:
        with lost.watch("before"):
            if error is not None:
                raise error

    _ignoring(write)
    assert list(lost) == kept


def test_a_lost_answer_that_is_remembered_is_still_an_error():
    with pytest.raises(OutcomeUnknownError), LostWrites[str]().watch("before"):
        raise OutcomeUnknownError("unknown")


def _ignoring(write: Callable[[], None]) -> None:
    try:
        write()
    except (OutcomeUnknownError, ConflictError):
        return
