"""Groups with more holders of slots than etcd takes keys in one transaction (128), on every store.

A take and a commit look at two keys of each other holder: up to 64 others fit into one request.
"""

import asyncio
import json
import uuid

import pytest

from locksmith.errors import OutcomeUnknownError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import GroupRules
from locksmith.lock.errors import NotAdmittedError, SlotsBusyError
from locksmith.lock.guarded import Guarded
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import COMMITTED, HELD, MANUAL, UNHEALTHY, Claim
from locksmith.lock.records.incident import LOST, HaltAfter
from locksmith.store.connect import open_store
from tests.harness.ctl import Ctl, flags_for
from tests.harness.seats import claim, seat
from tests.harness.waiting import until

SIZES = [64, 65, 66, 128, 1000]
ON_V2 = {66, 128}
"""Fleets there are of some hundreds at most: each key is a request."""


@pytest.fixture
def group():
    return f"g-{uuid.uuid4()}"


@pytest.fixture(params=SIZES)
def size(request, stage):
    if not stage.atomic and request.param not in ON_V2:
        pytest.skip("etcd's v2 API is for fleets of some hundreds")
    return request.param


def names(size):
    return [f"n{number:04}" for number in range(size)]


def read(found) -> Claim:
    assert isinstance(found, Claim)
    return found


def rack() -> Claim:
    return claim("rack", kind=MANUAL, who="alice")


def test_a_slot_is_taken_used_halted_and_given_back_whatever_the_number_of_holders(stage, group, size):
    async def story(store):
        await seat(store, group, names(size), size + 3)
        lock, mine = RebootLock(store, group), claim("new")
        await lock.take(mine)
        await lock.take(rack())
        await lock.commit(mine)
        await lock.report_failure(mine, UNHEALTHY, "web.service has failed")
        with pytest.raises(NotAdmittedError, match="new is unhealthy"):
            await lock.take(claim("next"))
        [incident] = await LockAdmin(lock.guarded).acknowledge("by alice")
        assert incident.claim.holder == "new"
        await lock.take(claim("next"))
        assert (await LockAdmin(lock.guarded).unlock("rack")) is not None
        assert await lock.release(mine.committed().gone_wrong(UNHEALTHY, "web.service has failed")) is not None
        assert await lock.release(claim("next")) is not None
        assert len((await lock.read()).semaphore.holders) == size

    stage.play(story)


def test_65_drained_machines_commit_although_an_operator_locks_another_by_hand(stage, group):
    async def story(store):
        drained = names(65)
        await seat(store, group, drained, 66, HELD)
        lock = RebootLock(store, group)
        await lock.take(rack())
        for one in drained[:3]:
            await lock.commit(claim(one))
        assert read((await lock.read()).claims[drained[2]]).state == COMMITTED

    stage.play(story)


@pytest.mark.parametrize(("wrong", "state"), [(128, UNHEALTHY), (128, COMMITTED)])
def test_a_resume_acknowledges_every_reboot_that_went_wrong_however_many(stage, group, wrong, state):
    if not stage.atomic and state != UNHEALTHY:
        pytest.skip("on etcd's v2 API, where each key is a request, this shows no more")

    async def story(store):
        await seat(store, group, names(wrong), wrong + 1, state, present=state == UNHEALTHY)
        lock = RebootLock(store, group)
        with pytest.raises(NotAdmittedError, match="the group is halted"):
            await lock.take(claim("next"))
        found = await LockAdmin(lock.guarded).acknowledge("by alice")
        assert sorted(one.claim.holder for one in found) == names(wrong)
        assert {one.how for one in found} == {UNHEALTHY if state == UNHEALTHY else LOST}
        assert await LockAdmin(lock.guarded).acknowledge("by bob") == []
        assert {read(one).acknowledged for one in (await lock.read()).claims.values()} == {"by alice"}
        await lock.take(claim("next"))

    stage.play(story)


