"""The lock with the line before it: what a claim is told that has its slot already."""

import asyncio
from datetime import datetime, timedelta
from random import Random

import pytest

from locksmith.errors import CorruptValueError, StoreError, StoreUnavailableError
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import GroupRules
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.backoff import FIRST_PAUSE, JITTER, LONGEST_PAUSE
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.queue import CHECK_AFTER, Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import UNHEALTHY
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.lock.records.order import HALT, RESTORED, TAKE_FAILS, Order
from locksmith.lock.slot_wait import RETURN_DELAY
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.claims import NOW, claim
from tests.sim.virtual_time import run


class Stuck(Queue):
    """Cannot give its place up, as where the store's answer is lost each time."""

    def entries(self, _claim) -> tuple[()]:
        return ()

    async def leave(self, _claim) -> None:
        raise TimeoutError


def parts(store: MemoryStore, queue: type[Queue] = Queue) -> tuple[RebootLock, Queue]:
    return RebootLock(store, ""), queue(store, "")


def lock(server: MemoryServer, queue: type[Queue] = Queue) -> QueuedLock:
    return QueuedLock(*parts(MemoryStore(server), queue))


def test_a_machine_with_a_slot_that_is_still_queued_does_not_wait_for_itself():
    async def story(_loop):
        server = MemoryServer()
        holder, other = lock(server, Stuck), lock(server)
        assert await holder.take(claim("n2")) == Granted()
        assert isinstance(await other.take(claim("n3")), Denied)
        # Its place expires and comes back behind the other's, as after an outage.
        place = holder._queue._place
        assert place is not None
        await MemoryStore(server).revoke(place.entry)
        await holder._queue._enter(claim("n2"))
        assert await holder.take(claim("n2")) == Granted()

    run(story)


def test_a_slot_that_an_operator_has_freed_is_not_taken_again_by_the_same_claim():
    async def story(_loop):
        server = MemoryServer()
        holder = lock(server)
        await holder.take(claim("n1"))
        await LockAdmin(lock(server).lock.guarded).unlock("n1")
        answer = await holder.take(claim("n1"))
        assert isinstance(answer, Denied)
        assert (answer.code, answer.lost) == ("unlocked", True)
        # A restarted daemon knows by its journal that it had the slot.
        answer = await lock(server).take(claim("n1", taken=NOW))
        assert isinstance(answer, Denied)
        assert answer.lost
        assert (await holder.lock.read()).semaphore.holders == ()

    run(story)


class CutOff:
    """Let the answer to the first take stay away for ever, though it has won."""

    def __init__(self) -> None:
        self.cut = False

    async def carry(self, call):
        done = call.apply()
        if call.name == "swap" and not self.cut:
            self.cut = True
            await asyncio.Event().wait()
        return done


