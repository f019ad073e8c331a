"""The lock where claims of the same id meet, and where a slot expires: what belongs to another claim stays."""

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from locksmith.errors import CorruptValueError, OlderJournalError, OutcomeUnknownError, StoreUnavailableError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.errors import (
    ChangedClaimError,
    NotAdmittedError,
    OtherClaimError,
    OtherServerError,
    RepeatedError,
    SlotsBusyError,
)
from locksmith.lock.guarded import Guarded
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import COMMITTED, HOOKS_DONE, HOOKS_UNDONE, MANUAL, UNHEALTHY
from locksmith.lock.records.event import EXPIRE
from locksmith.lock.records.incident import HaltAfter
from locksmith.lock.records.semaphore import NotHeldError, Semaphore
from locksmith.lock.shown_holder import ShownHolder
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.meter import Meter
from locksmith.store.protocol import Change
from tests.builders.claims import NOW
from tests.builders.claims import claim as daemons
from tests.builders.groups import Group, lost, scene
from tests.builders.locks import Bench, Moved, both_manners, claim
from tests.harness.fault_script import ARRIVES, LATE, NEVER_SENT, FaultScript


async def test_what_went_wrong_with_one_claim_is_not_written_into_the_record_of_the_next():
    bench = Bench()
    await bench.lock.take(claim("n1", nonce="2"))
    assert await bench.lock.report_failure(claim("n1", nonce="1"), UNHEALTHY, "sick") is None
    assert bench.record("n1") == claim("n1", nonce="2")


async def test_who_does_not_know_how_far_its_hooks_are_by_now_passes_no_point_of_no_return():
    """Two servers drain one client. The first has undone its hooks: what the second knows is no longer so."""
    bench = Bench()
    await bench.lock.take(claim("n1"))
    await bench.lock.note_hooks(claim("n1"), HOOKS_DONE)
    await bench.lock.note_hooks(claim("n1"), HOOKS_UNDONE)
    with pytest.raises(OtherServerError, match="the hooks of n1 ran, or run, on another server"):
        await bench.lock.commit(replace(claim("n1"), hooks=HOOKS_DONE))
    known = bench.record("n1")
    assert known == replace(claim("n1"), hooks=HOOKS_UNDONE)
    await bench.lock.commit(known)
    assert bench.record("n1") == known.committed()


async def test_another_claim_of_the_same_id_past_its_commit_makes_no_journal_too_old():
    bench = Bench()
    await bench.lock.take(claim("n1", nonce="2"))
    await bench.lock.commit(claim("n1", nonce="2"))
    assert await bench.calm.release(claim("n1", nonce="1")) is None
    assert bench.record("n1") == claim("n1", nonce="2").committed()
    assert bench.semaphore().holders == ("n1",)


async def test_a_lock_that_was_never_seen_has_one_slot_and_then_as_many_as_were_seen():
    bench = Bench()
    assert bench.lock.slots == 1
    await bench.admin.set_max(3)
    await bench.lock.check(claim("n1"))
    assert bench.lock.slots == 3


async def test_after_a_lost_race_a_lock_counts_it_draws_a_pause_and_takes_another_turn():
    drawn, races, turns = [], [], []

    class Drawn(Random):
        def uniform(self, a, b):
            drawn.append(b)
            return a

    class Counted(Meter):
        def lost_race(self):
            races.append(1)

    @asynccontextmanager
    async def turn():
        turns.append(1)
        yield

    bench = Bench()
    store = Moved(bench.store, lambda: bench.admin.set_max(2))
    await RebootLock(store, "", rng=Drawn(), meter=Counted(), turn=turn).take(claim("n1"))
    assert (len(races), len(drawn), len(turns)) == (1, 1, 2)
    assert bench.semaphore() == Semaphore(2, ("n1",))


async def test_a_denied_take_leaves_the_record_of_another_claim_of_its_id_alone():
    """The take that wrote that record first, as on v2, may still be on its way."""

    bench = Bench()
    await bench.lock.take(claim("n2"))
    bench.put(claim_record.encode(claim("n1", nonce="2")), keys.holder_key("", "n1"))
    with pytest.raises(SlotsBusyError):
        await bench.lock.take(claim("n1", nonce="1"))
    assert bench.record("n1") == claim("n1", nonce="2")


