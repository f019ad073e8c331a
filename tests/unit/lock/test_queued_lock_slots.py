"""What a machine in the queue asks of the store when a slot or a place becomes free."""

import asyncio
from dataclasses import replace

import pytest

from locksmith.lock.answer import Denied, Granted
from locksmith.lock.errors import NotAdmittedError
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.own_claim import Known
from locksmith.lock.queue import Queue
from locksmith.lock.queue_sight import KNOWN
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMITTED
from locksmith.lock.records.order import Order
from locksmith.store.memory import MemoryStore
from tests.builders.claims import NOW, claim
from tests.builders.queued_locks import Metered, denied, lock, play
from tests.harness.fault_script import StepwiseStore


class Wire:
    """Notes the calls, and lets them through."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def carry(self, call):
        self.calls.append(call.name)
        await asyncio.sleep(0)
        return call.apply()


async def waits_for(one, act) -> None:
    """Do something while a machine waits, and see that this wakes it soon."""
    waiting = asyncio.ensure_future(one.changed(20))
    await asyncio.sleep(1)
    assert not waiting.done()
    await act()
    clock = asyncio.get_running_loop().time
    began = clock()
    assert await waiting
    assert clock() - began < 1


def others() -> int:
    return len(asyncio.all_tasks()) - 1


def test_the_first_takes_a_freed_slot_with_what_it_has_read_before():
    async def story(server):
        wire = Wire()
        first, second = lock(server), lock(server, MemoryStore(server, wire))
        await first.take(claim("n1"))
        assert isinstance(await second.take(claim("n2")), Denied)
        await waits_for(second, lambda: first.release(claim("n1"), fence_pending=False, why="done"))
        wire.calls.clear()
        assert isinstance(await second.take(claim("n2")), Granted)
        assert [call for call in wire.calls if call != "wait"] == ["swap"]
        wire.calls.clear()
        assert isinstance(await second.commit(claim("n2")), Granted)
        assert wire.calls == ["read", "swap"]
        await first.close()
        await second.close()

    play(story)


async def idle_places(server, number: int) -> list[Queue]:
    """Let so many machines stand in the queue that ask for nothing."""
    queues = [Queue(MemoryStore(server), "") for _ in range(number)]
    for one, queue in enumerate(queues):
        await queue.stand(claim(f"idle{one}"))
    return queues


@pytest.mark.parametrize(("slots", "granted"), [(1, False), (2, True), (3, True)])
def test_the_second_takes_a_slot_if_there_is_one_for_the_first_too(slots, granted):
    async def story(server):
        await OperatorOrders(MemoryStore(server), "").admin.set_max(slots)
        await idle_places(server, 1)
        one = lock(server)
        assert isinstance(await one.take(claim("n2")), Granted) == granted
        await one.close()

    play(story)


def test_one_of_several_is_woken_by_a_slot_for_each_and_reads_nothing_again():
    async def story(server):
        admin = OperatorOrders(MemoryStore(server), "").admin
        await admin.set_max(2)
        await idle_places(server, 2)
        wire = Wire()
        one = lock(server, MemoryStore(server, wire))
        assert isinstance(await one.take(claim("n3")), Denied)
        await waits_for(one, lambda: admin.set_max(3))
        wire.calls.clear()
        assert isinstance(await one.take(claim("n3")), Granted)
        assert "get" not in wire.calls
        assert "range" not in wire.calls
        await one.close()

    play(story)


def test_the_next_is_woken_by_one_who_goes_and_does_not_read_the_queue():
    async def story(server):
        await OperatorOrders(MemoryStore(server), "").admin.set_max(0)
        idle = await idle_places(server, 2)
        wire = Wire()
        one = lock(server, MemoryStore(server, wire))
        assert isinstance(await one.take(claim("n3")), Denied)
        await waits_for(one, lambda: idle[1].leave(claim("idle1")))
        wire.calls.clear()
        answer = await one.take(claim("n3"))
        assert isinstance(answer, Denied)
        assert answer.queued is not None
        assert (answer.queued.position, answer.queued.predecessor) == (2, "idle0")
        assert "range" not in wire.calls
        await one.close()

    play(story)


@pytest.mark.parametrize("end", ["rest", "release", "another claim", "leave"])
def test_who_waits_no_more_watches_nothing(end):
    async def story(server):
        first, second = lock(server), lock(server)
        await first.take(claim("n1"))
        await second.take(claim("n2"))
        assert not await second.changed(1)
        assert others() > 0
        if end == "rest":
            second.rest()
        elif end == "release":
            await second.release(claim("n2"), fence_pending=False, why="done")
        elif end == "leave":
            await second.leave(claim("n2"))
        else:
            second._follow(claim("n2", nonce="another"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert others() == 0
        await first.close()
        await second.close()

    play(story)


@pytest.mark.parametrize(
    ("state", "takes", "held"), [("held", False, False), ("held", True, True), (COMMITTED, False, True)]
)
def test_a_release_says_whether_there_is_a_slot_and_which_places_are_its_own(state, takes, held):
    async def story(server):
        said: list[dict[str, object]] = []
        one = lock(server)
        if takes:
            await one.take(claim("n1"))
        hand_over = one.lock.hand_over

        async def noted(of, **more):
            said.append(more)
            return await hand_over(of, **more)

        one.lock.hand_over = noted  # type: ignore[method-assign, assignment]
        mine = replace(claim("n1"), state=state)
        await one.release(mine, fence_pending=False, why="done")
        await one.release(mine, fence_pending=True, why="again", rebooted=True)
        places = one._queue.keys(mine)
        assert said == [
            {"fence_pending": False, "why": "done", "rebooted": False, "places": places, "held": held},
            {"fence_pending": True, "why": "again", "rebooted": True, "places": places, "held": held},
        ]
        await one.close()

    play(story)


class Outrun(MemoryStore):
    """Lets another machine take a slot without the queue, once, right after the semaphore was read alone."""

    outrun = True

    async def get(self, key):
        reading = await super().get(key)
        if key == keys.semaphore_key("") and self.outrun:
            self.outrun = False
            await RebootLock(MemoryStore(self._server), "").take(claim("n9"))
        return reading


def test_a_slot_that_others_need_too_is_not_taken_and_not_asked_for_again():
    """The second has seen two free slots, one of which is gone by now: what is left is for the first."""

    async def story(server):
        await OperatorOrders(MemoryStore(server), "").admin.set_max(2)
        await idle_places(server, 1)
        wire = Wire()
        one = lock(server, Outrun(server, wire))
        one._back_off.failed("", "", 0.0, began=0.0)
        assert (await denied(one.take(claim("n2")))).code == "queue"
        assert one._back_off._failing is None, "the store has answered"
        wire.calls.clear()
        assert (await denied(one.take(claim("n2")))).code == "queue"
        assert wire.calls == []
        await one.close()

    play(story)


def test_a_store_that_tells_no_value_with_a_change_wakes_those_who_wait_too():
    """As etcd v2: nothing can be prepared there, and what changed has to be read."""

    async def story(server):
        admin = OperatorOrders(MemoryStore(server), "").admin
        first, second, third = (lock(server, StepwiseStore(server)) for _ in range(3))
        await first.take(claim("n1"))
        assert (await denied(second.take(claim("n2")))).code == "slot"
        assert (await denied(third.take(claim("n3")))).code == "queue"
        await waits_for(third, lambda: admin.set_max(3))
        assert isinstance(await third.take(claim("n3")), Granted)
        assert isinstance(await second.take(claim("n2")), Granted)
        for one in (first, second, third):
            await one.close()

    play(story)


def test_one_far_back_waits_without_a_look_at_the_semaphore():
    async def story(server):
        await OperatorOrders(MemoryStore(server), "").admin.set_max(1)
        await idle_places(server, 1 + KNOWN)
        one = lock(server)
        answer = await denied(one.take(claim("far")))
        assert answer.queued is not None
        assert not answer.queued.exact
        assert not await one.changed(1)
        await one.close()

    play(story)


def test_one_who_leaves_the_queue_for_another_claim_of_its_id_is_counted_no_longer():
    async def story(server):
        meter = Metered()
        first, second = lock(server), lock(server, meter=meter)
        await first.take(claim("n1"))
        await second.take(claim("n2"))
        assert meter.lines[-1] == (1, 1)
        await first.release(claim("n1"), fence_pending=False, why="done")
        await RebootLock(MemoryStore(server), "").take(claim("n2", nonce="another"))
        await denied(second.take(claim("n2")))
        assert meter.lines[-1] == (0, 0)
        await first.close()
        await second.close()

    play(story)


def test_a_commit_reads_the_other_holders_with_its_own_keys():
    async def story(server):
        await OperatorOrders(MemoryStore(server), "").admin.set_max(2)
        wire = Wire()
        other, one = lock(server), lock(server, MemoryStore(server, wire))
        await other.take(claim("n1"))
        await one.take(claim("n2"))
        wire.calls.clear()
        assert isinstance(await one.commit(claim("n2")), Granted)
        assert wire.calls == ["read", "swap"]
        await other.close()
        await one.close()

    play(story)


def test_a_release_starts_from_what_another_call_has_read_of_the_claim():
    async def story(server):
        wire = Wire()
        one, later = lock(server).lock, lock(server, MemoryStore(server, wire)).lock
        await one.take(claim("n1"))
        state = await later.guarded.holder_state("n1")
        later.recall(Known(state, await MemoryStore(server).get(keys.reboot_key("", "n1"))))
        wire.calls.clear()
        assert await later.release(claim("n1")) is not None
        assert "read" not in wire.calls

    play(story)


def test_a_machine_that_an_operator_holds_back_is_refused_without_a_take():
    async def story(server):
        one = lock(server).lock
        await one.refuse_hold(claim("n1"))
        await OperatorOrders(MemoryStore(server), "").hold("n1", Order("alice", NOW, "the disk is swapped", nonce="h1"))
        with pytest.raises(NotAdmittedError, match="held back by alice") as refused:
            await one.refuse_hold(claim("n1"))
        assert not refused.value.held
        await one.refuse_hold(claim("n2"))

    play(story)
