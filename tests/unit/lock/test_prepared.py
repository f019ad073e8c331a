"""A take that was prepared while no slot was free: one swap from what was read before, if all of it still stands so."""

import asyncio
import gc
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest

from locksmith.errors import StoreRefusedError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import GroupRules
from locksmith.lock.errors import DeniedError, HaltedError, NotAdmittedError
from locksmith.lock.prepared import LASTS, Prepared, PreparedBusyError
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import incident, keys, node, order, share
from locksmith.lock.records import reboot as reboot_record
from locksmith.lock.records.claim import UNHEALTHY
from locksmith.lock.records.incident import EXPIRED, Incident
from locksmith.lock.records.node import TTL, Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.reboot import RebootRecord
from locksmith.lock.records.share import Share
from locksmith.lock.take import CHECK_LATER
from locksmith.store.memory import Call, MemoryServer, MemoryStore
from locksmith.store.protocol import Change, Put
from tests.builders.claims import NOW, claim
from tests.harness.fault_script import StepwiseStore
from tests.sim.virtual_time import run

T = TypeVar("T")

WAITER = claim("n3", version="1.0")
KEY = keys.semaphore_key("")
ORDER = Order("alice", NOW, "the database moves", nonce="f1")


class Wire:
    """Counts the calls, and lets them through."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def carry(self, call: Call[T]) -> T:
        self.calls[call.name] += 1
        await asyncio.sleep(0)
        return call.apply()


class Scene:
    """n1 and n2 hold both slots, n3 has prepared its take; then n1 releases its slot."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.store = MemoryStore(self.server)
        self.wire = Wire()
        rules = GroupRules(repeat=600)
        self.now = NOW
        self.group = RebootLock(self.store, "", clock=lambda: self.now, rules=rules)
        self.refusal: StoreRefusedError | None = None
        self.checked: list[float] = []
        """When the other keyspace was checked."""
        store = MemoryStore(self.server, self.wire)
        self.lock = RebootLock(store, "", clock=lambda: self.now, rules=rules, guard=self._guard)

    async def prepared(self, present: Collection[str] = ("n1", "n2")) -> Prepared:
        await LockAdmin(self.group.guarded).set_max(2)
        for name in ("n1", "n2"):
            if name in present:
                shown = Node(name, name, "boot", "", "etcd-lock", "idle", NOW)
                await self.store.create(keys.node_key("", name), node.encode(shown), ttl=1e6)
            await self.group.take(claim(name))
        with pytest.raises(PreparedBusyError) as busy:
            await self.lock.take(WAITER)
        await asyncio.sleep(0)
        await self.group.release(claim("n1"))
        self.wire.calls.clear()
        return busy.value.prepared.after(await self.store.get(KEY))

    async def write(self, key: str, value: bytes) -> None:
        """Write a key without the semaphore, as the first half of an order does."""
        self.server.commit([Put(key, value, self.server.read(key).version)])

    async def _guard(self) -> None:
        self.checked.append(asyncio.get_running_loop().time())
        if self.refusal is not None:
            raise self.refusal


def play(story) -> None:
    async def main(_loop) -> None:
        await story(Scene())

    run(main)


def test_a_slot_that_is_freed_is_taken_in_one_request_and_reads_nothing():
    async def story(scene):
        await scene.lock.take(WAITER, prepared=await scene.prepared())
        assert scene.wire.calls == {"swap": 1}
        assert (await scene.group.read()).semaphore.holders == ("n2", "n3")

    play(story)


def test_the_other_keyspace_is_checked_while_a_prepared_swap_is_on_its_way():
    async def story(scene):
        began = asyncio.get_running_loop().time()
        prepared = await scene.prepared()
        await scene.lock.take(WAITER, prepared=prepared)
        assert scene.checked == [began, began + CHECK_LATER]

    play(story)


def test_a_refusal_of_the_other_keyspace_that_no_take_needs_any_more_is_no_error():
    """All slots are held, so the take has failed before the answer of the other keyspace; then the machine gives up."""

    async def story(scene):
        loop, errors = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _loop, context: errors.append(context["message"]))
        scene.refusal = StoreRefusedError("permission denied")
        await scene.prepared()
        gc.collect(1)  # what is young
        assert scene.checked
        assert errors == []

    play(story)


def test_who_asks_again_reads_the_holders_it_knows_together_with_the_semaphore():
    async def story(scene):
        await scene.prepared()
        await scene.lock.take(WAITER)
        assert scene.wire.calls == {"read": 1, "swap": 1}

    play(story)


def test_who_is_refused_leaves_no_check_of_the_other_keyspace_under_way():
    async def story(scene):
        ended = asyncio.Event()

        class Slow(Wire):
            async def carry(self, call: Call[T]) -> T:
                await asyncio.sleep(0.1)
                return await super().carry(call)

        async def endless() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        lock = RebootLock(MemoryStore(scene.server, Slow()), "", clock=lambda: NOW, guard=endless)
        await scene.write(*WRITES["freeze"])
        with pytest.raises(NotAdmittedError, match="frozen"):
            await lock.take(WAITER)
        async with asyncio.timeout(1):
            await ended.wait()

    play(story)


def test_one_that_is_lost_by_now_halts_a_prepared_take_too():
    """Nothing is written meanwhile: time alone makes one that has just got its slot one that has not come back."""

    async def story(scene):
        prepared = await scene.prepared(present=("n1",))
        scene.now += timedelta(seconds=TTL + 1)
        with pytest.raises(HaltedError, match="n2 is lost"):
            await scene.lock.take(WAITER, prepared=prepared)
        assert (await scene.group.read()).semaphore.holders == ("n2",)

    play(story)