async def test_a_take_over_the_record_of_another_claim_keeps_its_take_from_winning_later():
    """On v2 the record is written before the semaphore, so a take that is on its way leaves its record first."""
    bench = Bench(ARRIVES, LATE, stepwise=True, limit=0)
    with pytest.raises(OutcomeUnknownError):
        await bench.lock.take(claim("n1", nonce="1"))
    bench.script.fates = [ARRIVES, ARRIVES, NEVER_SENT]  # of the fence, of the record, and of the semaphore
    with pytest.raises(StoreUnavailableError):
        await bench.lock.take(claim("n1", nonce="2"))
    assert bench.record("n1") == claim("n1", nonce="2")
    assert bench.script.arrive_late() == ["too late"]
    assert bench.semaphore().holders == ()


async def test_an_unlock_of_an_id_that_only_has_a_record_removes_none_that_can_be_read():
    bench = Bench()
    bench.put(claim_record.encode(claim("n1")), keys.holder_key("", "n1"))
    with pytest.raises(NotHeldError):
        await bench.admin.unlock("n1")
    assert bench.record("n1") == claim("n1")


async def test_an_unlock_of_an_id_that_only_has_a_record_removes_one_that_cannot_be_read():
    bench = Bench()
    bench.put(b"rubbish", keys.holder_key("", "n1"))
    assert await bench.admin.unlock("n1") is None
    assert bench.record("n1") is None


@both_manners
async def test_a_refused_unlock_frees_nothing_later_even_if_the_machine_goes_again(stepwise):
    bench = Bench(stepwise=stepwise)
    await bench.lock.take(claim("n1"))
    shown = ShownHolder(await bench.admin.inspect("n1"), absent=True)
    bench.script.fates = [LATE]
    node = keys.node_key("", "n1")
    bench.script.meanwhile = lambda: MemoryStore(bench.server).create(node, b"{}")
    with pytest.raises(ChangedClaimError, match="is present again"):
        await bench.admin.unlock("n1", shown)
    await MemoryStore(bench.server).delete(node, bench.server.read(node).version)
    assert bench.script.arrive_late() == ["too late"]
    assert bench.semaphore().holders == ("n1",)


async def test_a_refused_unlock_without_an_attempt_on_its_way_writes_nothing():
    bench = Bench()
    await bench.lock.take(claim("n1"))
    shown = ShownHolder(await bench.admin.inspect("n1"), absent=True)
    await bench.store.create(keys.node_key("", "n1"), b"{}")
    before = bench.server.revision
    with pytest.raises(ChangedClaimError, match="is present again"):
        await bench.admin.unlock("n1", shown)
    assert bench.server.revision == before


async def test_a_slot_that_was_shown_with_its_machine_present_is_freed():
    bench = Bench()
    await bench.lock.take(claim("n1"))
    await bench.store.create(keys.node_key("", "n1"), b"{}")
    assert await bench.admin.unlock("n1", ShownHolder(await bench.admin.inspect("n1"))) == claim("n1")
    assert bench.semaphore() == Semaphore(1)


async def test_a_memory_of_a_reboot_that_cannot_be_read_is_not_removed_with_the_slot():
    """It may forbid a second reboot for the same version; `locksmithctl recheck` is its way out."""

    bench = Bench()
    await bench.lock.take(claim("n1"))
    memory = keys.reboot_key("", "n1")
    bench.put(b"rubbish", memory)
    assert await bench.lock.release(claim("n1")) is not None
    assert bench.server.read(memory).entry is not None


@pytest.mark.parametrize(
    "ask",
    [
        lambda lock: lock.check(claim("n1")),
        lambda lock: lock.report_failure(claim("n1"), UNHEALTHY, "sick"),
        lambda lock: lock.release_legacy("n1"),
    ],
    ids=["check", "report_failure", "give_back_bare"],
)
async def test_a_record_that_cannot_be_read_is_an_error_and_not_the_absence_of_one(ask):
    bench = Bench()
    await bench.lock.take(claim("n1"))
    key = keys.holder_key("", "n1")
    bench.put(b"rubbish", key)
    with pytest.raises(CorruptValueError):
        await ask(bench.lock)
    assert bench.semaphore().holders == ("n1",)


async def test_a_check_of_a_claim_whose_id_stands_for_another_is_an_error():
    bench = Bench()
    await bench.lock.take(claim("n1", nonce="2"))
    with pytest.raises(OtherClaimError) as caught:
        await bench.lock.check(claim("n1", nonce="1"))
    assert caught.value.claim == claim("n1", nonce="2")


def test_who_has_its_slot_keeps_it_while_another_has_just_begun_its_reboot():
    async def story(group):
        await group.orders.admin.set_max(2)
        await group.present("n1")
        await group.lock().take(daemons("n1"))
        await group.reboots("n2")
        assert not await group.lock().take(daemons("n1"))
        with pytest.raises(NotAdmittedError, match="too soon after a reboot"):
            await group.lock().commit(daemons("n1"))

    scene(story, spacing=600.0)


