"""What operators do to a lock that others hold: fences, thaws, the retirement of v2; and slots that expired."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from locksmith.errors import CorruptValueError, LockError
from locksmith.lock.errors import NotAdmittedError
from locksmith.lock.orders import MOST_CLUSTERS, OperatorOrders
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import incident as incident_record
from locksmith.lock.records import keys, node
from locksmith.lock.records import order as order_record
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.incident import HaltAfter, parse_halt_after
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import Entry
from tests.builders.claims import NOW, claim
from tests.builders.groups import FREEZE, lost, noted, scene
from tests.builders.locks import Bench, Moved
from tests.harness.fault_script import ANSWER_LOST, DROPPED, FaultScript
from tests.sim.virtual_time import run


def test_a_fence_and_its_end_leave_every_holder_its_slot():
    async def story(group):
        await group.orders.admin.set_max(2)
        await group.lock().take(claim("n1"))
        await group.orders.freeze(FREEZE, legacy=True)
        assert (await group.lock().read()).semaphore == Semaphore(0, ("n1",))
        await group.orders.thaw()
        assert (await group.lock().read()).semaphore == Semaphore(2, ("n1",))

    scene(story)


def test_a_freeze_until_a_time_can_be_ended_before():
    async def story(group):
        await group.orders.freeze(FREEZE, ttl=600)
        assert await group.orders.thaw() == FREEZE
        assert await group.orders.thaw() is None
        await group.lock().take(claim("n1"))

    scene(story)


@pytest.mark.parametrize("fates", [[ANSWER_LOST], [DROPPED, ANSWER_LOST]])
def test_a_thaw_whose_answer_is_lost_says_what_it_ended(fates):
    async def story(group):
        await group.orders.freeze(FREEZE)
        group.orders._store._faults = FaultScript(fates=fates)
        assert await group.orders.thaw() == FREEZE
        assert group.server.read(keys.freeze_key("")).entry is None

    scene(story)


def test_the_slots_of_two_lost_machines_expire_and_both_count_until_a_resume():
    async def story(group):
        await group.orders.admin.set_max(2)
        await lost(group, "n1")
        await lost(group, "n2")
        await group.present("n3")
        await group.present("n4")
        await group.lock().take(claim("n3"))
        await group.lock().take(claim("n4"))
        assert (await group.lock().read()).semaphore == Semaphore(2, ("n3", "n4"))
        assert noted(group) == ["n1", "n2"]
        assert sorted(one.name for one in await group.orders.resume(FREEZE)) == ["n1", "n2"]
        assert noted(group) == []

    scene(story, halt_after=HaltAfter(5), expire_after=3600.0)


def test_a_slot_that_expires_again_is_noted_once():
    """On v2 its record may be left, with the slot noted already."""

    async def story(group):
        await lost(group, "n1")
        admission, gone = group.lock()._admission, replace(claim("n1"), acknowledged="alice: known")

        async def note() -> None:
            keys_ = admission.keys("n2")
            read = dict(zip(keys_, await group.store().read(keys_), strict=True))
            incidents = admission.orders("n2", read).incidents
            others = await admission._others("n2", await group.lock().guarded.holder_state("n2"), incidents.entry)
            put = admission.note(gone, others, incidents)
            group.server.put(put.key, put.value, incidents.version)

        await note()
        await note()
        assert noted(group) == ["n1"]
        entry = group.server.read(keys.incidents_key("")).entry
        assert entry is not None
        (incident,) = incident_record.decode(entry.value, entry.key)
        assert not incident.claim.acknowledged  # the expiry is news, whatever was known before

    scene(story, halt_after=HaltAfter(5), expire_after=3600.0)


async def test_a_group_is_retired_from_v2_only_while_no_machine_holds_a_slot():
    bench = Bench()
    await bench.admin.set_max(3)
    await bench.lock.take(claim("n1"))
    with pytest.raises(LockError, match="held by n1: wait until it is free"):
        await bench.admin.retire()
    assert bench.semaphore() == Semaphore(3, ("n1",))
    await bench.lock.release(claim("n1"))
    assert await bench.admin.retire()
    assert bench.semaphore() == Semaphore(0)


async def test_a_group_that_was_retired_stays_so_and_none_is_made_by_it():
    bench = Bench()
    assert not await bench.admin.retire()
    assert bench.server.read(bench.lock.key).entry is None
    await bench.admin.set_max(0)
    version = bench.server.read(bench.lock.key).version
    assert await bench.admin.retire()
    assert bench.server.read(bench.lock.key).version == version
    await bench.admin.set_max(1)
    assert await bench.admin.retire()
    assert bench.semaphore() == Semaphore(0)


@pytest.mark.parametrize("key", ["", "another/key"])
def test_a_wait_ends_with_a_change_of_the_semaphore_or_of_the_key_that_is_named(key):
    async def story(_loop):
        bench = Bench()
        clock = asyncio.get_running_loop().time
        before = await bench.lock.read()
        waiting = asyncio.ensure_future(bench.lock.wait(before.revision, 60, key))
        await asyncio.sleep(7)
        assert not waiting.done()
        bench.put(b"{}", key or bench.lock.key)
        assert await waiting
        assert clock() == pytest.approx(7, abs=0.1)
        now = bench.server.revision
        assert not await bench.lock.wait(now, 60, key)
        assert clock() == pytest.approx(67, abs=0.1)

    run(story)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("off", HaltAfter(0)),
        ("1", HaltAfter(1)),
        ("20", HaltAfter(20)),
        ("5%", HaltAfter(percent=Decimal(5))),
        ("0.5%", HaltAfter(percent=Decimal("0.5"))),
        ("100%", HaltAfter(percent=Decimal(100))),
    ],
)
def test_how_many_halt_a_group_is_written_as_it_was_configured(text, parsed):
    assert parse_halt_after(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize("text", ["0", "0%", "100.001%", "-1", "1.5", "OFF", ""])
def test_a_number_that_could_never_halt_a_group_is_refused(text):
    with pytest.raises(ValueError, match="must be a number of machines from 1 on"):
        parse_halt_after(text)


def test_the_record_of_incidents_names_the_machine_its_update_and_why():
    claimed = replace(claim("n1"), hostname="web-1", reason="update 1.2.3")
    incident = incident_record.Incident(claimed, "expired", "it was lost, and its slot has expired")
    assert incident_record.encode([incident]) == (
        b'{"schema":1,"incidents":[{"holder":"n1","hostname":"web-1","nonce":"nonce-n1","since":"2026-05-01T02:10:00Z",'
        b'"reason":"update 1.2.3","how":"expired","why":"it was lost, and its slot has expired"}]}'
    )
    assert incident.describe() == "web-1 is expired: it was lost, and its slot has expired"
    assert replace(incident, why="").describe() == "web-1 is expired"


def test_incidents_read_back_with_all_that_is_known_of_their_claims():
    incident = incident_record.Incident(
        Claim("n1", REBOOT, "nonce", NOW, who=DAEMON, hostname="web-1", reason="1.2.3"), "lost"
    )
    assert incident_record.decode(incident_record.encode([incident]), "key") == [incident]
    bare = b'{"schema":1,"incidents":[{"holder":"n1","nonce":"nonce","since":"2026-05-01T02:10:00Z","how":"lost"}]}'
    assert incident_record.decode(bare, "key") == [
        incident_record.Incident(Claim("n1", REBOOT, "nonce", NOW, who=DAEMON), "lost")
    ]
    with pytest.raises(CorruptValueError, match="an incident must be an object"):
        incident_record.decode(b'{"schema":1,"incidents":[7]}', "key")


def test_a_thaw_names_what_it_was_to_end_though_that_is_gone_by_now():
    async def story(group):
        key = keys.freeze_key("")
        await group.orders.freeze(FREEZE)
        first = group.server.read(key).entry
        await group.orders.thaw()
        assert await group.orders._remove(key, "freeze", first) == FREEZE

    scene(story)


def test_an_order_that_cannot_be_read_and_came_meanwhile_stands():
    async def story(group):
        key = keys.freeze_key("")
        await group.orders.freeze(FREEZE)
        first = group.server.read(key).entry
        group.server.put(key, b"rubbish", first.version)
        with pytest.raises(LockError, match="another freeze was ordered meanwhile, which cannot be read; it stays"):
            await group.orders._remove(key, "freeze", first)
        assert group.server.read(key).entry.value == b"rubbish"

    scene(story)


def test_a_presence_has_outlived_its_word_when_it_stood_for_longer_than_that():
    async def story(group):
        admission = group.lock()._admission
        shown = Node("n1", "n1", "boot", "", "etcd-lock", "idle", NOW, written=NOW, lasts=900)
        entry = Entry("key", node.encode(shown), 1, 1, lease=7)
        ages = []
        for seconds in (900, 1):
            ages.append(admission._is_gone("n1", entry))
            await asyncio.sleep(seconds)
        ages += [admission._is_gone("n1", entry)]
        assert ages == [False, False, True]

    scene(story)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (Order("alice", NOW), "by alice since 2026-05-01T02:10:00Z"),
        (Order("", NOW), "by an operator since 2026-05-01T02:10:00Z"),
        (Order("alice", NOW, "it moves"), "by alice since 2026-05-01T02:10:00Z: it moves"),
        (
            Order("alice", NOW, "it moves", NOW + timedelta(hours=1)),
            "by alice since 2026-05-01T02:10:00Z, until 2026-05-01T03:10:00Z: it moves",
        ),
    ],
)
def test_an_order_says_by_whom_since_when_until_when_and_why(order, words):
    assert order.describe() == words


def test_an_order_that_lost_its_race_to_another_is_written_over_that():
    async def story(group):
        key = keys.freeze_key("")
        other = Order("bob", NOW, "not now", nonce="f9")

        async def first() -> None:
            group.server.put(key, order_record.encode(other), 0)

        late = OperatorOrders(Moved(group.store(), first), "", clock=lambda: NOW)
        assert (await late.freeze(FREEZE)).before == other
        entry = group.server.read(key).entry
        assert order_record.decode(entry.value, key, "freeze") == FREEZE

    scene(story)


def test_an_order_is_written_so_that_other_versions_read_it():
    bare = Order("alice", NOW, "it moves")
    written = b'{"schema":1,"who":"alice","since":"2026-05-01T02:10:00Z","reason":"it moves","until":""}'
    assert order_record.encode(bare) == written
    assert order_record.decode(written, "key", "freeze") == bare
    assert order_record.decode(b'{"schema":1,"since":"2026-05-01T02:10:00Z"}', "key", "freeze") == Order("", NOW)
    later = replace(bare, slots=0, nonce="f1", until=NOW, extra={"floor": 2})
    assert order_record.decode(order_record.encode(later), "key", "freeze") == later


def resume(cluster: str = "", *replaces: str) -> Order:
    return Order("alice", NOW, cluster=cluster, replaces=replaces, nonce=f"{cluster} {replaces}")


SAID = [
    # what was said one after another; what stands in the end
    ([resume("b", "a"), resume()], ("b", ("a",))),
    ([resume("b", "a"), resume("c", "b")], ("c", ("b", "a"))),
    ([resume("b", "a"), resume("b", "x")], ("b", ("x", "a"))),
    ([resume("b", "a"), resume("c", "x")], ("c", ("x",))),
    ([resume("b", "a"), resume("a", "b")], ("a", ("b",))),
    ([resume(), resume("b", "a")], ("b", ("a",))),
]


@pytest.mark.parametrize(("said", "stands"), SAID)
def test_a_later_resume_keeps_whose_place_its_cluster_has_taken(said, stands):
    """A machine that was off through two moves still finds its own cluster named; a copy's words count in no other."""

    async def story(group):
        for order in said:
            await group.orders.resume(order)
        entry = group.server.read(keys.resume_key("")).entry
        found = order_record.decode(entry.value, entry.key, order_record.RESTORED)
        assert (found.cluster, found.replaces) == stands

    scene(story)


