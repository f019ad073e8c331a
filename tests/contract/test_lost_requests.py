"""A whole turn of the lock on three real members of etcd, with each of its requests lost in turn.

A turn is a place in line, a take, a commit, a give-back; a second machine goes for the slot right behind. A request is
lost before its member has it, or behind it, or it comes late: when the client has looked again through another member,
and goes on with what it saw there; or when all is over. However it goes, at no revision does more than one hold, each
machine has had its turn and no other, and the slot is free at the end, and nobody stands in line.
"""

import asyncio
import uuid

import pytest

from tests.contract.daemons import Lock
from tests.contract.turns import TURN, new_claim, open_lock, story, turn
from tests.harness.etcd import DEBIAN, Etcd
from tests.harness.lossy_proxy import AFTER, BEFORE, BEHIND, LATE, lossy_proxy

LEAST, MOST = 8, 60
"""Requests of a turn."""


@pytest.fixture(scope="module")
def three():
    with Etcd(DEBIAN, members=3) as etcd:
        yield etcd


@pytest.mark.parametrize("fate", [BEFORE, AFTER, BEHIND, LATE])
def test_whichever_request_of_a_turn_is_lost_the_lock_is_kept_and_free_at_the_end(three, fate):
    async def scene(number):
        group = f"g-{uuid.uuid4()}"
        with lossy_proxy(three.endpoints, number, fate) as ways:
            async with (
                open_lock(three.settings(endpoints=ways.urls, timeout=1.0), group) as first,
                open_lock(three.settings(), group) as second,
            ):
                await asyncio.gather(turn(first, new_claim("n1")), turn(second, new_claim("n2")))
            asked = ways.passed
            ways.let_late_ones_arrive()
        assert Lock(three, group).waiters == []
        history = Lock(three, group).history
        assert all(len(moment.holders) <= 1 for moment in history)
        assert [story("n1", history), story("n2", history)] == [TURN, TURN]
        assert len(set(ways.following)) == len(ways.following), "the client goes on with another member"
        return asked

    for number in range(MOST):
        if asyncio.run(scene(number)) <= number:  # nothing was lost any more
            break
    assert LEAST < number < MOST - 1
