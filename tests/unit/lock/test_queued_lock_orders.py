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
from locksmith.lock.records.claim import FLEETLOCK, SERVER
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
