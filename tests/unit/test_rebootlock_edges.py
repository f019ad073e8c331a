"""The lock where claims of the same id meet, and where a slot expires: what belongs to another claim stays."""

import asyncio
from datetime import timedelta

import pytest

from locksmith import fleet, keys, semaphore
from locksmith.fleet import UNHEALTHY
from locksmith.halt import HaltAfter
from locksmith.history import EXPIRE
from locksmith.kv.memory import MemoryStore
from locksmith.rebootlock import RebootLock
from locksmith.semaphore import NotHeldError, Semaphore
from locksmith.shown import ChangedClaimError, Shown
from locksmith.standing import SlotsBusyError
from tests.harness.weather import LATE
from tests.unit.test_brakes import NOW, Group, scene
from tests.unit.test_brakes import claim as daemons
from tests.unit.test_lock_orders import lost
from tests.unit.test_rebootlock import Bench, both_manners, claim


def test_what_went_wrong_with_one_claim_is_not_written_into_the_record_of_the_next():
    async def story():
        bench = Bench()
        await bench.lock.take(claim("n1", nonce="2"))
        assert await bench.lock.blame(claim("n1", nonce="1"), UNHEALTHY, "sick") is None
        assert bench.record("n1") == claim("n1", nonce="2")

    asyncio.run(story())


def test_a_denied_take_leaves_the_record_of_another_claim_of_its_id_alone():
    """The take that wrote that record first, as on v2, may still be on its way."""

    async def story():
        bench = Bench()
        await bench.lock.take(claim("n2"))
        bench.put(fleet.encode(claim("n1", nonce="2")), keys.holder_key("", "n1"))
        with pytest.raises(SlotsBusyError):
            await bench.lock.take(claim("n1", nonce="1"))
        assert bench.record("n1") == claim("n1", nonce="2")

    asyncio.run(story())


def test_an_unlock_of_an_id_that_only_has_a_record_removes_none_that_can_be_read():
    async def story():
        bench = Bench()
        bench.put(fleet.encode(claim("n1")), keys.holder_key("", "n1"))
        with pytest.raises(NotHeldError):
            await bench.lock.unlock("n1")
        assert bench.record("n1") == claim("n1")

    asyncio.run(story())


def test_an_unlock_of_an_id_that_only_has_a_record_removes_one_that_cannot_be_read():
    async def story():
        bench = Bench()
        bench.put(b"rubbish", keys.holder_key("", "n1"))
        assert await bench.lock.unlock("n1") is None
        assert bench.record("n1") is None

    asyncio.run(story())


@both_manners
def test_an_unlock_that_was_refused_frees_nothing_later_though_the_machine_goes_again(stepwise):
    async def story():
        bench = Bench(stepwise=stepwise)
        await bench.lock.take(claim("n1"))
        shown = Shown(await bench.lock.look("n1"), absent=True)
        bench.script.fates = [LATE]
        node = keys.node_key("", "n1")
        bench.script.meanwhile = lambda: MemoryStore(bench.server).create(node, b"{}")
        with pytest.raises(ChangedClaimError, match="is present again"):
            await bench.lock.unlock("n1", shown)
        await MemoryStore(bench.server).delete(node, bench.server.read(node).version)
        assert bench.script.arrive_late() == ["too late"]
        assert bench.semaphore().holders == ("n1",)

    asyncio.run(story())


def test_a_refused_unlock_without_an_attempt_on_its_way_writes_nothing():
    async def story():
        bench = Bench()
        await bench.lock.take(claim("n1"))
        shown = Shown(await bench.lock.look("n1"), absent=True)
        await bench.store.create(keys.node_key("", "n1"), b"{}")
        before = bench.server.revision
        with pytest.raises(ChangedClaimError, match="is present again"):
            await bench.lock.unlock("n1", shown)
        assert bench.server.revision == before

    asyncio.run(story())


def test_a_slot_that_was_shown_with_its_machine_present_is_freed():
    async def story():
        bench = Bench()
        await bench.lock.take(claim("n1"))
        await bench.store.create(keys.node_key("", "n1"), b"{}")
        assert await bench.lock.unlock("n1", Shown(await bench.lock.look("n1"))) == claim("n1")
        assert bench.semaphore() == Semaphore(1)

    asyncio.run(story())


def test_a_memory_of_a_reboot_that_cannot_be_read_is_not_removed_with_the_slot():
    """It may forbid a second reboot for the same version; `locksmithctl recheck` is its way out."""

    async def story():
        bench = Bench()
        await bench.lock.take(claim("n1"))
        memory = keys.reboot_key("", "n1")
        bench.put(b"rubbish", memory)
        assert await bench.lock.give_back(claim("n1")) is not None
        assert bench.server.read(memory).entry is not None

    asyncio.run(story())


class Changed:
    """A store in which the record of n1 changes after the first read, without a write of the semaphore."""

    def __init__(self, store, change) -> None:
        self._store = store
        self._change = change

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def get(self, key):
        if key == keys.holder_key("", "n1") and self._change is not None:
            change, self._change = self._change, None
            await change(key, (await self._store.get(key)).version)
        return await self._store.get(key)


EXPIRES = {"halt_after": HaltAfter(5), "expire_after": 3600.0}


@pytest.mark.parametrize("change", ["removed", "unreadable"])
def test_a_slot_whose_record_changes_while_it_is_to_expire_stays(change):
    async def story(group):
        await lost(group, "n1")
        store = group.store()
        act = store.delete if change == "removed" else lambda key, version: store.swap(key, b"rubbish", version)
        lock = RebootLock(Changed(store, act), "", clock=lambda: NOW, rules=group.rules)
        with pytest.raises(SlotsBusyError):
            await lock.take(daemons("n2"))
        entry = group.server.read(lock.key).entry
        assert semaphore.decode(entry.value, lock.key).holders == ("n1",)

    scene(story, **EXPIRES)


def test_the_history_says_who_let_a_slot_expire_and_why():
    async def story(group: Group):
        await lost(group, "n1")
        await group.lock().take(daemons("n2"))
        [event] = await group.lock().history.read(9)
        assert (event.act, event.holder, event.who, event.detail) == (EXPIRE, "n1", "locksmithd", "its machine is lost")
        assert event.taken == NOW - timedelta(hours=3)

    scene(story, **EXPIRES)
