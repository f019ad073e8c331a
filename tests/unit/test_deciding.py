"""Attempts at a write: which are made again, and for how long."""

import asyncio
from random import Random

import pytest

from locksmith.deciding import Decider
from locksmith.errors import OutcomeUnknownError, StoreFullError
from locksmith.meter import Meter


def decide(*outcomes):
    """What becomes of attempts that go like this, one after the other."""
    left = list(outcomes)

    async def attempt():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return asyncio.run(Decider(Random(1), 30.0, Meter()).decide(attempt))


def test_the_write_that_filled_the_store_is_looked_for_once():
    assert decide(StoreFullError("full"), "it is done") == "it is done"


def test_what_a_full_store_has_refused_twice_is_not_tried_for_longer():
    with pytest.raises(StoreFullError):
        decide(StoreFullError("full"), StoreFullError("full"), "it is done")


def test_a_lost_answer_and_then_a_full_store_are_two_things():
    assert decide(OutcomeUnknownError("lost"), StoreFullError("full"), "it is done") == "it is done"
