"""The lock as a server asks it for a client: a call waits a little for a slot, and goes on where another call ended."""

import asyncio

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.lock.admission import GroupRules
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.queue import Queue
from locksmith.lock.queue_sight import KNOWN_FOR_A_SLOT
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records import reboot as reboot_record
from locksmith.lock.records.reboot import RebootRecord
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import ABSENT
from tests.builders.claims import NOW, claim
from tests.builders.queued_locks import lock, play, waiters


class Wire:
    """Notes the calls, and lets them through."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def carry(self, call):
        self.calls.append(call.name)
        assert len(self.calls) < 200, "a call that asks without end"
        await asyncio.sleep(0)
        return call.apply()


async def after(call) -> tuple[float, object]:
    """Give how long a call took, and its answer."""
    clock = asyncio.get_running_loop().time
    began = clock()
    answer = await call
    return clock() - began, answer


async def release(holder, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await holder.release(claim("n1"), fence_pending=False, why="done")


def test_a_call_gets_a_slot_that_becomes_free_while_it_waits():
    async def story(server):
        first, second = lock(server), lock(server)
        await first.take(claim("n1"))
        freed = asyncio.ensure_future(release(first, 2))
        seconds, answer = await after(second.take_soon(claim("n2"), 5))
        await freed
        assert isinstance(answer, Granted)
        assert 2 <= seconds < 2.1
        await first.close()
        await second.close()

    play(story)


@pytest.mark.parametrize("limit", [5.0, 0.0])
def test_a_call_waits_no_longer_than_its_limit_and_leaves_no_watch(limit):
    async def story(server):
        first, second = lock(server), lock(server, MemoryStore(server, Wire()))
        await asyncio.sleep(100)
        await first.take(claim("n1"))
        seconds, answer = await after(second.take_soon(claim("n2"), limit))
        assert isinstance(answer, Denied)
        assert answer.code == "slot"
        assert seconds == pytest.approx(limit)
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, "a watch goes on after the call"
        await first.close()
        await second.close()

    play(story)


def test_a_call_without_time_opens_no_watch():
    async def story(server):
        wire = Wire()
        first, second = lock(server), lock(server, MemoryStore(server, wire))
        await first.take(claim("n1"))
        assert isinstance(await second.take_soon(claim("n2"), 0), Denied)
        assert "wait" not in wire.calls
        await first.close()
        await second.close()

    play(story)


def test_a_claim_that_is_resumed_after_another_has_no_take_on_its_way():
    """Only the first claim of a program may have one, of an earlier run."""

    async def story(server):
        one = lock(server)
        one.resume(claim("n1"), None)
        assert one.is_undecided(claim("n1"))
        one.resume(claim("n1", nonce="next"), None)
        assert not one.is_undecided(claim("n1", nonce="next"))
        await one.close()

    play(story)


def test_only_the_first_call_after_a_resume_believes_that_the_claim_has_no_slot():
    async def story(server):
        wire = Wire()
        one = lock(server, MemoryStore(server, wire))
        one.resume(claim("n1"), None)
        assert isinstance(await one.take(claim("n1")), Granted)
        wire.calls.clear()
        assert isinstance(await one.take(claim("n1")), Granted)
        assert "enter" not in wire.calls
        await one.close()

    play(story)


def test_a_call_far_back_in_the_queue_does_not_wait():
    async def story(server):
        locks = [lock(server) for _ in range(KNOWN_FOR_A_SLOT + 2)]
        await locks[0].take(claim("n0"))
        waits = []
        for number, one in enumerate(locks[1:], 1):
            waits.append((await after(one.take_soon(claim(f"n{number}"), 1)))[0])
        assert waits == pytest.approx([1] * KNOWN_FOR_A_SLOT + [0])
        for one in locks:
            await one.close()

    play(story)


def test_of_two_slots_twice_as_many_calls_wait():
    async def story(server):
        holders = [lock(server) for _ in range(2)]
        await OperatorOrders(MemoryStore(server), "").admin.set_max(2)
        for number, one in enumerate(holders):
            await one.take(claim(f"h{number}"))
        locks = [lock(server) for _ in range(2 * KNOWN_FOR_A_SLOT + 1)]
        waits = [(await after(one.take_soon(claim(f"n{number}"), 1)))[0] for number, one in enumerate(locks)]
        assert waits == pytest.approx([1] * 2 * KNOWN_FOR_A_SLOT + [0])
        for one in (*holders, *locks):
            await one.close()

    play(story)


def test_a_call_whose_watch_fails_keeps_the_answer_that_it_had():
    class Blind(MemoryStore):
        waits = 0

        async def wait(self, *_args, **_more):
            self.waits += 1
            assert self.waits < 9, "a failed watch is no news"
            raise StoreUnavailableError("no endpoint answers")

    async def story(server):
        first, second = lock(server), lock(server, Blind(server))
        await first.take(claim("n1"))
        answer = await second.take_soon(claim("n2"), 5)
        assert isinstance(answer, Denied)
        assert answer.code == "slot"
        await first.close()
        await second.close()

    play(story)


def test_a_call_that_goes_on_has_the_place_of_the_one_before_it():
    async def story(server):
        first, second = lock(server), lock(server)
        await first.take(claim("n1"))
        await second.take(claim("n2"))
        ticket, place = second._queue.entries(claim("n2"))[::-1]
        wire = Wire()
        again = lock(server, MemoryStore(server, wire))
        again.resume(claim("n2"), (ticket, place))
        answer = await again.take(claim("n2"))
        assert isinstance(answer, Denied)
        assert wire.calls[:2] == ["renew", "range"], "the place is kept, and it is known that there is no slot"
        wire.calls.clear()
        await again.take(claim("n2"))
        assert wire.calls[0] == "read", "whether it has a slot by now is not known any more"
        for one in (first, second, again):
            await one.close()

    play(story)


def test_a_call_that_goes_on_without_a_place_gets_one():
    async def story(server):
        first = lock(server)
        await first.take(claim("n1"))
        wire = Wire()
        again = lock(server, MemoryStore(server, wire))
        again.resume(claim("n2"), None)
        assert isinstance(await again.take(claim("n2")), Denied)
        assert wire.calls[0] == "enter"
        await first.close()
        await again.close()

    play(story)


def test_a_machine_that_may_not_reboot_again_yet_leaves_the_queue_to_the_others():
    async def story(server):
        store, rules = MemoryStore(server), GroupRules(repeat=86400.0)
        one = QueuedLock(RebootLock(store, "", clock=lambda: NOW, rules=rules), Queue(store, ""))
        mine = claim("n1", version="1.0")
        await OperatorOrders(MemoryStore(server), "").admin.set_max(0)
        assert isinstance(await one.take(mine), Denied)
        assert waiters(server) == ["n1"]
        record = reboot_record.encode(RebootRecord("1.0", NOW, "another", "boot"))
        server.put(keys.reboot_key("", "n1"), record, ABSENT)
        await OperatorOrders(MemoryStore(server), "").admin.set_max(1)
        answer = await one.take(mine)
        assert isinstance(answer, Denied)
        assert (answer.code, waiters(server)) == ("repeated", [])
        await one.close()

    play(story)
