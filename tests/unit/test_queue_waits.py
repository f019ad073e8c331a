"""For how long those in line wait before they look again, however long the program has run by then."""

import asyncio

import pytest

from locksmith.queue import LOOK_AFTER, TTL
from tests.unit.test_queue import claim, play

LONG_SINCE = 5000.0
"""Seconds that the loop has run before somebody comes: times are the loop's own, not counted from the coming."""


def test_the_first_in_line_looks_again_after_half_a_minute():
    async def story(line):
        await asyncio.sleep(LONG_SINCE)
        queue = line.queue()
        look = await queue.stand(claim("n1"))
        clock = asyncio.get_running_loop().time
        start = clock()
        assert not await queue.wait(look)
        assert clock() - start == pytest.approx(LOOK_AFTER)

    play(story)


def test_a_watch_that_stays_silent_is_believed_for_half_a_minute():
    async def story(line):
        await asyncio.sleep(LONG_SINCE)
        first, second = line.queue(), line.queue()
        await first.stand(claim("n1"))
        look = await second.stand(claim("n2"))
        clock = asyncio.get_running_loop().time
        start = clock()
        assert not await second.wait(look)
        assert clock() - start == pytest.approx(LOOK_AFTER)

    play(story)


def test_who_comes_back_after_the_time_to_look_does_not_wait_at_all():
    async def story(line):
        queue = line.queue()
        look = await queue.stand(claim("n1"))
        await asyncio.sleep(TTL)
        clock = asyncio.get_running_loop().time
        start = clock()
        assert not await queue.wait(look)
        assert clock() == start

    play(story)