def test_a_take_that_was_cut_off_and_has_won_is_found_before_the_line():
    """Its place went with the take: behind the others it would wait for itself, as they do for it."""

    async def story(_loop):
        server = MemoryServer()
        holder, other = QueuedLock(*parts(MemoryStore(server, CutOff()))), lock(server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(200):
                await holder.take(claim("n2"))
        assert isinstance(await other.take(claim("n3")), Denied)
        assert await holder.take(claim("n2")) == Granted()

    run(story)


def test_a_take_of_an_earlier_run_that_comes_late_is_found_before_the_line_too():
    async def story(_loop):
        server = MemoryServer()
        holder = lock(server)
        for name in ("n3", "n4"):
            await lock(server).take(claim(name))
        answer = await holder.take(claim("n2"))
        assert isinstance(answer, Denied)
        assert answer.code == "queue"
        late = RebootLock(MemoryStore(server), "")
        await LockAdmin(late.guarded).set_max(2)
        await late.take(claim("n2"), holder._queue.entries(claim("n2")))
        await asyncio.sleep(CHECK_AFTER)
        assert await holder.take(claim("n2")) == Granted()

    run(story)


FAR = timedelta(seconds=LONGEST_PAUSE)


class Unreachable:
    """The look at the other keyspace of one machine: it fails while `away`."""

    def __init__(self) -> None:
        self.away = True
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.away:
            raise StoreUnavailableError("no etcd endpoint could be used: http://10.0.0.9:2379: no route to host")


class Ahead(SeenRevision):
    """A machine that has seen more of the store than that knows, until a `resume`."""

    def went_back(self, resumed: datetime | None) -> str:
        return "" if resumed else "the store knows less than this machine has seen of it"

    def keep(self) -> None: ...


def machine(server: MemoryServer, *, halt_after: HaltAfter = FIRST, **more) -> QueuedLock:
    store = MemoryStore(server)
    rules = GroupRules(halt_after=halt_after)
    one = RebootLock(store, "", rules=rules, clock=lambda: NOW, **more)
    return QueuedLock(one, Queue(store, "", halt_after=halt_after), rng=Random(1))


async def failing(lock: QueuedLock, name: str) -> Denied:
    """Ask, as the loop does every few seconds after an error, until the machine gives up for now."""
    for _ in range(10):
        try:
            answer = await lock.take(claim(name))
        except StoreError:
            await asyncio.sleep(5)
            continue
        assert isinstance(answer, Denied)
        return answer
    raise AssertionError("it keeps its place, however often it fails")


def test_a_first_whose_takes_fail_leaves_and_the_next_takes_the_slot():
    async def story(_loop):
        server = MemoryServer()
        first, second = machine(server, guard=Unreachable()), machine(server)
        with pytest.raises(StoreUnavailableError):
            await first.take(claim("n1"))
        answer = await second.take(claim("n2"))
        assert isinstance(answer, Denied)
        assert answer.code == "queue"
        answer = await failing(first, "n1")
        assert (answer.code, answer.queued) == (TAKE_FAILS, None)
        assert "10.0.0.9" in answer.text
        assert answer.until is not None
        assert NOW < answer.until <= NOW + FAR
        assert await second.changed(1)
        assert await second.take(claim("n2")) == Granted()

    run(story)


def test_a_machine_that_left_returns_tries_once_and_stays_away_for_longer():
    async def story(loop):
        server, guard = MemoryServer(), Unreachable()
        one = machine(server, guard=guard)
        pauses = []
        await failing(one, "n1")
        for _ in range(8):
            left, asked = loop.time(), guard.asked
            while guard.asked == asked:
                await one.changed(30)
                answer = await one.take(claim("n1"))
                assert isinstance(answer, Denied)
                assert answer.code == TAKE_FAILS
            pauses.append(loop.time() - left)
        assert FIRST_PAUSE * JITTER <= pauses[0] <= FIRST_PAUSE
        assert pauses[-1] >= LONGEST_PAUSE * JITTER
        assert max(pauses) <= LONGEST_PAUSE + CHECK_AFTER
        guard.away = False
        while not isinstance(await one.take(claim("n1")), Granted):
            await one.changed(30)

    run(story)


def test_while_the_store_is_away_for_everybody_the_first_keeps_its_place():
    async def story(_loop):
        server, faults = MemoryServer(), Away()
        guard = Unreachable()
        store = MemoryStore(server, faults)
        first = QueuedLock(RebootLock(store, "", guard=guard), Queue(store, ""))
        with pytest.raises(StoreUnavailableError):
            await first.take(claim("n1"))
        faults.away, guard.away = True, False
        for _ in range(10):
            with pytest.raises(StoreUnavailableError):
                await first.take(claim("n1"))
            await asyncio.sleep(5)
        faults.away = False
        assert await first.take(claim("n1")) == Granted()

    run(story)


class Away:
    """A store that nobody reaches while it is `away`."""

    def __init__(self) -> None:
        self.away = False

    async def carry(self, call):
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailableError("no endpoint answers")
        return call.apply()


def test_a_machine_that_knows_better_leaves_and_a_resume_brings_it_back_at_once():
    async def story(loop):
        server = MemoryServer()
        first, second = machine(server, mark=Ahead(Paths(), 3, ["memory"])), machine(server)
        answer = await first.take(claim("n1"))
        assert isinstance(answer, Denied)
        assert answer.code == RESTORED
        assert await second.take(claim("n2")) == Granted()
        await second.release(claim("n2"), fence_pending=False, why="rebooted")
        back = asyncio.ensure_future(first.changed(300))
        await asyncio.sleep(1)
        said = loop.time()
        await OperatorOrders(MemoryStore(server), "").resume(Order("alice", NOW))
        assert await back
        assert await first.take(claim("n1")) == Granted()
        assert loop.time() - said < 2 * RETURN_DELAY

    run(story)


async def halted(server: MemoryServer, slots: int = 3) -> None:
    """Leave one unhealthy machine in a group with that many slots."""
    sick = machine(server)
    await LockAdmin(sick.lock.guarded).set_max(slots)
    assert await sick.take(claim("sick")) == Granted()
    await sick.commit(claim("sick"))
    await sick.report_failure(claim("sick"), UNHEALTHY, "web.service has failed")
    store = MemoryStore(server)
    await store.create(keys.node_key("", "sick"), b"{}", ttl=900)


def test_a_machine_that_halts_sooner_than_others_in_the_queue_lets_them_pass():
    async def story(_loop):
        server = MemoryServer()
        await halted(server, slots=2)
        strict, loose = machine(server), machine(server, halt_after=HaltAfter(3))
        answer = await strict.take(claim("n1"))
        assert isinstance(answer, Denied)
        assert (answer.code, answer.until) == (HALT, None)
        answer = await loose.take(claim("n2"))
        assert isinstance(answer, Denied)
        assert answer.code == "queue"
        answer = await strict.take(claim("n1"))
        assert isinstance(answer, Denied)
        assert answer.code == HALT
        assert answer.until is not None
        assert await loose.changed(1)
        assert await loose.take(claim("n2")) == Granted()

    run(story)


def test_a_group_that_is_halted_for_all_keeps_its_order_and_wakes_at_the_resume():
    async def story(loop):
        server = MemoryServer()
        await halted(server)
        waiting = [machine(server) for _ in range(3)]
        for number, one in enumerate(waiting):
            assert isinstance(await one.take(claim(f"n{number}")), Denied)
        turns = [asyncio.ensure_future(one.changed(300)) for one in waiting]
        await asyncio.sleep(1)
        said = loop.time()
        await OperatorOrders(MemoryStore(server), "").resume(Order("alice", NOW))
        order = []
        for number, one in enumerate(waiting[:2]):
            assert await turns[number]
            while await one.take(claim(f"n{number}")) != Granted():
                assert await one.changed(1)
            order.append(number)
        assert order == [0, 1]
        assert loop.time() - said < 1
        turns[2].cancel()

    run(story)


def test_a_corrupt_own_record_sends_the_first_away_and_a_corrupt_semaphore_does_not():
    async def story(_loop):
        server = MemoryServer()
        store = MemoryStore(server)
        own, everybodys = machine(server), machine(server)
        await store.create(keys.hold_key("", "n1"), b"what?")
        for _ in range(2):
            with pytest.raises(CorruptValueError):
                await own.take(claim("n1"))
        answer = await own.take(claim("n1"))
        assert isinstance(answer, Denied)
        assert answer.code == TAKE_FAILS
        await store.create(keys.freeze_key(""), b"what?")
        for _ in range(10):
            with pytest.raises(CorruptValueError):
                await everybodys.take(claim("n2"))
        assert server.count(keys.waiters_prefix("")) == 1

    run(story)


def test_a_late_win_of_a_machine_that_left_the_queue_is_found():
    async def story(_loop):
        server = MemoryServer()
        guard = Unreachable()
        one = machine(server, guard=guard)
        await failing(one, "n1")
        await RebootLock(MemoryStore(server), "").take(claim("n1"))  # its write comes late
        assert one.is_undecided(claim("n1"))
        guard.away = False
        assert await one.take(claim("n1")) == Granted()

    run(story)


def test_a_machine_that_cannot_go_on_with_its_slot_gives_it_back():
    async def story(_loop):
        server, guard = MemoryServer(), Unreachable()
        one = machine(server, guard=guard)
        guard.away = False
        assert await one.take(claim("n1")) == Granted()
        guard.away = True
        answer = await failing(one, "n1")
        assert (answer.code, answer.must_release) == (TAKE_FAILS, True)

    run(story)


async def insist(one: QueuedLock, name: str) -> None:
    """Ask as the loop does: again, as soon as it is worth it."""
    while not isinstance(await one.take(claim(name)), Granted):
        assert await one.changed(1)


def test_several_free_slots_are_taken_by_as_many_at_the_front_and_no_more():
    """All of them are woken by the one write that frees the slots."""

    async def story(loop):
        server = MemoryServer()
        operator = RebootLock(MemoryStore(server), "", clock=lambda: NOW)
        holder, waiting = machine(server), [machine(server) for _ in range(6)]
        assert await holder.take(claim("n0")) == Granted()
        for number, one in enumerate(waiting, 1):
            assert isinstance(await one.take(claim(f"n{number}")), Denied)
        turns = [asyncio.ensure_future(one.changed(25)) for one in waiting]
        await asyncio.sleep(1)
        said = loop.time()
        await LockAdmin(operator.guarded).set_max(4)
        await asyncio.sleep(0.1)
        woken = [number for number, turn in enumerate(turns, 1) if turn.done()]
        assert woken == [1, 2, 3]
        await asyncio.gather(*(insist(one, f"n{number}") for number, one in enumerate(waiting[:3], 1)))
        assert loop.time() - said < 1
        assert (await operator.read()).semaphore.holders == ("n0", "n1", "n2", "n3")
        for turn in turns:
            turn.cancel()

    run(story)


def test_the_second_leaves_the_one_free_slot_to_the_first():
    async def story(_loop):
        server = MemoryServer()
        operator = RebootLock(MemoryStore(server), "", clock=lambda: NOW)
        holder, first, second = machine(server), machine(server), machine(server)
        await holder.take(claim("n0"))
        await first.take(claim("n1"))
        await second.take(claim("n2"))
        await LockAdmin(operator.guarded).set_max(2)
        answer = await second.take(claim("n2"))
        assert isinstance(answer, Denied)
        assert answer.code == "queue"
        assert await first.take(claim("n1")) == Granted()

    run(story)
