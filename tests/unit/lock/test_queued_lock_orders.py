"""The lock with the line before it, under orders: who has to give its slot back, and who only waits."""

import asyncio

import pytest

from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import GroupRules
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.queue import CHECK_AFTER, Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import FLEETLOCK, SERVER, UNHEALTHY
from locksmith.lock.records.incident import HaltAfter
from locksmith.lock.records.node import Node, encode
from locksmith.lock.records.order import Order
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.claims import NOW, claim
from tests.sim.virtual_time import run


def lock(server: MemoryServer, spacing: float = 0.0) -> QueuedLock:
    rules = GroupRules(spacing=spacing)
    reboot_lock = RebootLock(MemoryStore(server), "", clock=lambda: NOW, rules=rules)
    return QueuedLock(reboot_lock, Queue(MemoryStore(server), ""))


async def freeze(server: MemoryServer) -> None:
    orders = OperatorOrders(MemoryStore(server), "", clock=lambda: NOW)
    await orders.freeze(Order("alice", NOW, "the database moves", nonce="f1"))


async def refused(answer) -> Denied:
    denied = await answer
    assert isinstance(denied, Denied)
    return denied


def test_a_freeze_has_who_holds_a_slot_give_it_back():
    async def story(_loop):
        server = MemoryServer()
        holder = lock(server)
        assert await holder.take(claim("n1")) == Granted()
        await freeze(server)
        for denied in (await refused(holder.take(claim("n1"))), await refused(holder.commit(claim("n1")))):
            assert (denied.code, denied.must_release) == ("freeze", True)

    run(story)


def test_a_freeze_leaves_who_holds_nothing_waiting_in_line():
    async def story(_loop):
        server = MemoryServer()
        await freeze(server)
        waiting = lock(server)
        denied = await refused(waiting.take(claim("n1")))
        assert (denied.code, denied.must_release) == ("freeze", False)
        assert server.list(keys.waiters_prefix(""), 0, None).entries

    run(story)


@pytest.mark.parametrize("holds", [True, False], ids=["with a slot", "without a slot"])
def test_the_pause_after_a_reboot_calls_nothing_off(holds):
    """It ends by itself: who has a slot keeps that meanwhile, drained as it is."""

    async def story(_loop):
        server = MemoryServer()
        await LockAdmin(lock(server).lock.guarded).set_max(3)
        shown = Node("n1", "n1", "boot", "", "etcd-lock", "idle", NOW)
        await MemoryStore(server).create(keys.node_key("", "n1"), encode(shown))
        first, second = lock(server, 600.0), lock(server, 600.0)
        assert await first.take(claim("n1")) == Granted()
        if holds:
            assert await second.take(claim("n2")) == Granted()
        assert await first.commit(claim("n1")) == Granted()
        denied = await refused(second.commit(claim("n2")) if holds else second.take(claim("n2")))
        assert (denied.code, denied.must_release) == ("spacing", False)

    run(story)


def test_who_waits_for_the_end_of_a_freeze_is_woken_by_the_thaw():
    async def story(_loop):
        server = MemoryServer()
        await freeze(server)
        waiting = lock(server)
        await waiting.take(claim("n1"))
        woken = asyncio.ensure_future(waiting.changed(CHECK_AFTER))
        await asyncio.sleep(1)
        assert not woken.done()
        await OperatorOrders(MemoryStore(server), "", clock=lambda: NOW).thaw()
        await asyncio.sleep(1)
        assert woken.done()
        assert await woken
        assert await waiting.take(claim("n1")) == Granted()

    run(story)


def test_a_client_and_a_daemon_of_one_id_have_places_of_their_own_and_one_slot():
    async def story(_loop):
        server = MemoryServer()
        client = claim("n1", kind=FLEETLOCK, who=SERVER, nonce="of-the-client")
        holder, machine, server_side = lock(server), lock(server), lock(server)
        assert await holder.take(claim("n0")) == Granted()
        for one, own in ((machine, claim("n1")), (server_side, client), (machine, claim("n1"))):
            assert (await refused(one.take(own))).code in {"slot", "queue"}
        assert server.count(keys.waiters_prefix("")) == 2
        await holder.release(claim("n0"), fence_pending=False, why="")
        assert await machine.take(claim("n1")) == Granted()
        denied = await refused(lock(server).take(client))
        assert (denied.code, "held by n1 for its reboot" in denied.text) == ("other_claim", True)
        assert server.count(keys.waiters_prefix("")) == 0

    run(story)


def test_a_machine_that_a_failure_halts_alone_comes_back_with_the_resume():
    """Its own `halt.after` is less than that of another in the queue, for whom it must not stand in the way."""

    async def story(_loop):
        server = MemoryServer()
        store = MemoryStore(server)
        await LockAdmin(lock(server).lock.guarded).set_max(2)
        await RebootLock(store, "", clock=lambda: NOW).take(claim("n0"))
        await RebootLock(store, "", clock=lambda: NOW).report_failure(claim("n0"), UNHEALTHY, "x.service has failed")
        waiting = lock(server)
        await waiting._queue.stand(claim("n1"))
        await Queue(store, "", halt_after=HaltAfter(5)).stand(claim("n2"))
        assert (await refused(waiting.take(claim("n1")))).code == "halt"
        assert waiting._absence is not None
        assert waiting._absence.key == keys.resume_key("")
        waiting.rest()

    run(story)


def test_after_a_denial_a_take_that_was_sent_before_it_may_still_win():
    async def story(_loop):
        server = MemoryServer()
        machine, next_claim = lock(server), claim("n1", nonce="next")
        await machine.take(claim("n1"))
        await machine.release(claim("n1"), fence_pending=False, why="done")
        await freeze(server)
        machine._back_off.failed("", "", 0.0, began=0.0)
        assert (await refused(machine.take(next_claim))).code == "freeze"
        assert machine.is_undecided(next_claim)
        assert machine._back_off._failing is None, "the store has answered"
        machine.rest()

    run(story)


def test_a_slot_that_is_held_counts_as_an_answer_too():
    async def story(_loop):
        server = MemoryServer()
        await lock(server).take(claim("n0"))
        machine = lock(server)
        machine._back_off.failed("", "", 0.0, began=0.0)
        assert (await refused(machine.take(claim("n1")))).code == "slot"
        assert machine._back_off._failing is None
        machine.rest()

    run(story)
