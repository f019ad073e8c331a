"""Attempts at a write: which are made again, and for how long."""

import asyncio
import contextlib
from random import Random

import pytest

from locksmith.errors import OutcomeUnknownError, StoreFullError, StoreRefusedError
from locksmith.lock.cas import LEAST_DISTANCE, LONGEST_DISTANCE, CasRetry
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
        del a
        return b


def crowd(*outcomes):
    """Let one contend again and again; give for how long it stayed away before each attempt, on made-up time."""

    async def main(loop):
        decider, waits = CasRetry(Longest(), 30.0, Meter()), []
        for outcome in outcomes:
            began = loop.time()

            async def attempt(outcome=outcome, began=began):
                waits.append(loop.time() - began)
                if outcome is not None:
                    raise outcome

            with contextlib.suppress(BusyError, StoreRefusedError):
                await decider.contend(attempt, BusyError)
        return waits

    return run(main)


def test_who_finds_all_taken_once_asks_at_once_again():
    assert crowd(BusyError(), None, None) == [0, 0, 0]


def test_who_finds_all_taken_again_and_again_stays_away_longer_each_time():
    waits = crowd(*(BusyError() for _ in range(12)))
    assert waits[:2] == [0, 0]
    assert waits[2:5] == pytest.approx([LEAST_DISTANCE, 2 * LEAST_DISTANCE, 4 * LEAST_DISTANCE])
    assert waits[-1] == LONGEST_DISTANCE


def test_who_wins_comes_nearer_until_it_asks_at_once():
    waits = crowd(*(BusyError() for _ in range(4)), None, None, None, None, None)
    assert waits[4:] == pytest.approx([4 * LEAST_DISTANCE, 2 * LEAST_DISTANCE, LEAST_DISTANCE, 0, 0])


def test_an_error_of_the_store_says_nothing_of_a_crowd():
    assert crowd(BusyError(), StoreRefusedError("no"), StoreRefusedError("no"), None)[1:] == [0, 0, 0]