LAST = RebootRecord.of(replace(WAITER, nonce="before", boot_id="an-earlier-boot"), NOW)
RECORD = claim_record.encode(replace(claim("n2"), state=UNHEALTHY, failure="web.service has failed"))
WRITES = {
    "freeze": (keys.freeze_key(""), order.encode(ORDER)),
    "hold": (keys.hold_key("", "n3"), order.encode(ORDER)),
    "spacing": (keys.spacing_key(""), order.encode(ORDER)),
    "incidents": (keys.incidents_key(""), incident.encode([Incident(claim("n9"), EXPIRED, "it was lost")])),
    "another's failure": (keys.holder_key("", "n2"), RECORD),
    "its own last reboot": (keys.reboot_key("", "n3"), reboot_record.encode(LAST)),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_holds_it_back_since_its_reading_is_seen(name):
    async def story(scene):
        prepared = await scene.prepared()
        await scene.write(*WRITES[name])
        with pytest.raises(DeniedError):
            await scene.lock.take(WAITER, prepared=prepared)
        assert scene.wire.calls["swap"] == 1, "the prepared swap was tried, and refused"
        assert (await scene.group.read()).semaphore.holders == ("n2",)

    play(story)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (keys.resume_key(""), order.encode(ORDER)),
        (keys.share_key(""), share.encode(Share("100%", (2,)))),
        (keys.holder_key("", "n3"), claim_record.encode(replace(WAITER, nonce="another"))),
    ],
)
def test_what_changed_and_holds_nothing_back_only_costs_a_fresh_look(key, value):
    async def story(scene):
        prepared = await scene.prepared()
        await scene.write(key, value)
        await scene.lock.take(WAITER, prepared=prepared)
        assert scene.wire.calls["read"] >= 1

    play(story)


def test_a_machine_that_went_missing_since_is_looked_for():
    async def story(scene):
        prepared = await scene.prepared()
        await scene.store.revoke(scene.server.read(keys.node_key("", "n2")).entry)
        await scene.lock.take(WAITER, prepared=prepared)
        assert scene.wire.calls["read"] >= 1

    play(story)


def test_a_semaphore_that_moved_once_more_is_read():
    async def story(scene):
        prepared = await scene.prepared()
        await LockAdmin(scene.group.guarded).fence()
        await scene.lock.take(WAITER, prepared=prepared)
        assert scene.wire.calls["read"] >= 1
        assert (await scene.group.read()).semaphore.holders == ("n2", "n3")

    play(story)


def test_one_that_has_left_with_its_slot_holds_nothing_back():
    """It was never seen present, and would count as lost by now."""

    async def story(scene):
        prepared = await scene.prepared(present=("n2",))
        scene.now += timedelta(seconds=TTL + 1)
        await scene.lock.take(WAITER, prepared=prepared)
        assert scene.wire.calls == {"swap": 1}

    play(story)


def test_a_record_of_another_claim_that_was_left_there_is_looked_at_again():
    async def story(scene):
        await scene.write(keys.holder_key("", "n3"), claim_record.encode(replace(WAITER, nonce="another")))
        await scene.lock.take(WAITER, prepared=await scene.prepared())
        assert scene.wire.calls["read"] >= 1
        assert (await scene.group.read()).semaphore.holders == ("n2", "n3")

    play(story)


def test_more_than_one_swap_can_check_is_read_again_and_not_granted_unseen(monkeypatch):
    monkeypatch.setattr("locksmith.lock.prepared.MOST_OPERATIONS", 1)

    async def story(scene):
        await scene.lock.take(WAITER, prepared=await scene.prepared())
        assert scene.wire.calls["read"] >= 1
        assert (await scene.group.read()).semaphore.holders == ("n2", "n3")

    play(story)


def test_a_slot_that_was_taken_so_is_released_without_a_reading_too():
    async def story(scene):
        await scene.lock.take(WAITER, prepared=await scene.prepared())
        await scene.lock.release(WAITER)
        assert scene.wire.calls["read"] == 0
        assert (await scene.group.read()).semaphore.holders == ("n2",)

    play(story)


@pytest.mark.parametrize("change", ["another claim", "another number of slots", "a new holder", "too old", "no look"])
def test_a_preparation_that_does_not_fit_is_not_used(change):
    async def story(scene):
        prepared = await scene.prepared()
        asked = WAITER
        if change == "another claim":
            asked = replace(asked, nonce="another")
        elif change == "another number of slots":
            await LockAdmin(scene.group.guarded).set_max(3)
        elif change == "a new holder":
            await LockAdmin(scene.group.guarded).set_max(4)
            await scene.group.take(claim("n4"))
            await LockAdmin(scene.group.guarded).set_max(3)
            prepared = replace(prepared, slots=3)
        elif change == "too old":
            await asyncio.sleep(LASTS)
        else:
            prepared = replace(prepared, looking=asyncio.get_running_loop().create_future())
        prepared = prepared.after(await scene.store.get(KEY))
        await scene.lock.take(asked, prepared=prepared)
        assert scene.wire.calls["read"] >= 1
        assert "n3" in (await scene.group.read()).semaphore.holders

    play(story)


def test_a_prepared_take_is_not_granted_while_the_other_keyspace_is_in_use():
    async def story(scene):
        prepared = await scene.prepared()
        scene.refusal = StoreRefusedError("the group is in use on v2")
        with pytest.raises(StoreRefusedError, match="in use on v2"):
            await scene.lock.take(WAITER, prepared=prepared)

    play(story)


def test_a_store_without_transactions_tells_nothing_that_a_take_could_start_from():
    async def story(scene):
        store = StepwiseStore(scene.server)
        written = await store.create("key", b"1")
        waiting = asyncio.create_task(store.wait("key", written.version, limit=5))
        await asyncio.sleep(1)
        await scene.write("key", b"2")
        assert await waiting == Change()

    play(story)
