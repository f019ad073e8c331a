"""The lock with the line before it, in doubt: takes that were cut off, programs that restarted, places left over."""

import asyncio
import gc
from collections import Counter
from dataclasses import replace

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.lock.answer import Granted
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.pending_take import DOUBT
from locksmith.lock.queue import CHECK_AFTER, KEEP_AFTER, Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import MANUAL
from locksmith.lock.records.order import Order
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Change
from tests.builders.claims import NOW, claim
from tests.builders.queued_locks import HOUR, Metered, denied, lock, play, waiters, woken_after
from tests.sim.virtual_time import run

ORDER = Order("alice", NOW, "the database moves", nonce="f1")


class Wire:
    """Counts what is asked of the store; `cut`: the answer to the next take stays away for ever, though it has won."""

    def __init__(self, *, cut: bool = False) -> None:
        self.calls: Counter[str] = Counter()
        self.cut = cut

    async def carry(self, call):
        self.calls[call.name] += 1
        done = call.apply()
        if self.cut and call.name == "swap":
            self.cut = False
            await asyncio.Event().wait()
        return done


class CutOff(Wire):
    """`cut`: the answer to the next beat of a place stays away for ever, though it is written."""

    async def carry(self, call):
        done = call.apply()
        if self.cut and call.name == "rejoin":
            self.cut = False
            await asyncio.Event().wait()
        return done


class Left(Queue):
    """Does not know its place, as where that could not be given up with the slot; it can by itself."""

    def entries(self, _claim) -> tuple[()]:
        return ()


def orders(server: MemoryServer) -> OperatorOrders:
    return OperatorOrders(MemoryStore(server), "", clock=lambda: NOW)


def knows_the_queue(machine: QueuedLock) -> bool:
    return machine._queue._view is not None


def test_a_take_of_an_earlier_run_may_be_on_its_way_until_one_is_answered():
    async def story(server):
        holder, other, machine = lock(server), lock(server), lock(server)
        await holder.take(claim("n1"))
        await other.take(claim("n2"))
        assert (await denied(machine.take(claim("n3")))).code == "queue"
        assert machine.is_undecided(claim("n3"))
        await other.leave(claim("n2"))
        await woken_after(machine, HOUR)
        assert (await denied(machine.take(claim("n3")))).code == "slot"
        assert not machine.is_undecided(claim("n3"))
        await machine.close()

    play(story)


def test_a_later_claim_of_the_same_run_has_nothing_on_its_way():
    async def story(server):
        holder, other, machine = lock(server), lock(server), lock(server)
        await holder.take(claim("n1"))
        await other.take(claim("n2"))
        await machine.take(claim("n3"))
        await machine.leave(claim("n3"))
        later = claim("n3", nonce="later")
        assert (await denied(machine.take(later))).code == "queue"
        assert not machine.is_undecided(later)
        await machine.close()

    play(story)


@pytest.mark.parametrize("ran", [0.0, 5000.0], ids=["at the start", "after an hour"])
def test_a_take_that_was_cut_off_is_undecided_and_its_slot_is_found_before_the_line(ran):
    async def story(server):
        await asyncio.sleep(ran)
        wire = Wire(cut=True)
        machine = lock(server, MemoryStore(server, wire))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await machine.take(claim("n1"))
        assert machine.is_undecided(claim("n1"))
        wire.calls.clear()
        assert await machine.take(claim("n1")) == Granted()
        assert not wire.calls["enter"]
        assert not machine.is_undecided(claim("n1"))
        assert waiters(server) == []

    play(story)


def test_a_restarted_program_that_has_its_slot_finds_it_before_the_line():
    async def story(server):
        await lock(server).take(claim("n1"))
        wire = Wire()
        assert await lock(server, MemoryStore(server, wire)).take(claim("n1")) == Granted()
        assert not wire.calls["enter"]

    play(story)


