"""What holds a group back beside its slots: freezes, holds, pauses, halts, and a store that went back in time."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import CorruptValueError, HostError, LockError, StoreUnavailableError
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock import acknowledge
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import Admission, GroupRules
from locksmith.lock.errors import NotAdmittedError
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import incident as incident_record
from locksmith.lock.records import keys, node
from locksmith.lock.records import order as order_record
from locksmith.lock.records.claim import COMMAND, COMMITTED, FAILED, MANUAL, REBOOT, UNHEALTHY, Claim
from locksmith.lock.records.incident import EXPIRED, FIRST, HaltAfter, Incident, parse_halt_after
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import ABSENT, Position, Put
from tests.builders.claims import NOW, claim
from tests.builders.groups import FREEZE, Group, scene, seen_for_hours
from tests.harness.fault_script import ANSWER_LOST, ARRIVES, DROPPED, LATE, NEVER_SENT, FaultScript, StepwiseStore

STORES = [MemoryStore, StepwiseStore]


@pytest.mark.parametrize("kind", STORES)
def test_a_freeze_stops_every_take_and_every_commit_until_the_thaw(kind):
    async def story(group):
        await group.orders.admin.set_max(2)
        holder = group.lock()
        await group.present("n1")
        await holder.take(claim("n1"))
        await group.orders.freeze(FREEZE)
        await group.refuses("freeze", "n2")
        with pytest.raises(NotAdmittedError, match="frozen by alice since 2026-05-01T02:10:00Z: the database moves"):
            await holder.commit(claim("n1"))
        assert await group.orders.thaw() == FREEZE
        await holder.commit(claim("n1"))
        await group.lock().take(claim("n2"))

    scene(story, kind)


@pytest.mark.parametrize("kind", STORES)
def test_a_commit_that_was_decided_before_the_freeze_loses_behind_it(kind):
    """Its read came before the freeze, its write comes after: the operator was told that nobody is under way."""

    async def story(group):
        await group.lock().take(claim("n1"))
        faults = FaultScript(fates=[LATE] * 2)
        late = group.lock(faults)
        committing = asyncio.ensure_future(late.commit(claim("n1")))
        await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        done = await group.orders.freeze(FREEZE)
        assert done.too_late == []
        faults.arrive_late()
        with pytest.raises(NotAdmittedError):
            await committing
        if kind is MemoryStore:  # v2 writes the record first: it may say so, and nothing comes of it
            assert (await group.lock().read()).claims["n1"].state != COMMITTED

    scene(story, kind)


def test_who_is_past_the_point_of_no_return_is_named():
    async def story(group):
        await group.reboots("n1")
        done = await group.orders.freeze(FREEZE)
        assert [one.holder for one in done.too_late] == ["n1"]
        assert done.before is None

    scene(story)


def test_a_freeze_ends_by_the_stores_clock():
    async def story(group):
        await group.orders.freeze(FREEZE, 60)
        await group.refuses("freeze", "n1")
        await asyncio.sleep(61)
        await group.lock().take(claim("n1"))

    scene(story)


def test_a_fence_sets_max_to_0_and_the_thaw_sets_it_back():
    async def story(group):
        await group.orders.admin.set_max(3)
        await group.orders.freeze(FREEZE, legacy=True)
        assert (await group.lock().read()).semaphore.max == 0
        again = replace(FREEZE, nonce="f2")
        done = await group.orders.freeze(again, legacy=True)
        assert isinstance(done.before, Order)
        await group.orders.thaw()
        assert (await group.lock().read()).semaphore.max == 3

    scene(story)


def test_a_fence_that_would_end_by_itself_is_refused():
    async def story(group):
        with pytest.raises(LockError, match="so max would stay 0"):
            await group.orders.freeze(FREEZE, 60, legacy=True)

    scene(story)


@pytest.mark.parametrize("until", [None, 60.0], ids=["for good", "for a while"])
@pytest.mark.parametrize("kind", STORES)
def test_a_freeze_that_replaced_another_meanwhile_is_not_ended_with_that(kind, until):
    """Between what `thaw` reads and what it removes a colleague freezes the group for another reason: that stands."""

    async def story(group):
        await group.orders.freeze(FREEZE, until)
        other = replace(FREEZE, who="bob", nonce="f2")
        faults = FaultScript(fates=[DROPPED], meanwhile=lambda: group.orders.freeze(other, until))
        with pytest.raises(LockError, match=r"another freeze was ordered meanwhile, by bob since .* it stays"):
            await OperatorOrders(group.store(faults), "", clock=lambda: NOW).thaw()
        await group.refuses("freeze", "n1")

    scene(story, kind)


@pytest.mark.parametrize("kind", STORES)
def test_a_hold_that_replaced_another_meanwhile_is_not_ended_with_that(kind):
    async def story(group):
        await group.orders.hold("n1", FREEZE)
        other = replace(FREEZE, who="bob", nonce="f2")
        faults = FaultScript(fates=[DROPPED], meanwhile=lambda: group.orders.hold("n1", other))
        with pytest.raises(LockError, match=r"another hold was ordered meanwhile, by bob since .* it stays"):
            await OperatorOrders(group.store(faults), "", clock=lambda: NOW).unhold("n1")
        await group.refuses("hold", "n1")

    scene(story, kind)


def test_a_max_that_was_set_meanwhile_survives_the_thaw():
    async def story(group):
        await group.orders.freeze(FREEZE, legacy=True)
        await group.orders.admin.set_max(7)
        await group.orders.thaw()
        assert (await group.lock().read()).semaphore.max == 7

    scene(story)


def test_a_freeze_whose_answer_is_lost_is_written_once():
    async def story(group):
        orders_ = OperatorOrders(group.store(FaultScript(fates=[ANSWER_LOST])), "", clock=lambda: NOW)
        done = await orders_.freeze(FREEZE)
        assert done.before is None
        assert await group.orders.thaw() == FREEZE
        assert await group.orders.thaw() is None

    scene(story)


def test_a_hold_stops_one_machine_alone():
    async def story(group):
        await group.orders.hold("n1", FREEZE)
        await group.refuses("hold", "n1")
        await group.lock().take(claim("n2"))
        await group.orders.unhold("n1")
        assert await group.orders.unhold("n1") is None

    scene(story)


def test_a_lock_by_hand_is_no_reboot_and_is_not_held_back():
    async def story(group):
        await group.orders.freeze(FREEZE)
        await group.lock().take(Claim("rack", MANUAL, "m", NOW))

    scene(story)


@pytest.mark.parametrize("order", ["freeze", "hold"])
def test_a_command_is_held_back_like_a_reboot(order):
    async def story(group):
        await (group.orders.freeze(FREEZE) if order == "freeze" else group.orders.hold("n1", FREEZE))
        with pytest.raises(NotAdmittedError):
            await group.lock().take(Claim("n1", COMMAND, "c", NOW))

    scene(story)


@pytest.mark.parametrize(
    ("kind", "halt", "asked"),
    [(REBOOT, FIRST, True), (MANUAL, FIRST, False), (REBOOT, HaltAfter(0), False)],
    ids=["a machine", "a lock by hand", "a group that never halts"],
)
def test_other_holders_are_read_only_where_they_can_hold_the_claim_back(kind, halt, asked):
    admission = Admission(MemoryStore(MemoryServer()), "", GroupRules(halt_after=halt), None)
    found = admission.keys_of(replace(claim("n1"), kind=kind), ["n1", "n2"])
    assert (keys.holder_key("", "n2") in found) == asked
    assert keys.holder_key("", "n1") not in found


def test_an_order_that_cannot_be_read_is_a_no_with_a_way_out():
    async def story(group):
        await group.store().create(keys.freeze_key(""), b"thunder")
        with pytest.raises(CorruptValueError, match="`locksmithctl thaw` removes it"):
            await group.lock().take(claim("n1"))
        assert isinstance(await group.orders.thaw(), CorruptValueError)
        await group.lock().take(claim("n1"))

    scene(story)


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("state", [UNHEALTHY, FAILED])
def test_a_reboot_that_went_wrong_halts_the_group_until_it_is_acknowledged(kind, state):
    async def story(group):
        await group.orders.admin.set_max(3)
        sick = await group.reboots("n1")
        holder = group.lock()
        await group.present("n2")
        await holder.take(claim("n2"))
        await sick.report_failure(claim("n1"), state, "x.service has failed")
        refusal = await group.refuses("halt", "n3")
        assert f"n1 is {state}: x.service has failed" in str(refusal)
        with pytest.raises(NotAdmittedError):
            await holder.commit(claim("n2"))
        [incident] = await group.orders.resume(FREEZE)
        assert (incident.name, incident.how) == ("n1", state)
        await holder.commit(claim("n2"))
        gone_wrong = await sick.report_failure(claim("n1"), state, "x.service has failed")
        assert gone_wrong is not None
        assert "alice" in gone_wrong.acknowledged
        assert await group.orders.resume(replace(FREEZE, nonce="f2")) == []

    scene(story, kind)


def test_a_new_incident_halts_again():
    async def story(group):
        await group.orders.admin.set_max(3)
        first, second = await group.reboots("n1"), await group.reboots("n2")
        await first.report_failure(claim("n1"), UNHEALTHY, "x")
        await group.orders.resume(FREEZE)
        await second.report_failure(claim("n2"), UNHEALTHY, "y")
        await group.refuses("halt", "n3")

    scene(story)


def test_a_machine_that_is_gone_past_its_commit_is_lost_and_halts():
    async def story(group):
        await group.orders.admin.set_max(2)
        await group.reboots("n1")
        entry = (await group.store().get(keys.node_key("", "n1"))).entry
        await group.store().delete(entry.key, entry.version)
        assert "n1 is lost" in str(await group.refuses("halt", "n2"))

    scene(story)


def test_what_was_never_present_is_not_lost():
    async def story(group):
        await group.orders.admin.set_max(4)
        await group.lock().take(Claim("rack", MANUAL, "m", NOW, who="alice"))
        await group.lock().take(replace(claim("n1"), who="alice"))
        await group.lock().take(claim("n2"))
        await group.lock().take(claim("n3"))

    scene(story)


@pytest.mark.parametrize(("after", "halts"), [("off", False), ("2", False), ("1", True), ("1%", True), ("50%", False)])
def test_how_many_incidents_halt_is_said_as_a_number_or_a_share(after, halts):
    async def story(group):
        await group.orders.admin.set_max(3)
        for name in ("n5", "n6", "n7"):
            await group.present(name)
        sick = await group.reboots("n1")
        await sick.report_failure(claim("n1"), UNHEALTHY, "x")
        if halts:
            await group.refuses("halt", "n2")
        else:
            await group.lock().take(claim("n2"))

    scene(story, halt_after=parse_halt_after(after))


@pytest.mark.parametrize("text", ["0", "-1", "101%", "0%", "many", "", "1.5"])
def test_other_words_for_it_are_refused(text):
    with pytest.raises(ValueError, match="must be"):
        parse_halt_after(text)


def test_after_a_reboot_the_others_wait_for_the_spacing():
    async def story(group):
        await group.orders.admin.set_max(2)
        await group.reboots("n1")
        assert "too soon after a reboot by n1" in str(await group.refuses("spacing", "n2"))
        await asyncio.sleep(301)
        await group.lock().take(claim("n2"))

    scene(story, spacing=300.0)


@pytest.mark.parametrize(("hostname", "who"), [("web-1", "web-1"), ("", "n1")])
def test_the_spacing_names_the_machine_and_when_it_ends(hostname, who):
    async def story(group):
        begun = replace(claim("n1"), hostname=hostname)
        await group.present("n1")
        await group.lock().take(begun)
        await group.lock().commit(begun)
        entry = group.server.read(keys.spacing_key("")).entry
        found = order_record.decode(entry.value, entry.key, "spacing")
        assert (found.who, found.since, found.until) == (who, NOW, NOW + timedelta(seconds=300))

    scene(story, spacing=300.0)


def test_who_has_begun_the_spacing_is_not_held_back_by_it_on_its_next_try():
    async def story(group):
        await group.present("n1")
        await group.lock().take(claim("n1"))
        faults = FaultScript(fates=[ARRIVES, DROPPED])  # of the spacing, and of the commit
        await group.lock(faults).commit(claim("n1"))
        assert (await group.lock().read()).claims["n1"].state == COMMITTED

    scene(story, spacing=300.0)


def test_of_two_that_hold_a_slot_one_begins_and_the_other_waits_with_its_slot():
    async def story(group):
        await group.orders.admin.set_max(2)
        first, second = group.lock(), group.lock()
        for lock, name in ((first, "n1"), (second, "n2")):
            await group.present(name)
            await lock.take(claim(name))
        await first.commit(claim("n1"))
        with pytest.raises(NotAdmittedError) as caught:
            await second.commit(claim("n2"))
        assert caught.value.code == "spacing"
        await asyncio.sleep(301)
        await second.commit(claim("n2"))

    scene(story, spacing=300.0)


async def _sick(group: Group, *names: str) -> None:
    """Have machines reboot and come up sick, in a group that goes on all the same."""
    group.rules = GroupRules(halt_after=HaltAfter(0))
    await group.orders.admin.set_max(len(names))
    for name in names:
        await group.reboots(name)
        await group.lock().report_failure(claim(name), UNHEALTHY, "web.service has failed")


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("fates", [[], [ANSWER_LOST], [DROPPED], [ANSWER_LOST, DROPPED]])
def test_a_resume_in_several_swaps_names_each_incident_once(kind, fates, monkeypatch):
    monkeypatch.setattr(acknowledge, "WRITES", 2)

    async def story(group):
        await _sick(group, "n1", "n2", "n3", "n4", "n5")
        found = await LockAdmin(group.lock(FaultScript(fates=fates)).guarded).acknowledge("by alice")
        assert sorted(one.name for one in found) == ["n1", "n2", "n3", "n4", "n5"]
        claims = (await group.lock().read()).claims.values()
        assert {one.acknowledged for one in claims if isinstance(one, Claim)} == {"by alice"}

    scene(story, kind)


def test_a_resume_that_fails_halfway_has_named_what_it_acknowledged(monkeypatch):
    monkeypatch.setattr(acknowledge, "WRITES", 2)

    async def story(group):
        await _sick(group, "n1", "n2", "n3", "n4", "n5")
        done: list[Incident] = []
        with pytest.raises(StoreUnavailableError):
            await LockAdmin(group.lock(FaultScript(fates=[ARRIVES, NEVER_SENT])).guarded).acknowledge("by alice", done)
        acknowledged = [
            name
            for name, one in (await group.lock().read()).claims.items()
            if isinstance(one, Claim) and one.acknowledged
        ]
        assert [one.name for one in done] == acknowledged == ["n1", "n2"]
        rest = await LockAdmin(group.lock().guarded).acknowledge("by bob")
        assert [one.name for one in rest] == ["n3", "n4", "n5"]

    scene(story)


def test_what_goes_wrong_while_a_resume_is_under_way_halts_again(monkeypatch):
    monkeypatch.setattr(acknowledge, "WRITES", 2)

    async def story(group):
        await _sick(group, "n1", "n2", "n3")
        await group.orders.admin.set_max(5)
        await group.reboots("n4")

        async def fails_too():
            await group.lock().report_failure(claim("n4"), UNHEALTHY, "db.service has failed")

        faults = FaultScript(fates=[ANSWER_LOST], meanwhile=fails_too)
        found = await LockAdmin(group.lock(faults).guarded).acknowledge("by alice")
        assert [one.name for one in found] == ["n1", "n2", "n3"]
        group.rules = GroupRules()
        error = await group.refuses("halt", "n5")
        assert "n4 is unhealthy" in str(error)
        assert "n1" not in str(error)

    scene(story)


def test_endpoints_of_two_clusters_give_no_slot(tmp_path):
    class Split(SeenRevision):
        split = "the endpoints in etcd.endpoints belong to different clusters"

    async def story(group):
        with pytest.raises(NotAdmittedError, match="belong to different clusters") as refused:
            await group.lock(mark=Split(Paths(tmp_path), 3, ["memory"])).take(claim("n1"))
        assert (refused.value.code, refused.value.key) == ("other_cluster", keys.resume_key(""))

    scene(story)


def test_a_hold_says_whether_its_machine_has_a_slot():
    async def story(group):
        lock = group.lock()
        await group.present("n1")
        await lock.take(claim("n1"))
        for name in ("n1", "n2"):
            await group.orders.hold(name, replace(FREEZE, nonce=name))
        with pytest.raises(NotAdmittedError, match="held back") as with_a_slot:
            await lock.commit(claim("n1"))
        without = await group.refuses("hold", "n2")
        assert (with_a_slot.value.held, without.held) == (True, False)

    scene(story)


@pytest.mark.parametrize("rules", [{"repeat": 600.0}, {"max_per_day": 3}, {}])
def test_a_reboot_record_that_cannot_be_read_is_a_no_where_it_matters(rules):
    async def story(group):
        group.server.commit([Put(keys.reboot_key("", "n1"), b"junk", ABSENT)])
        take = group.lock().take(claim("n1"))
        if not rules:
            await take
            return
        with pytest.raises(CorruptValueError, match="reboots/n1"):
            await take

    scene(story, **rules)


def test_a_slot_that_has_expired_halts_a_group_in_which_no_machine_holds_one():
    async def story(group):
        gone = [Incident(claim("n9"), EXPIRED, "it was lost, and its slot has expired")]
        group.server.commit([Put(keys.incidents_key(""), incident_record.encode(gone), ABSENT)])
        assert "n9" in str(await group.refuses("halt", "n1"))

    scene(story)


def test_a_group_that_never_halts_asks_for_no_other_holder():
    async def story(group):
        await group.orders.admin.set_max(2)
        await group.lock().take(claim("n1"))
        asked = FaultScript()
        await group.lock(asked).take(claim("n2"))
        assert asked.calls == ["read", "swap"]

    scene(story, halt_after=parse_halt_after("off"))


def test_a_slot_expires_only_where_that_is_wanted_and_leaves_an_incident():
    scene(_expires, halt_after=HaltAfter(2), expire_after=3600.0)


async def _expires(group: Group) -> None:
    long_ago = NOW - timedelta(hours=3)
    await RebootLock(group.store(), "", clock=lambda: long_ago).take(replace(claim("n1"), since=long_ago))
    await seen_for_hours(group, "n1")
    await group.present("n2")
    await group.lock().take(claim("n2"))
    assert (await group.lock().read()).semaphore.holders == ("n2",)
    [incident] = await group.orders.resume(FREEZE)
    assert (incident.name, incident.how) == ("n1", "expired")
    assert await group.orders.resume(replace(FREEZE, nonce="f2")) == []


def test_a_store_that_knows_less_than_this_machine_gives_nothing_until_a_resume(tmp_path):
    async def story(group):
        mark = SeenRevision(Paths(tmp_path), 3, ["memory"], lambda: NOW)
        await group.lock(mark=mark).take(claim("n1"))
        await group.lock(mark=mark).commit(claim("n1"))
        await group.lock().release(claim("n1").committed())

        restored = Group()
        for mark_ in (mark, SeenRevision(Paths(tmp_path), 3, ["memory"])):
            with pytest.raises(NotAdmittedError, match="restored from a backup"):
                await restored.lock(mark=mark_).take(claim("n1"))
        await restored.orders.resume(replace(FREEZE, since=NOW + timedelta(minutes=1)))
        await restored.lock(mark=mark).take(claim("n1"))

    scene(story)


def test_an_older_resume_in_the_backup_is_no_new_one(tmp_path):
    async def story(group):
        mark = SeenRevision(Paths(tmp_path), 3, ["memory"])
        await group.orders.resume(FREEZE)
        for _ in range(9):
            await group.orders.admin.fence()
        await group.lock(mark=mark).take(claim("n1"))
        restored = Group()
        await restored.orders.resume(FREEZE)
        with pytest.raises(NotAdmittedError, match="restored from a backup"):
            await restored.lock(mark=mark).take(claim("n1"))

    scene(story)


def test_a_resume_in_the_backup_that_this_machine_never_read_is_no_new_one_either(tmp_path):
    """One that has never taken a slot has read none; it knows when it saw more of the store."""

    async def story(group):
        mark = SeenRevision(Paths(tmp_path), 3, ["memory"], lambda: NOW + timedelta(minutes=5))
        mark.answered(Position(1000), mark.sending())
        mark.keep()
        await group.orders.resume(replace(FREEZE, since=NOW))
        for mark_ in (mark, SeenRevision(Paths(tmp_path), 3, ["memory"])):
            with pytest.raises(NotAdmittedError, match="restored from a backup"):
                await group.lock(mark=mark_).take(claim("n1"))
        await group.orders.resume(replace(FREEZE, since=NOW + timedelta(minutes=6), nonce="f2"))
        await group.lock(mark=mark).take(claim("n1"))

    scene(story)


def test_a_resume_that_cannot_be_written_down_lets_nobody_take_a_slot(tmp_path):
    (tmp_path / "var").write_text("a file where a folder should be")

    async def story(group):
        await group.orders.resume(FREEZE)
        with pytest.raises(HostError, match=r"seen\.json cannot be written"):
            await group.lock(mark=SeenRevision(Paths(tmp_path), 3, ["memory"])).take(claim("n1"))
        assert (await group.lock().read()).semaphore.holders == ()

    scene(story)


moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.builds(Order, texts, moments, texts, st.none() | moments, st.none() | st.integers(0, 99), texts))
def test_an_order_reads_back_as_it_was_written(order):
    assert order_record.decode(order_record.encode(order), "key", order_record.FREEZE) == order


@given(st.lists(st.builds(lambda name, why: Incident(claim(name), "expired", why), texts.filter(bool), texts)))
def test_incidents_read_back_as_they_were_written(found):
    read = incident_record.decode(incident_record.encode(found), "key")
    assert [(one.claim.nonce, one.name, one.how, one.why) for one in read] == [
        (one.claim.nonce, one.name, one.how, one.why) for one in found
    ]


@given(st.binary(max_size=60))
def test_junk_is_a_corrupt_value_and_nothing_else(raw):
    for decode in (
        lambda: order_record.decode(raw, "the key", order_record.HOLD),
        lambda: incident_record.decode(raw, "the key"),
    ):
        with contextlib.suppress(CorruptValueError):
            decode()


def extended(group: Group) -> None:
    """Start every lease again, as a new leader of etcd does; here: for ever."""
    group.server._deadlines.clear()


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("what", ["freeze", "hold"])
def test_an_order_that_no_lease_ends_is_over_when_it_was_seen_for_its_time(kind, what):
    async def story(group):
        order = replace(FREEZE, until=NOW + timedelta(minutes=10))
        if what == "freeze":
            await group.orders.freeze(order, 600)
        else:
            await group.orders.hold("n1", order, 600)
        extended(group)
        waiting = group.lock()
        for _ in range(20):
            with pytest.raises(NotAdmittedError) as caught:
                await waiting.take(claim("n1"))
            assert caught.value.left is not None
            assert 0 < caught.value.left <= 600
            await asyncio.sleep(30)
        await group.refuses(
            what, "n1"
        ) if what == "hold" else None  # one that has just come has not seen it for so long
        await waiting.take(claim("n1"))
        await group.lock().take(claim("n1"))  # it is removed: for all

    scene(story, kind)


def test_an_order_that_is_given_again_has_all_of_its_time():
    async def story(group):
        order, waiting = replace(FREEZE, until=NOW + timedelta(minutes=10)), group.lock()
        await group.orders.freeze(order, 600)
        for number in range(5):
            with pytest.raises(NotAdmittedError):
                await waiting.take(claim("n1"))
            await asyncio.sleep(500)
            await group.orders.freeze(replace(order, nonce=str(number)), 600)
        with pytest.raises(NotAdmittedError):
            await waiting.take(claim("n1"))

    scene(story)


def test_an_order_without_an_end_and_a_fence_are_never_over():
    async def story(group):
        for order in (FREEZE, replace(FREEZE, until=NOW + timedelta(minutes=10), slots=3)):
            await group.store().create(keys.freeze_key(""), order_record.encode(order))
            waiting = group.lock()
            for _ in range(3):
                with pytest.raises(NotAdmittedError) as caught:
                    await waiting.take(claim("n1"))
                assert caught.value.left is None
                await asyncio.sleep(86400)
            await group.orders.thaw()

    scene(story)


@pytest.mark.parametrize("leased", [True, False])
def test_a_holder_whose_presence_stood_unchanged_for_too_long_is_lost(leased):
    async def story(group):
        await group.orders.admin.set_max(2)
        await group.reboots("n1")
        key = keys.node_key("", "n1")
        old = group.server.read(key).entry
        shown = Node("n1", "n1", "boot", "", "etcd-lock", "rebooting", NOW, written=NOW, lasts=300 if leased else 0)
        await group.store().delete(key, old.version)
        await group.store().create(key, node.encode(shown), ttl=300 if leased else None)
        extended(group)
        judge, lasts = group.lock(), 300 if leased else node.TTL
        await judge.take(claim("n2"))
        await judge.release(claim("n2"))
        await asyncio.sleep(lasts - 10)
        await judge.take(claim("n2"))
        await judge.release(claim("n2"))
        await asyncio.sleep(20)
        with pytest.raises(NotAdmittedError, match="n1 is lost"):
            await judge.take(claim("n2"))
        await group.store().update(group.server.read(key).entry, node.encode(shown), 300)
        await judge.take(claim("n2"))

    scene(story)
