"""The places of the queue that several programs write: servers, runs of a daemon; and one that none writes any more."""

import asyncio
from dataclasses import replace

import pytest

from locksmith.lock.answer import Denied, Granted
from locksmith.lock.errors import PlaceGoneError
from locksmith.lock.queue import CHECK_AFTER, FIRST_LASTS, KEEP_AFTER, Queue
from locksmith.lock.queue_places import is_shared
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import waiter
from locksmith.lock.records.claim import FLEETLOCK
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import Put
from tests.builders.queues import QueuePosition, claim, play

CLIENT = claim("n1", kind=FLEETLOCK)


def other_server(line: QueuePosition, queue: Queue) -> Queue:
    """Give the queue of another server, which has read the client's place."""
    place, ticket = queue.entries(CLIENT)
    other = line.queue()
    other.resume(CLIENT, ticket, place)
    return other


def written(line: QueuePosition) -> int:
    """Say how often the only place was written."""
    [key] = line.keys
    entry = line.server.read(key).entry
    assert entry is not None
    record = waiter.decode(entry.value, key)
    return record.beat + record.polls


def test_each_server_that_a_first_client_calls_writes_its_place_once():
    """The second in the queue sees by that that the client still calls."""

    async def story(line):
        one = line.queue()
        await one.stand(CLIENT)
        before = written(line)
        other = other_server(line, one)
        await other.stand(CLIENT)
        assert written(line) == before + 1
        await other.stand(CLIENT)
        assert written(line) == before + 1

    play(story)


def test_where_there_is_doubt_a_place_is_removed_that_another_server_has_written():
    async def story(line):
        one = line.queue()
        await one.stand(CLIENT)
        await other_server(line, one).stand(CLIENT)
        one.doubt()
        await one.leave(CLIENT)
        assert line.names == []

    play(story)


def test_a_machine_that_gets_its_slot_leaves_no_place_that_its_later_run_has_written():
    async def story(line):
        holder, earlier = (QueuedLock(RebootLock(MemoryStore(line.server), ""), line.queue()) for _ in range(2))
        await holder.take(claim("n0"))
        assert isinstance(await earlier.take(claim("n1")), Denied)
        later, (place, ticket) = line.queue(), earlier._queue.entries(claim("n1"))
        later.resume(claim("n1"), ticket, place)
        later.doubt()
        await later.stand(claim("n1"))
        await holder.release(claim("n0"), fence_pending=False, why="it has rebooted")
        assert await earlier.take(claim("n1")) == Granted()
        assert line.keys == []

    play(story)


def test_a_program_without_a_place_has_nothing_to_doubt():
    async def story(line):
        one = line.queue()
        one.doubt()
        assert not one.stands(CLIENT)

    play(story)


@pytest.mark.parametrize("after", [0.0, KEEP_AFTER], ids=["when it looks", "when it keeps its place"])
def test_a_client_whose_place_is_gone_is_told_so_and_gets_no_other(after):
    """Its steady-state may have removed it: a new place would wait for a client that has rebooted."""

    async def story(line):
        one = line.queue()
        await one.stand(CLIENT)
        await line.queue().leave(CLIENT)
        await asyncio.sleep(after)
        one.look_again()
        with pytest.raises(PlaceGoneError, match="the place of n1 in the queue is gone"):
            await one.stand(CLIENT)
        assert line.names == []

    play(story)


@pytest.mark.parametrize("shared", [True, False], ids=["with a shared lease", "without a lease"])
def test_a_place_that_has_no_lease_of_its_own_is_written_with_one_when_it_is_kept(shared):
    async def story(line):
        await line.queue().stand(claim("n0"))
        one = line.queue()
        await one.stand(CLIENT)
        place, ticket = one.entries(CLIENT)
        lease = line.server.grant(90.0) if shared else 0
        record = waiter.encode(replace(waiter.decode(place.value, place.key), shared=shared))
        if shared:
            line.server.bind([Put(place.key, record, place.version)], lease)
        else:
            line.server.put(place.key, record, place.version)
        found = line.server.read(place.key).entry
        other = line.queue()
        other.resume(CLIENT, ticket, found)
        await other.stand(CLIENT)
        after = line.server.read(place.key).entry
        assert after.lease not in (0, lease)
        assert not is_shared(after)

    play(story)


def test_the_second_removes_the_first_that_writes_its_place_no_more():
    async def story(line):
        # Each new leader of etcd begins the leases again, so that a place may stand for ever.
        await Queue(MemoryStore(line.server), "", ttl=1e6).stand(claim("n1"))
        second, third = line.queue(), line.queue()
        for _ in range(int(FIRST_LASTS // KEEP_AFTER) + 1):
            assert (await second.stand(claim("n2"))).queued.position == 2
            assert (await third.stand(claim("n3"))).queued.position == 3
            await asyncio.sleep(KEEP_AFTER)
        await asyncio.sleep(CHECK_AFTER - KEEP_AFTER)
        assert (await third.stand(claim("n3"))).queued.position == 3
        assert line.names == ["n1", "n2", "n3"], "only the second may remove it"
        assert (await second.stand(claim("n2"))).queued.position == 1
        assert line.names == ["n2", "n3"]

    play(story)