def test_to_ask_again_in_the_middle_of_the_line_costs_nothing():
    async def story(server):
        holder, other, wire = lock(server), lock(server), Wire()
        machine = lock(server, MemoryStore(server, wire))
        await holder.take(claim("n1"))
        await other.take(claim("n2"))
        await machine.take(claim("n3"))
        wire.calls.clear()
        told = await denied(machine.take(claim("n3")))
        assert (told.queued and told.queued.position, told.queued and told.queued.waiters) == (2, 2)
        assert not wire.calls
        await machine.close()

    play(story)


def test_after_two_minutes_a_take_that_was_cut_off_costs_nothing_more():
    async def story(server):
        machine, wire = lock(server), Wire()
        await lock(server).take(claim("n1"))
        await lock(server).take(claim("n2"))
        machine = lock(server, MemoryStore(server, wire))
        await machine.take(claim("n3"))
        machine._pending.cut_off(asyncio.get_running_loop().time())
        wire.calls.clear()
        await machine.take(claim("n3"))
        assert wire.calls["read"] == 1
        machine._pending.cut_off(asyncio.get_running_loop().time() - DOUBT)
        wire.calls.clear()
        await machine.take(claim("n3"))
        assert not wire.calls["read"]
        await machine.close()

    play(story)


def test_the_first_in_line_is_told_its_place_while_all_slots_are_taken():
    async def story(server):
        machine = lock(server)
        await lock(server).take(claim("n1"))
        told = await denied(machine.take(claim("n2")))
        assert told.queued is not None
        assert (told.queued.position, told.queued.waiters) == (1, 1)
        await machine.close()

    play(story)


def test_who_cannot_have_a_slot_any_more_leaves_the_line_to_the_others():
    async def story(server):
        machine = lock(server)
        await lock(server).take(claim("n1"))
        await machine.take(claim("n2"))
        machine._pending.cut_off(0.0)
        await orders(server).admin.set_max(2)
        await RebootLock(MemoryStore(server), "").take(claim("n2", nonce="by hand", kind=MANUAL))
        assert (await denied(machine.take(claim("n2")))).code == "other_claim"
        assert waiters(server) == []
        assert not machine.is_undecided(claim("n2"))
        await machine.close()

    play(story)


def test_a_machine_that_is_held_back_leaves_the_line_to_the_others():
    async def story(server):
        machine = lock(server)
        await orders(server).hold("n1", ORDER)
        told = await denied(machine.take(claim("n1")))
        assert (told.code, told.must_release) == ("hold", False)
        assert waiters(server) == []
        await machine.close()

    play(story)


def test_where_nothing_is_heard_of_a_freeze_everything_is_looked_at_again():
    async def story(server):
        machine = lock(server)
        await orders(server).freeze(ORDER)
        await machine.take(claim("n1"))
        assert knows_the_queue(machine)
        assert await woken_after(machine, HOUR) == pytest.approx(CHECK_AFTER)
        assert not knows_the_queue(machine)
        await machine.close()

    play(story)


def test_a_thaw_leaves_what_is_known_of_the_line_as_it_is():
    async def story(server):
        machine = lock(server)
        await orders(server).freeze(ORDER)
        await machine.take(claim("n1"))
        asking = asyncio.ensure_future(woken_after(machine, HOUR))
        await asyncio.sleep(7)
        await orders(server).thaw()
        assert await asking == pytest.approx(7)
        assert knows_the_queue(machine)
        await machine.close()

    play(story)


def test_a_place_that_did_not_go_with_the_take_is_given_up_behind_it():
    async def story(server):
        store = MemoryStore(server)
        machine = QueuedLock(RebootLock(store, ""), Left(store, ""))
        assert await machine.take(claim("n1")) == Granted()
        assert waiters(server) == []

    play(story)


def test_who_keeps_its_slot_gives_up_a_place_that_is_left():
    async def story(server):
        machine = lock(server)
        await machine.take(claim("n1"))
        await machine._queue.stand(claim("n1"))
        assert await machine.take(claim("n1")) == Granted()
        assert waiters(server) == []

    play(story)


def test_who_keeps_its_slot_asks_nothing_of_a_line_that_it_does_not_stand_in():
    async def story(server):
        wire = Wire()
        machine = lock(server, MemoryStore(server, wire))
        await machine.take(claim("n1"))
        wire.calls.clear()
        await machine.take(claim("n1"))
        assert set(wire.calls) == {"read"}

    play(story)