def test_of_many_clusters_the_last_ones_are_kept():
    async def story(group):
        for number in range(30):
            await group.orders.resume(resume(f"c{number + 1}", f"c{number}"))
        entry = group.server.read(keys.resume_key("")).entry
        found = order_record.decode(entry.value, entry.key, order_record.RESTORED)
        assert found.replaces == tuple(f"c{number}" for number in range(29, 29 - MOST_CLUSTERS, -1))

    scene(story)


@pytest.mark.parametrize("order", ["freeze", "hold"])
async def test_an_order_makes_no_semaphore_of_a_group_without_machines(order):
    bench = Bench()
    orders = OperatorOrders(MemoryStore(bench.server), "")
    done = await (orders.freeze(FREEZE) if order == "freeze" else orders.hold("n1", FREEZE))
    assert done.state.semaphore == Semaphore()
    assert bench.server.read(keys.semaphore_key("")).entry is None


async def test_a_first_take_decided_before_the_freeze_never_commits():
    """Its machine has neither a place nor a presence any more, so no fence was written."""
    bench = Bench()

    async def frozen():
        await OperatorOrders(MemoryStore(bench.server), "").freeze(FREEZE)

    late = RebootLock(Moved(bench.store, frozen), "", clock=lambda: NOW)
    await late.take(claim("n1"))
    with pytest.raises(NotAdmittedError, match="frozen"):
        await late.commit(claim("n1"))


