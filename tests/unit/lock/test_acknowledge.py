"""A `resume`, swap by swap: what was wrong at its beginning is acknowledged, and what goes wrong later is not."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar

import pytest

from locksmith.fleet.reader import read_group
from locksmith.lock import acknowledge
from locksmith.lock.acknowledge import Acknowledgement, _Tried
from locksmith.lock.admin import LockAdmin
from locksmith.lock.claim_reader import Holders
from locksmith.lock.errors import ChangedIncidentsError
from locksmith.lock.guarded import Guarded
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records import incident, keys
from locksmith.lock.records.claim import FAILED, UNHEALTHY
from locksmith.lock.records.incident import EXPIRED, Incident
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.claims import NOW, claim
from tests.builders.groups import FREEZE, noted, scene
from tests.harness.fault_script import ANSWER_LOST, FaultScript


def note(group, *names: str) -> None:
    """Write that the slots of these machines have expired."""
    key = keys.incidents_key("")
    found = [Incident(claim(name), EXPIRED, "it was lost") for name in names]
    group.server.put(key, incident.encode(found), group.server.read(key).version)


def test_a_slot_that_expires_while_a_resume_is_under_way_is_still_news(monkeypatch):
    monkeypatch.setattr(acknowledge, "WRITES", 1)

    async def story(group):
        await group.orders.admin.set_max(2)
        for name in ("n1", "n2"):
            await group.lock().take(claim(name))
        for name in ("n1", "n2"):
            await group.lock().report_failure(claim(name), FAILED, "rolled back")
        note(group, "n8")
        work = Acknowledgement(Guarded(group.store(), "", clock=lambda: NOW), "alice: seen")
        assert await work.some()
        assert [one.name for one in work.done] == ["n1"]
        note(group, "n8", "n9")
        assert not await work.some()
        assert sorted(one.name for one in work.done) == ["n1", "n2", "n8"]
        assert noted(group) == ["n9"]
        record = await LockAdmin(group.lock().guarded).inspect("n2")
        assert record.claim == replace(
            claim("n2"), taken=NOW, state=FAILED, failure="rolled back", acknowledged="alice: seen"
        )

    scene(story, halt_after=incident.HaltAfter(9))


def test_a_resume_leaves_no_empty_note_behind():
    async def story(group):
        note(group, "n8")
        work = Acknowledgement(Guarded(group.store(), "", clock=lambda: NOW), "alice: seen")
        assert not await work.some()
        assert group.server.read(keys.incidents_key("")).entry is None

    scene(story)


def test_a_resume_acknowledges_nothing_that_came_after_it_was_written():
    async def story(group):
        note(group, "n8")
        shown = [Incident(claim("n8"), EXPIRED, "it was lost")]

        async def another_expires() -> None:
            note(group, "n8", "n9")

        meanwhile = FaultScript(fates=[ANSWER_LOST], meanwhile=another_expires)
        orders = OperatorOrders(group.store(meanwhile), "", clock=lambda: NOW)
        with pytest.raises(ChangedIncidentsError):
            await orders.resume(FREEZE, shown=shown)
        assert noted(group) == ["n8", "n9"]

    scene(story)


INCIDENT = Incident(claim("n1"), FAILED, "rolled back")
OURS = replace(claim("n1"), state=FAILED, failure="rolled back", acknowledged="alice: seen")


@pytest.mark.parametrize(
    ("tried", "left", "record", "outcome"),
    [
        ((True, False), True, None, (False, False)),
        ((True, False), False, None, (False, False)),
        ((True, False), True, OURS, (True, False)),
        ((True, True), True, None, (False, True)),
        ((True, True), False, None, (True, True)),
        ((True, True), False, claim("n1"), (True, True)),
        ((True, True), True, claim("n1"), (False, True)),
        ((True, True), True, replace(OURS, acknowledged="bob: seen"), (False, True)),
        ((True, True), True, replace(OURS, nonce="the next"), (False, True)),
        ((False, False), False, None, (False, True)),
        ((False, True), False, None, (False, True)),
        ((False, True), True, OURS, (True, True)),
        ((False, True), False, replace(OURS, acknowledged="bob: seen"), (False, True)),
    ],
)
def test_what_a_failed_swap_has_done_is_seen_by_its_record_or_once_it_is_decided(tried, left, record, outcome):
    """Tried: without an answer, and the semaphore was written since. `left`: the incident still counts."""
    (lost, moved), (done, decided) = tried, outcome
    work = Acknowledgement(Guarded(MemoryStore(MemoryServer()), "", clock=lambda: NOW), "alice: seen")
    work._tried = _Tried((INCIDENT,), 5, lost=lost)
    holders = Holders({}, {"n1": record} if record else {}, {})
    assert work._settle([INCIDENT] if left else [], holders, 6 if moved else 5) is decided
    assert work.done == ([INCIDENT] if done else [])
    assert work._settle([INCIDENT], holders, 7)  # nothing is tried any more
    assert work.done == ([INCIDENT] if done else [])


def test_where_nothing_went_wrong_a_resume_writes_nothing():
    async def story(group):
        await group.lock().take(claim("n1"))
        before = group.server.revision
        assert not await Acknowledgement(Guarded(group.store(), "", clock=lambda: NOW), "alice: seen").some()
        assert group.server.revision == before

    scene(story)


def test_a_swap_that_may_still_be_applied_is_made_unable_to_before_the_end():
    async def story(group):
        await group.lock().take(claim("n1"))
        work = Acknowledgement(Guarded(group.store(), "", clock=lambda: NOW), "alice: seen")
        version = group.server.read(keys.semaphore_key("")).version
        work._tried = _Tried((INCIDENT,), version, lost=True)
        assert not await work.some()
        assert group.server.read(keys.semaphore_key("")).version > version

    scene(story)


@pytest.mark.parametrize("news", ["another machine", "another fault", "other words", "an expired slot"])
def test_what_an_operator_was_not_shown_is_not_acknowledged(news):
    async def story(group):
        await group.orders.admin.set_max(2)
        for name in ("n1", "n2"):
            await group.lock().take(claim(name))
        await group.lock().report_failure(claim("n1"), UNHEALTHY, "nginx has `failed`")
        shown = (await read_group(group.store(), "")).incidents(NOW)
        if news == "another machine":
            await group.lock().report_failure(claim("n2"), UNHEALTHY, "nginx has `failed`")
        elif news == "an expired slot":
            note(group, "n8")
        else:
            how, words = (FAILED, "nginx has `failed`") if news == "another fault" else (UNHEALTHY, "sshd has failed")
            await group.lock().report_failure(claim("n1"), how, words)
        with pytest.raises(ChangedIncidentsError, match="nothing was acknowledged"):
            await group.orders.resume(FREEZE, shown=shown)
        assert group.server.read(keys.resume_key("")).entry is None, "nor is a restored store believed: nothing is done"
        now = (await read_group(group.store(), "")).incidents(NOW)
        assert len(now) == (1 if news.startswith("other") or news == "another fault" else 2)
        await group.orders.resume(FREEZE, shown=now)
        assert (await read_group(group.store(), "")).incidents(NOW) == []

    scene(story, halt_after=incident.HaltAfter(9))


class _Late(MemoryStore):
    """Lets others do something right before its first write."""

    before: ClassVar[list[Callable[[], Awaitable[object]]]] = []

    async def swap(self, key, value, version, also=(), *, ttl=None):
        while self.before:
            await self.before.pop()()
        return await super().swap(key, value, version, also, ttl=ttl)


def test_what_goes_wrong_between_the_last_read_and_the_write_is_not_acknowledged():
    async def story(group):
        await group.orders.admin.set_max(2)
        for name in ("n1", "n2"):
            await group.lock().take(claim(name))
        await group.lock().report_failure(claim("n1"), FAILED, "rolled back")
        shown = (await read_group(group.store(), "")).incidents(NOW)
        admin = LockAdmin(Guarded(_Late(group.server), "", clock=lambda: NOW))
        _Late.before.append(lambda: group.lock().report_failure(claim("n2"), FAILED, "rolled back"))
        assert [one.name for one in await admin.acknowledge("alice: seen", shown=shown)] == ["n1"]
        assert [one.name for one in (await read_group(group.store(), "")).incidents(NOW)] == ["n2"]

    scene(story, halt_after=incident.HaltAfter(9))


def test_of_many_chunks_none_acknowledges_what_was_not_shown(monkeypatch):
    monkeypatch.setattr(acknowledge, "WRITES", 1)

    async def story(group):
        await group.orders.admin.set_max(3)
        for name in ("n1", "n2", "n3"):
            await group.lock().take(claim(name))
        for name in ("n1", "n2"):
            await group.lock().report_failure(claim(name), FAILED, "rolled back")
        shown = (await read_group(group.store(), "")).incidents(NOW)
        work = Acknowledgement(Guarded(group.store(), "", clock=lambda: NOW), "alice: seen", shown=shown)
        assert await work.some()
        await group.lock().report_failure(claim("n2"), UNHEALTHY, "nginx has failed")
        await group.lock().report_failure(claim("n3"), FAILED, "rolled back")
        assert not await work.some()
        assert [one.name for one in work.done] == ["n1"]
        assert [one.name for one in (await read_group(group.store(), "")).incidents(NOW)] == ["n2", "n3"]

    scene(story, halt_after=incident.HaltAfter(9))