def test_who_has_its_slot_counts_as_no_waiter_any_more():
    async def story(server):
        meter = Metered()
        await lock(server, meter=meter).take(claim("n1"))
        assert meter.lines == [(1, 1), (0, 0)]

    play(story)


def test_who_leaves_the_line_watches_nothing_any_more():
    async def story(server):
        holder, machine = lock(server), lock(server)
        await holder.take(claim("n1"))
        await machine.take(claim("n2"))
        assert await woken_after(machine, 1) is None
        await machine.leave(claim("n2"))
        await asyncio.sleep(0)

    play(story)


def test_another_claim_watches_nothing_of_the_one_before():
    async def story(server):
        holder, machine = lock(server), lock(server)
        await holder.take(claim("n1"))
        await machine.take(claim("n2"))
        assert await woken_after(machine, 1) is None
        await orders(server).admin.set_max(2)
        later = replace(claim("n2"), nonce="later")
        await lock(server).lock.take(later)
        assert await machine.take(later) == Granted()
        await asyncio.sleep(0)
        assert waiters(server) == ["n2"]  # of the claim before: it expires

    play(story)


def test_what_is_waited_for_changes_with_the_answer():
    async def story(server):
        holder, first, machine = lock(server), lock(server), lock(server)
        await holder.take(claim("n1"))
        await first.take(claim("n2"))
        await machine.take(claim("n3"))
        assert await woken_after(machine, 1) is None
        await orders(server).hold("n3", ORDER)
        await first.leave(claim("n2"))
        await asyncio.sleep(1)
        machine._queue.look_again()
        await machine.take(claim("n3"))
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1  # this one: the watch of the line is over
        await machine.close()

    play(story)


@pytest.mark.slow
def test_an_error_of_a_watch_that_is_not_asked_for_any_more_goes_unsaid():
    said: list[object] = []

    async def main(loop) -> None:
        class Broken(MemoryStore):
            async def wait(self, *_: object, **__: object) -> Change | None:
                await asyncio.sleep(5)
                raise StoreUnavailableError("no endpoint answers")

        loop.set_exception_handler(lambda _loop, context: said.append(context))
        server = MemoryServer()
        machine = lock(server, Broken(server))
        await lock(server).take(claim("n1"))
        await machine.take(claim("n2"))
        assert await woken_after(machine, 1) is None
        await asyncio.sleep(10)
        await machine.close()
        del machine
        gc.collect()

    run(main)
    gc.collect()
    assert said == []


def test_a_place_in_line_belongs_to_one_claim():
    async def story(server):
        queue = Queue(MemoryStore(server), "")
        await queue.stand(claim("n1"))
        assert queue.place(claim("n1")) is not None
        assert queue.place(claim("n2")) is None
        assert server.list(keys.waiters_prefix(""), 0, None).total == 1

    play(story)


def test_a_later_claim_whose_take_was_cut_off_is_undecided_too():
    """A withdrawal that did not settle it would leave a slot taken that no machine uses."""

    async def story(server):
        wire = Wire()
        machine = lock(server, MemoryStore(server, wire))
        await machine.take(claim("n1"))
        await machine.release(claim("n1"), fence_pending=False, why="")
        wire.cut = True
        later = claim("n1", nonce="later")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await machine.take(later)
        assert machine.is_undecided(later)
        await machine.release(later, fence_pending=True, why="")
        assert (await machine.lock.read()).semaphore.holders == ()

    play(story)


def test_a_place_whose_beat_was_cut_off_is_given_up_by_who_stops():
    async def story(server):
        wire = CutOff()
        holder, first = lock(server), lock(server, MemoryStore(server, wire))
        await holder.take(claim("n1"))
        assert (await denied(first.take(claim("n2")))).code == "slot"
        await asyncio.sleep(KEEP_AFTER)
        wire.cut = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await first.take(claim("n2"))
        assert not wire.cut
        await first.close()
        assert waiters(server) == []

    play(story)