@pytest.mark.parametrize("key", [keys.node_key("", "n1"), keys.waiters_prefix("") + "n1"], ids=["present", "queued"])
async def test_the_first_take_of_a_machine_that_is_there_loses_behind_the_freeze(key):
    bench = Bench()
    bench.put(b"{}", key)

    async def frozen():
        await OperatorOrders(MemoryStore(bench.server), "").freeze(FREEZE)

    with pytest.raises(NotAdmittedError, match="frozen"):
        await RebootLock(Moved(bench.store, frozen), "", clock=lambda: NOW).take(claim("n1"))
    assert bench.semaphore().holders == ()


@pytest.mark.parametrize(
    ("stands", "ordered", "kept"),
    [(None, None, True), (None, 1, True), (2, 1, True), (1, 2, False), (1, None, False)],
    ids=["endless", "longer than an end", "later", "earlier", "earlier than endless"],
)
async def test_a_freeze_of_every_group_shortens_none(stands, ordered, kept):
    bench = Bench()
    orders = OperatorOrders(MemoryStore(bench.server), "")

    def ends(hours):
        return replace(FREEZE, until=hours and NOW + timedelta(hours=hours), nonce=f"{hours}")

    await orders.freeze(ends(stands))
    assert (await orders.freeze(ends(ordered), keep_longer=True)).kept == kept
    assert await orders.thaw() == ends(stands if kept else ordered)


def test_a_hold_of_a_machine_is_an_order_for_its_zincati_until_it_ends():
    machine, client = "1c09ca98649c4c7abc779cd04c96812e", "978a225b3d7b40e9acd7ce9b62f68444"

    async def held(group):
        return [one.key.rpartition("/")[2] for one in (await group.store().list(keys.holds_prefix(""))).entries]

    async def story(group):
        await group.orders.hold(machine, FREEZE)
        assert await held(group) == [machine, client]
        await group.orders.unhold(machine)
        assert await held(group) == []
        await group.orders.hold("web-1", FREEZE)
        assert await held(group) == ["web-1"], "it has no machine-id, so its Zincati is not known"

    scene(story)