async def test_the_slot_of_a_lost_machine_expires_among_a_thousand(wheel_etcd, group):
    rules = GroupRules(halt_after=HaltAfter(0), expire_after=0.1)
    never = GroupRules(halt_after=HaltAfter(0))

    store = open_store(wheel_etcd.settings())
    try:
        await seat(store, group, names(999), 1000)
        long_ago = RebootLock(store, group, rules=never, clock=lambda: claim("gone").since)
        await long_ago.take(claim("gone"))
        with pytest.raises(SlotsBusyError) as full:
            await RebootLock(store, group, rules=never).take(claim("next"))
        assert len(str(full.value)) < 200, "a sentence for a person names some of a thousand"
        lock = RebootLock(store, group, rules=rules)
        with pytest.raises(SlotsBusyError):
            await lock.take(claim("next"))
        await asyncio.sleep(rules.expire_after)
        await lock.take(claim("next"))
        assert "gone" not in (await RebootLock(store, group).read()).semaphore.holders
    finally:
        await store.close()


def test_a_take_on_what_was_read_before_the_semaphore_changed_never_wins(stage, group):
    """Between two requests of one reading another machine fails: who read the first part must not go by it."""

    async def story(store):
        await seat(store, group, names(150), 155)
        other = RebootLock(store, group)
        sick = claim(names(150)[0])
        fails = Meanwhile(store, lambda: other.report_failure(sick, UNHEALTHY, "web.service has failed"))
        with pytest.raises(NotAdmittedError, match="is unhealthy"):
            await RebootLock(fails, group).take(claim("next"))
        assert fails.done
        assert "next" not in (await other.read()).semaphore.holders

    stage.play(story)


class Meanwhile:
    """A store on which something happens, once, right after the records of all holders were read."""

    def __init__(self, store, act) -> None:
        self._store = store
        self._act = act
        self.done = False

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def list(self, prefix, **more):
        found = await self._store.list(prefix, **more)
        if prefix.endswith("/holders/") and not self.done:
            self.done = True
            await self._act()
        return found


def test_a_resume_whose_answers_are_lost_names_all_that_it_acknowledged(stage, group):
    async def story(store):
        await seat(store, group, names(60), 61, UNHEALTHY)
        found = await LockAdmin(Guarded(Forgetful(store), group)).acknowledge("by alice")
        assert sorted(one.claim.holder for one in found) == names(60)
        assert len({one.claim.holder for one in found}) == len(found)

    stage.play(story)


class Forgetful:
    """A store that carries out every swap, and loses each second answer."""

    def __init__(self, store) -> None:
        self._store = store
        self._swaps = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def swap(self, *args, **more):
        self._swaps += 1
        done = await self._store.swap(*args, **more)
        if self._swaps % 2:
            raise OutcomeUnknownError("the answer was lost")
        return done


def test_a_resume_of_a_thousand_is_several_swaps_and_one_command(ctl, thousand):
    ended = ctl("resume", "--reason", "the image is fixed")
    assert ended.status == 0, ended.err
    assert sum(line.startswith("acknowledged: ") for line in ended.out.splitlines()) == 1000
    assert ended.out.endswith(f"group {thousand} may reboot\n")
    [event] = json.loads(ctl("history", "--json").out)["events"]
    assert event["detail"].endswith(" and 990 more")


def test_what_people_ask_of_a_thousand_holders_is_answered(ctl, thousand):
    assert ctl("status").status == 0
    assert len(json.loads(ctl("nodes", "--json").out)["nodes"]) == 1000
    assert "HALTED" in ctl("why", "n0001").out
    assert ctl("unlock", "--force", "n0001").status == 0
    assert ctl("set-max", "1001").status == 0
    assert ctl("freeze", "--reason", "the database moves").status == 0
    assert f"group {thousand}" in ctl("thaw").out


@pytest.fixture
def thousand(wheel_etcd, group):
    async def story():
        store = open_store(wheel_etcd.settings())
        try:
            await seat(store, group, names(1000), 1000, UNHEALTHY)
        finally:
            await store.close()

    asyncio.run(story())
    return group


@pytest.fixture
def ctl(monkeypatch, capfd, wheel_etcd, thousand, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("1c09ca98649c4c7abc779cd04c96812e\n")
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    return Ctl(monkeypatch, capfd, *flags_for(wheel_etcd, group=thousand))


def test_a_machine_reboots_among_66_others(site):
    """The real daemon: on the 66th other holder its take was refused, and with 65 others its commit."""

    async def story(machine):
        async def others(store):
            await seat(store, site.group, names(66), 70)

        store = open_store(site.etcd.settings())
        try:
            await others(store)
        finally:
            await store.close()
        machine.need_reboot("4081.2.0")
        await machine.rebooted()
        await until(lambda: sorted(site.lock.holders) == names(66), "its slot is released")

    site.play(story, nodes=1)
