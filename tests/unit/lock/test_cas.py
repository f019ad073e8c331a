"""Attempts at a write: which are made again, and for how long."""

import asyncio
import contextlib
from random import Random

import pytest

from locksmith.errors import ConflictError, OutcomeUnknownError, StoreFullError, StoreRefusedError
from locksmith.lock.cas import CROWDING, FARTHER, LEAST_DISTANCE, LONGEST_DISTANCE, CasRetry
from locksmith.store.meter import Meter
from tests.sim.virtual_time import run


def decide(*outcomes):
    """What becomes of attempts that go like this, one after the other."""
    left = list(outcomes)

    async def attempt():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return asyncio.run(CasRetry(Random(1), 30.0, Meter()).run(attempt))


def test_the_write_that_filled_the_store_is_looked_for_once():
    assert decide(StoreFullError("full"), "it is done") == "it is done"


def test_what_a_full_store_has_refused_twice_is_not_tried_for_longer():
    with pytest.raises(StoreFullError):
        decide(StoreFullError("full"), StoreFullError("full"), "it is done")


def test_a_lost_answer_and_then_a_full_store_are_two_things():
    assert decide(OutcomeUnknownError("lost"), StoreFullError("full"), "it is done") == "it is done"


class BusyError(Exception):
    """Another has it."""


class Longest(Random):
    """Chance that always gives the most."""

    def uniform(self, a, b):
        assert a == 0
        return b


RACE = ConflictError("another write came first")


def crowd(*outcomes, takes=0.0):
    """Let one contend again and again; give for how long it stayed away before it asked, on made-up time.

    A list of outcomes is what becomes of the attempts of one time.
    """

    async def main(loop):
        decider, waits = CasRetry(Longest(), 30.0, Meter()), []
        for outcome in outcomes:
            left = outcome if isinstance(outcome, list) else [outcome]
            asked: list[float] = []

            async def attempt(left=left, asked=asked):
                asked.append(loop.time())
                await asyncio.sleep(takes)
                found = left.pop(0)
                if found is not None:
                    raise found

            began = loop.time()
            with contextlib.suppress(BusyError, StoreRefusedError):
                await decider.contend(attempt, BusyError)
            waits.append(asked[0] - began)
        return waits

    return run(main)


def test_who_finds_all_taken_once_asks_at_once_again():
    assert crowd(BusyError(), None, None) == [0, 0, 0]


def test_who_finds_all_taken_again_and_again_stays_away_longer_each_time():
    waits = crowd(*(BusyError() for _ in range(12)))
    assert waits[:2] == [0, 0]
    assert waits[2:5] == pytest.approx([LEAST_DISTANCE, 2 * LEAST_DISTANCE, 4 * LEAST_DISTANCE])
    assert waits[-1] == LONGEST_DISTANCE


def test_who_wins_in_between_has_found_all_taken_only_once_after_that():
    assert crowd(BusyError(), None, BusyError(), None) == [0, 0, 0, 0]


def test_who_wins_comes_nearer_until_it_asks_at_once():
    waits = crowd(*(BusyError() for _ in range(4)), None, None, None, None, None)
    assert waits[4:] == pytest.approx([4 * LEAST_DISTANCE, 2 * LEAST_DISTANCE, LEAST_DISTANCE, 0, 0])


def test_who_wins_only_after_a_race_was_lost_stays_away_longer_each_time():
    """It stays away for longer than both attempts and the pause between them have taken."""
    away = CROWDING * (0.1 + CROWDING * 0.1 + 0.1)
    waits = crowd(None, [RACE, None], [RACE, None], None, takes=0.1)
    assert waits == pytest.approx([0, 0, away, FARTHER * away])


def test_where_attempts_are_slow_who_has_lost_stays_away_for_longer():
    assert crowd(BusyError(), BusyError(), None, takes=0.1) == pytest.approx([0, 0, CROWDING * 0.1])


def test_an_error_of_the_store_says_nothing_of_a_crowd():
    assert crowd(BusyError(), StoreRefusedError("no"), StoreRefusedError("no"), None)[1:] == [0, 0, 0]
    assert crowd(StoreRefusedError("no"), BusyError(), None) == [0, 0, 0]
