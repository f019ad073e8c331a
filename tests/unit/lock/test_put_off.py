"""News that a machine of a large group keeps to itself for a while, each time from a longer time."""

import asyncio

import pytest

from locksmith.lock.arrival import WIDEST
from locksmith.lock.put_off import LONGEST_PUT_OFF, PutOff
from tests.sim.virtual_time import run

MACHINES = [f"m{number}" for number in range(100)]


def held_for(put_off: PutOff, begun: float = 0.0) -> float:
    """Give for how long after a moment the news are held."""
    held, over = begun, begun + 10_000
    if not put_off.holds(begun):
        return 0.0
    while over - held > 0.01:
        middle = (held + over) / 2
        held, over = (middle, over) if put_off.holds(middle) else (held, middle)
    return over - begun


@pytest.mark.parametrize(("spread", "longest"), [(100.0, 100.0), (1000.0, LONGEST_PUT_OFF)])
async def test_all_machines_together_use_the_whole_time_and_no_more(spread, longest):
    waits = [held_for(PutOff(lambda: spread, one)) for one in MACHINES]
    assert 0.9 * longest < max(waits) <= longest
    assert min(waits) < 0.1 * longest


@pytest.mark.parametrize(("failures", "wider"), [(1, 2), (2, 4), (3, WIDEST), (20, WIDEST)])
def test_each_failure_makes_the_time_longer_up_to_a_limit(failures, wider):
    waits = []
    for one in MACHINES:
        put_off = PutOff(lambda: 10.0, one)
        for _ in range(failures):
            put_off.fails(60.0)
        waits.append(held_for(put_off))
    assert min(waits) >= 60
    assert 60 + 9 * wider < max(waits) <= 60 + 10 * wider + 0.01


def test_after_failures_news_are_put_off_for_no_longer_than_the_longest_time():
    waits = []
    for one in MACHINES:
        put_off = PutOff(lambda: 100.0, one)
        for _ in range(5):
            put_off.fails(0.0)
        waits.append(held_for(put_off))
    assert 0.9 * LONGEST_PUT_OFF < max(waits) <= LONGEST_PUT_OFF + 0.01


async def test_the_next_news_after_failures_are_put_off_as_if_there_had_been_none():
    first, then = [], []
    for one in MACHINES:
        put_off = PutOff(lambda: 10.0, one)
        for _ in range(5):
            put_off.fails(1000.0)
        put_off.over()
        first.append(held_for(put_off))
        put_off.over()
        put_off.fails(0.0)
        then.append(held_for(put_off))
    assert 9 < max(first) <= 10.01
    assert 18 < max(then) <= 20.01


def test_the_loop_is_woken_when_it_is_time_and_not_where_nothing_is_put_off():
    async def main(_loop):
        clock = asyncio.get_running_loop().time
        woken: list[float] = []
        at_once, later = PutOff(lambda: 0.0, "m1"), PutOff(lambda: 0.5, "m1")
        for one in (at_once, later):
            one.wake = lambda: woken.append(clock())
        assert not at_once.holds(clock())
        assert later.holds(clock())
        await asyncio.sleep(1)
        assert [0 < moment < 0.5 for moment in woken] == [True]
        assert not later.holds(clock())

    run(main)
