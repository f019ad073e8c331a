"""For how long those in line wait before they look again, however long the program has run by then."""

import asyncio
from dataclasses import replace
from random import Random

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.lock.queue import CHECK_AFTER, FAR_TTL, KEEP_AFTER, TTL, Queue, lasts
from locksmith.lock.queue_sight import KNOWN, LONG, Sight
from locksmith.lock.records.claim import FLEETLOCK
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.queues import claim, play

LONG_SINCE = 5000.0
"""Seconds that the loop has run before a machine comes: times are the loop's own, not counted from the coming."""


def test_the_first_in_line_looks_again_after_half_a_minute():
    async def story(line):
        await asyncio.sleep(LONG_SINCE)
        queue = line.queue()
        look = await queue.stand(claim("n1"))
        clock = asyncio.get_running_loop().time
        start = clock()
        assert not await queue.wait(look)
        assert clock() - start == pytest.approx(CHECK_AFTER)

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
        assert clock() - start == pytest.approx(CHECK_AFTER)

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


def test_who_gives_up_its_place_stands_nowhere_and_gives_it_up_once():
    async def story(line):
        queue = line.queue()
        await queue.stand(claim("n1"))
        line.calls.clear()
        await queue.leave(claim("n1"))
        assert not queue.stands(claim("n1"))
        assert line.names == []
        assert line.calls == ["revoke"]
        await queue.leave(claim("n1"))
        assert line.calls == ["revoke", "read"]

    play(story)


def test_who_gives_up_for_another_claim_keeps_its_own_place():
    async def story(line):
        queue = line.queue()
        await queue.stand(claim("n1"))
        await queue.leave(claim("n2"))
        assert line.names == ["n1"]
        assert queue.stands(claim("n1"))

    play(story)


def test_a_program_that_ends_gives_up_its_place_whosever_that_is():
    async def story(line):
        queue, idle = line.queue(), line.queue()
        await queue.stand(claim("n1"))
        await idle.abandon()
        assert line.names == ["n1"]
        await queue.abandon()
        assert line.names == []

    play(story)


def test_a_queue_of_its_own_time_to_live_is_left_after_that():
    async def story(line):
        await Queue(MemoryStore(line.server), "", ttl=2 * TTL).stand(claim("n1"))
        await asyncio.sleep(TTL + 1)
        assert line.names == ["n1"]
        await asyncio.sleep(TTL)
        assert line.names == []

    play(story)


def test_a_place_that_was_kept_lasts_from_then_on():
    async def story(line):
        queue = line.queue()
        await queue.stand(claim("n1"))
        for _ in range(3):
            await asyncio.sleep(KEEP_AFTER)
            line.calls.clear()
            await queue.stand(claim("n1"))
            assert {"renew", "rejoin"} & {*line.calls}
        await asyncio.sleep(TTL - 1)
        assert line.names == ["n1"]

    play(story)


@pytest.mark.parametrize(("position", "ttl"), [(LONG, TTL), (LONG + 1, FAR_TTL)])
def test_only_a_place_far_back_in_a_long_queue_lasts_longer_and_is_kept_less_often(position, ttl):
    async def story(line):
        await asyncio.sleep(LONG_SINCE)
        queue = line.queue()
        look = await queue.stand(claim("n1"))
        queued = replace(look.queued, position=position, exact=False)
        queue._view = replace(look, queued=queued, ends=LONG_SINCE + 1000)
        line.calls.clear()
        for _ in range(4):
            await asyncio.sleep(KEEP_AFTER + 1)
            await queue.stand(claim("n1"))
        assert queue._place is not None
        assert queue._place.ttl == ttl
        assert len(line.calls) == (1 if ttl == FAR_TTL else 4)

    play(story)


def test_the_place_of_another_claim_does_not_go_with_a_take():
    async def story(line):
        queue = line.queue()
        await queue.stand(claim("n1"))
        assert len(queue.entries(claim("n1"))) == 2
        assert queue.entries(claim("n1", nonce="another")) == ()

    play(story)


def test_the_place_of_a_client_that_has_lost_its_lease_is_written_with_one_and_kept():
    """As in a copied keyspace. The client still calls, so it must not lose its turn."""

    async def story(line):
        queue, client = line.queue(), claim("n1", kind=FLEETLOCK)
        await queue.stand(client)
        before = queue.place(client)
        assert before is not None
        line.server.put(before.key, before.value, before.version)
        assert not line.server.read(before.key).entry.lease
        queue.look_again()
        await queue.stand(client)
        after = line.server.read(before.key).entry
        assert after.created == before.created
        assert after.lease

    play(story)


def test_one_far_back_believes_what_it_saw_for_no_longer_than_its_distance():
    class Latest(Random):
        def uniform(self, a: float, b: float) -> float:
            return max(a, b)

    queue = Queue(MemoryStore(MemoryServer()), "", rng=Latest())
    view = queue._view_of(Sight(None, 10 * KNOWN, 10 * KNOWN, (), 1, exact=False), 5.0)
    assert view.ends == 5.0 + lasts(10 * KNOWN)


def test_a_place_that_is_gone_whenever_it_was_made_is_an_error_and_no_endless_loop():
    async def story(line):
        queue = line.queue()

        async def observe(_place):
            return Sight(None, 1, 1, (), 1)

        queue._sight.observe = observe
        with pytest.raises(StoreUnavailableError, match="disappears as soon as it is made"):
            await queue.stand(claim("n1"))

    play(story)


def test_another_claim_of_a_machine_stands_at_the_end_again():
    async def story(line):
        queue, another = line.queue(), claim("n1", nonce="another")
        await queue.stand(claim("n1"))
        await line.queue().stand(claim("n2"))
        assert (await queue.stand(another)).queued.position == 2
        assert queue.stands(another)
        assert line.names == ["n2", "n1"]

    play(story)