def test_a_journal_with_fewer_commits_than_the_record_passes_no_point_of_no_return():
    async def story(group):
        await group.lock().take(daemons("n1"))
        await group.lock().commit(daemons("n1"))
        await group.lock().commit(daemons("n1"))  # an answer that was lost: the same once more
        entry = group.server.read(keys.holder_key("", "n1")).entry
        ahead = claim_record.decode(entry.value, entry.key, "n1").committed()
        group.server.put(entry.key, claim_record.encode(ahead), entry.version)
        with pytest.raises(OlderJournalError):
            await group.lock().commit(daemons("n1"))

    scene(story)


def test_the_record_keeps_when_the_slot_was_taken_though_the_journal_does_not_know():
    async def story(group):
        await group.lock().take(daemons("n1"))
        await group.lock().commit(daemons("n1"))
        state = await LockAdmin(group.lock().guarded).inspect("n1")
        assert state.claim is not None
        assert (state.claim.state, state.claim.taken) == (COMMITTED, NOW)

    scene(story)


async def test_a_resume_of_a_group_in_which_nothing_went_wrong_looks_once():
    class Finite(MemoryStore):
        asked = 0

        async def get(self, key):
            self.asked += 1
            assert self.asked < 10
            return await super().get(key)

    store = Finite(MemoryServer())
    assert await LockAdmin(Guarded(store, "")).acknowledge("alice: all is well") == []
    assert store.asked == 2


def test_a_second_reboot_for_the_same_version_is_refused_and_the_first_is_named():
    async def story(group):
        claimed = replace(daemons("n1"), version="1.2.3", boot_id="boot-1")
        await group.lock().take(claimed)
        await group.lock().commit(claimed)
        await group.lock().release(claimed.committed(), rebooted=True)
        with pytest.raises(RepeatedError) as caught:
            await group.lock().take(replace(claimed, nonce="again", boot_id="boot-2"))
        assert [(last.version, last.at) for last in caught.value.past] == [("1.2.3", NOW)]

    scene(story, repeat=3600.0)


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
        lock = RebootLock(Changed(store, act), "", clock=lambda: NOW, rules=group.rules, unchanged=group.unchanged)
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


async def test_the_message_names_the_holder_and_the_way_out_if_its_machine_may_forget_it():
    bench = Bench()
    await bench.admin.set_max(2)
    await bench.lock.take(claim("n1"))
    await bench.lock.take(claim("n2", kind=MANUAL))
    reboot, by_hand = await bench.admin.inspect("n1"), await bench.admin.inspect("n2")
    assert reboot.describe() == (
        "n1 is held by n1 for its reboot since 2026-05-01T02:10:00Z: disk swap; if its machine has forgotten that "
        "claim, `locksmithctl unlock n1` releases it"
    )
    assert by_hand.describe() == "n2 is held manually by alice since 2026-05-01T02:10:00Z: disk swap"


def test_operators_go_by_the_clock_that_they_are_given():
    async def story(group):
        assert group.lock().now() == NOW

    scene(story)


async def test_an_id_without_a_record_is_released_once_and_one_with_a_record_never():
    bench = Bench()
    bench.put(semaphore.encode(Semaphore(2, ("n1",))))
    await bench.lock.take(claim("n2"))
    assert await bench.lock.release_legacy("n1")
    assert not await bench.lock.release_legacy("n1")
    assert not await bench.lock.release_legacy("n2")
    assert bench.semaphore().holders == ("n2",)


@pytest.mark.parametrize(("slots", "free"), [(None, True), (1, True), (2, False)])
def test_a_change_that_tells_no_value_counts_as_a_lock_with_one_free_slot(slots, free):
    lock = RebootLock(MemoryStore(MemoryServer()), "")
    assert lock._own.frees(slots, Change()) is free


def test_where_each_incident_halts_no_machine_is_counted():
    """To count thousands of machines for every attempt would be a load."""

    async def story(group):
        await group.orders.admin.set_max(3)
        sick = await group.reboots("n1")
        await sick.report_failure(daemons("n1"), UNHEALTHY, "x.service has failed")
        script = FaultScript()
        with pytest.raises(NotAdmittedError):
            await RebootLock(MemoryStore(group.server, script), "").take(daemons("n3"))
        assert set(script.calls) == {"read"}

    scene(story)
