"""What a machine has seen of the store: how it learns that the store went back, and how long it knows."""

import asyncio
import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.daemon.checked_presence import CHECK_AFTER, RESUME_AFTER, CheckedPresence
from locksmith.daemon.store_check import check
from locksmith.errors import ConflictError, HostError, StoreUnavailableError
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock.presence import Presence
from locksmith.lock.records import keys, node, states
from locksmith.lock.records import order as order_record
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import RESTORED, Order
from locksmith.store.cluster import ForeignError
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.observed import KINDS
from locksmith.store.protocol import Check, Entering, Fingerprint, Position, Put
from locksmith.store.remembering import RememberingStore
from tests.builders.watermarks import LATER, NOW, Clock, Gauge, hears, make
from tests.harness.remembered import remembered
from tests.sim.virtual_time import run

KEY = keys.semaphore_key("")
RESUME = keys.resume_key("")


def in_loop(act):
    """Do what needs the clock of a loop."""

    async def main(_loop):
        return act()

    return run(main)


@pytest.fixture
def mark(tmp_path):
    return make(tmp_path)


def test_a_lower_revision_than_was_known_at_the_sending_is_a_store_that_went_back(mark):
    hears(mark, 9)
    hears(mark, 9)
    assert not mark.verdict
    hears(mark, 8)
    assert "its revision is 8, and was 9; so it is unknown which machines are down" in mark.verdict


def test_an_answer_that_another_has_overtaken_is_no_store_that_went_back(mark):
    early = mark.sending()
    hears(mark, 9)
    hears(mark, 5, early)
    assert not mark.verdict
    hears(mark, 9)
    assert not mark.verdict, "nor does it lower what is known"
    hears(mark, 8)
    assert mark.verdict


def test_a_member_that_lags_accuses_no_store_but_what_it_knows_counts(mark):
    hears(mark, 9)
    hears(mark, 7, linearizable=False)
    assert not mark.verdict
    hears(mark, 12, linearizable=False)
    hears(mark, 11)
    assert mark.verdict


def test_an_answer_of_another_cluster_says_nothing_of_the_store(mark):
    in_loop(lambda: mark.clusters.heard("http://a", "a1"))
    hears(mark, 9, cluster="a1")
    for revision in (900, 8):
        hears(mark, revision, cluster="b2")
    assert not mark.verdict
    hears(mark, 10, cluster="a1")
    hears(mark, 9, cluster="a1")
    assert mark.verdict


@pytest.mark.parametrize(
    ("store", "cluster"), [("3 http://a", "14841639068965178418"), ("2 http://a", "cdf818194e3a8c32")]
)
@pytest.mark.parametrize("api", [2, 3])
def test_a_file_of_an_earlier_version_has_the_cluster_as_its_api_writes_it(mark, tmp_path, store, cluster, api):
    """And v2 and v3 of one etcd are one cluster, though they count their revisions apart."""
    fields = {"schema": 1, "store": store, "revision": 7, "resumed": "", "at": "2026-05-01T02:00:00Z"}
    mark.path.parent.mkdir(parents=True)
    mark.path.write_text(json.dumps({**fields, "cluster": cluster}))
    found = SeenRevision(Paths(tmp_path), api, ["http://a"])
    assert found.clusters.own == "cdf818194e3a8c32"
    assert found.sending().revision == (7 if store.startswith(str(api)) else 0)


def test_a_file_of_an_earlier_version_that_knows_no_cluster_learns_it(mark, tmp_path):
    mark.path.parent.mkdir(parents=True)
    mark.path.write_text(json.dumps({"schema": 1, "store": "3 http://a", "revision": 7, "cluster": ""}))
    mark = make(tmp_path)
    in_loop(lambda: mark.clusters.heard("http://a", "a1"))
    assert make(tmp_path).clusters.own == "a1", "it is written down at once"


def test_the_cluster_that_another_program_of_this_machine_has_seen_first_counts(tmp_path):
    daemon, tool = make(tmp_path), make(tmp_path)
    in_loop(lambda: daemon.clusters.heard("http://a", "a1"))
    with pytest.raises(ForeignError):
        in_loop(lambda: tool.clusters.heard("http://b", "b2"))
    assert (tool.clusters.own, make(tmp_path).clusters.own) == ("a1", "a1")


def test_a_claim_is_of_the_cluster_that_its_endpoints_belong_to(mark):
    in_loop(lambda: mark.clusters.heard("http://a", "a1"))
    assert mark.cluster_of(3, ["http://a"]) == "a1"
    assert mark.cluster_of(3, ["http://b"]) == mark.cluster_of(2, ["http://a"]) == ""


WORDS = [
    # where it was said, what it replaces; whether it ends the time of a1, where b2 answers
    ("b2", ("a1",), True),
    ("b2", ("c3", "a1"), True),
    ("b2", (), False),
    ("", ("a1",), False),
    ("b2", ("c3",), False),
    ("a1", ("a1",), False),
    ("c3", ("a1",), False),
]


@pytest.mark.parametrize(("where", "replaces", "counts"), WORDS)
def test_a_resume_counts_that_names_the_cluster_and_the_one_before(tmp_path, where, replaces, counts):
    gauge = Gauge()
    mark = make(tmp_path, meter=gauge)
    in_loop(lambda: mark.clusters.heard("http://a", "a1"))
    hears(mark, 900, cluster="a1")
    early = mark.sending()
    # Its time decides nothing: an old one of such words counts too.
    order = Order("alice", NOW - timedelta(days=9), cluster=where, replaces=replaces)
    assert mark.succeed(Position(5, "b2"), order) is counts
    assert mark.clusters.own == ("b2" if counts else "a1")
    assert make(tmp_path).clusters.own == ("b2" if counts else "a1")
    if counts:
        hears(mark, 1, early, cluster="b2")
        hears(mark, 5, cluster="b2")
        assert not mark.verdict
        hears(mark, 4, cluster="b2")
        assert mark.verdict


def test_no_cluster_takes_the_place_of_none(mark):
    assert not mark.succeed(Position(5, "b2"), Order("alice", NOW, cluster="b2", replaces=("a1",)))


def test_a_succession_that_is_not_written_down_changes_nothing(mark, monkeypatch):
    in_loop(lambda: mark.clusters.heard("http://a", "a1"))

    def full(_raw):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mark, "_store_raw", full)
    with pytest.raises(HostError):
        mark.succeed(Position(5, "b2"), Order("alice", NOW, cluster="b2", replaces=("a1",)))
    assert mark.clusters.own == "a1"


def test_another_list_of_endpoints_is_the_same_store_where_the_cluster_is(tmp_path):
    mark = make(tmp_path)
    in_loop(lambda: mark.clusters.heard("http://a", "a1"))
    hears(mark, 9, cluster="a1")
    mark.keep()
    mark = SeenRevision(Paths(tmp_path), 3, ["http://a", "http://b"])
    hears(mark, 8, cluster="a1")
    assert mark.verdict


def test_a_mark_without_a_cluster_belongs_to_its_endpoints(tmp_path):
    hears(mark := make(tmp_path), 9)
    mark.keep()
    assert make(tmp_path).is_known
    assert not SeenRevision(Paths(tmp_path), 3, ["http://b"]).is_known


def test_the_verdict_outlives_the_daemon_and_the_growth_of_the_store(mark, tmp_path, caplog):
    hears(mark, 9)
    mark.keep()
    hears(mark, 8)
    with caplog.at_level(logging.WARNING):
        for revision in (8, 9, 10, 5000):
            hears(mark, revision)
            again = make(tmp_path)
            hears(again, 5000)
            assert mark.went_back(None)
            assert again.went_back(None)
    assert len(caplog.records) == 1, "it is logged once, when the store was seen to have gone back"


def test_only_a_resume_after_what_was_seen_last_ends_the_verdict(mark, tmp_path):
    hears(mark, 9)
    hears(mark, 8)
    assert mark.went_back(None)
    assert mark.went_back(NOW), "of that very second"
    assert mark.went_back(NOW - timedelta(days=1)), "the backup may have it"
    assert not mark.went_back(LATER)
    assert not make(tmp_path).went_back(LATER)
    hears(mark, 8)
    assert not mark.verdict, "it counts from there"
    hears(mark, 7)
    assert mark.went_back(LATER), "a second time takes a second word"


def test_a_resume_before_this_machine_saw_it_counts_too(tmp_path):
    """It was off when the backup was restored and the operator said `resume`."""
    clock = Clock()
    mark = make(tmp_path, clock=clock)
    hears(mark, 9)
    clock.now = NOW + timedelta(hours=5)
    hears(mark, 4)
    assert mark.verdict
    assert not mark.went_back(NOW + timedelta(hours=1))


def test_an_answer_sent_before_the_resume_says_nothing_of_what_follows(mark):
    hears(mark, 900)
    early = mark.sending()
    hears(mark, 8)
    assert not mark.went_back(LATER)
    hears(mark, 9, early)
    assert not mark.verdict
    hears(mark, 1000, early)
    hears(mark, 10)
    assert not mark.verdict


def test_a_disk_that_takes_nothing_hides_no_verdict(tmp_path):
    (tmp_path / "var").write_text("a file where a folder should be")
    mark = make(tmp_path)
    hears(mark, 9)
    hears(mark, 8)
    assert mark.went_back(None)
    with pytest.raises(HostError, match=r"seen\.json cannot be written"):
        mark.went_back(LATER)
    assert mark.verdict, "a resume that cannot be written down ends nothing"
    (tmp_path / "var").unlink()
    hears(mark, 12)
    assert make(tmp_path).verdict, "it is written as soon as it can be"
    assert not mark.went_back(LATER)


def test_the_verdict_of_another_program_of_this_machine_is_kept(tmp_path):
    daemon, tool = make(tmp_path), make(tmp_path)
    for mark in (daemon, tool):
        hears(mark, 9)
        mark.keep()
    hears(tool, 8)
    hears(daemon, 12)
    daemon.keep()
    assert daemon.went_back(None)
    assert make(tmp_path).verdict
    assert not daemon.went_back(LATER)
    hears(daemon, 13)
    daemon.keep()
    assert not make(tmp_path).verdict


def test_a_reader_that_keeps_nothing_writes_nothing(tmp_path):
    hears(kept := make(tmp_path), 9)
    kept.keep()
    before = kept.path.read_bytes()
    reader = make(tmp_path, keeps=False)
    assert reader.is_known
    hears(reader, 8)
    assert reader.went_back(None)
    assert kept.path.read_bytes() == before
    assert not make(tmp_path / "another", keeps=False).is_known


def test_a_metric_shows_it_from_the_start_on(tmp_path):
    gauge = Gauge()
    mark = make(tmp_path, meter=gauge)
    hears(mark, 9)
    hears(mark, 8)
    hears(mark, 8)
    assert gauge.values == [False, True]
    gauge = Gauge()
    make(tmp_path, meter=gauge).went_back(LATER)
    assert gauge.values == [True, False]


class Fleet:
    """A store that others write to as well, and a machine that remembers."""

    def __init__(self, folder, **more):
        self.server = MemoryServer()
        self.folder = folder
        self.mark = make(folder, **more)
        self.store = remembered(self.server, self.mark)

    async def traffic(self, writes):
        store = MemoryStore(self.server)
        for number in range(writes):
            await store.create(f"elsewhere/{self.server.revision}", str(number).encode())

    async def resume(self, moment):
        store = MemoryStore(self.server)
        reading = await store.get(RESUME)
        await store.swap(RESUME, order_record.encode(Order("alice", moment)), reading.version)

    async def restart(self):
        self.mark.keep()
        self.mark = make(self.folder)
        self.store = remembered(self.server, self.mark)


def play(story, folder, **more):
    async def main(_loop):
        await story(Fleet(folder, **more))

    run(main)


def test_a_store_that_grew_past_all_that_was_seen_is_found_by_its_history(tmp_path):
    async def story(fleet):
        made = await fleet.store.create(KEY, b"one")
        backup = fleet.server.backup()
        await fleet.store.swap(KEY, b"two", made.version)
        assert not await check(fleet.store, "", fleet.mark)
        await fleet.restart()
        fleet.server.restore(backup)
        await fleet.traffic(50)
        assert not fleet.mark.verdict
        said = await check(fleet.store, "", fleet.mark)
        assert f"its history has no {KEY} of revision 3 as this machine saw it" in said

    play(story, tmp_path)


def test_a_resume_counts_that_came_before_the_history_was_asked_for(tmp_path):
    """The machine had taken the progress of the new history for that of the old one, after the operator's word."""
    clock = Clock()

    async def story(fleet):
        made = await fleet.store.create(KEY, b"one")
        backup = fleet.server.backup()
        await fleet.store.swap(KEY, b"two", made.version)
        fleet.server.restore(backup)
        await fleet.traffic(50)
        await fleet.resume(NOW + timedelta(minutes=5))
        clock.now = NOW + timedelta(minutes=10)
        await fleet.store.get("elsewhere/none")
        clock.now = NOW + timedelta(minutes=15)
        assert not await check(fleet.store, "", fleet.mark)
        assert "its history has no" not in fleet.mark.verdict

    play(story, tmp_path, clock=clock)


def test_what_was_read_in_the_new_history_hides_no_old_one(tmp_path):
    async def story(fleet):
        made = await fleet.store.create(KEY, b"one")
        await check(fleet.store, "", fleet.mark)
        backup = fleet.server.backup()
        await fleet.store.swap(KEY, b"two", made.version)
        await check(fleet.store, "", fleet.mark)
        fleet.server.restore(backup)
        await fleet.traffic(50)
        await MemoryStore(fleet.server).swap(KEY, b"three", made.version)
        assert (await fleet.store.get(KEY)).entry.value == b"three"
        assert await check(fleet.store, "", fleet.mark)

    play(story, tmp_path)


def test_a_machine_of_another_group_by_now_asks_for_what_it_saw_in_the_first(tmp_path):
    async def story(fleet):
        other = keys.semaphore_key("other")
        await MemoryStore(fleet.server).create(other, b"one")
        made = await fleet.store.create(KEY, b"one")
        backup = fleet.server.backup()
        await fleet.store.swap(KEY, b"two", made.version)
        await check(fleet.store, "", fleet.mark)
        moved = RememberingStore(MemoryStore(fleet.server, None, fleet.mark), fleet.mark, other)
        assert not await check(moved, "other", fleet.mark)
        await fleet.restart()
        assert not await check(fleet.store, "", fleet.mark)
        fleet.server.restore(backup)
        await fleet.traffic(50)
        moved = RememberingStore(MemoryStore(fleet.server, None, fleet.mark), fleet.mark, other)
        assert await check(moved, "other", fleet.mark)

    play(story, tmp_path)


def test_a_history_that_goes_on_is_no_other_one_compacted_or_not(tmp_path):
    async def story(fleet):
        version = 0
        for value in (b"one", b"two", b"three", b"four"):
            version = (await MemoryStore(fleet.server).swap(KEY, value, version)).version
            await fleet.traffic(3)
            for _ in range(2):
                assert not await check(fleet.store, "", fleet.mark)
            fleet.server.compact()
            assert not await check(fleet.store, "", fleet.mark)
            await fleet.restart()

    play(story, tmp_path)


def test_compacted_and_changed_since_a_store_can_no_longer_tell(tmp_path):
    """What stands in docs/safety.md as not noticed."""

    async def story(fleet):
        made = await fleet.store.create(KEY, b"one")
        backup = fleet.server.backup()
        await fleet.store.swap(KEY, b"two", made.version)
        await check(fleet.store, "", fleet.mark)
        fleet.server.restore(backup)
        await fleet.traffic(50)
        fleet.server.compact()
        assert await fleet.store.knows(Fingerprint(KEY, 3, "")) is False, "its version went back"
        await MemoryStore(fleet.server).swap(KEY, b"three", made.version)
        assert await fleet.store.knows(Fingerprint(KEY, 3, "")) is None
        assert not await check(fleet.store, "", fleet.mark)

    play(story, tmp_path)


class Shown(Presence):
    """A presence that notes what it is to show."""

    def __init__(self, store):
        super().__init__(store, "", "n1")
        self.shown = []

    async def show(self, now):
        self.shown.append((now.state, now.code, now.reason))
        await super().show(now)


IDLE = Node("n1", "n1", "boot", "", "etcd-lock", states.IDLE, NOW)


def test_an_idle_machine_finds_out_shows_it_and_goes_on_after_a_resume(tmp_path):
    async def story(fleet):
        made = await fleet.store.create(KEY, b"one")
        backup = fleet.server.backup()
        await fleet.store.swap(KEY, b"two", made.version)
        inner = Shown(fleet.store)
        presence = CheckedPresence(inner, fleet.store, "", fleet.mark)
        await presence.show(IDLE)
        assert inner.shown[-1] == (states.IDLE, "", "")
        fleet.server.restore(backup)
        await fleet.traffic(50)
        await asyncio.sleep(CHECK_AFTER)
        await presence.show(IDLE)
        assert inner.shown[-1] == (states.IDLE, RESTORED, fleet.mark.verdict)
        shown = (await MemoryStore(fleet.server).get(keys.node_key("", "n1"))).entry
        assert shown is not None
        assert node.decode(shown.value, "", "n1").code == RESTORED
        await presence.show(replace(IDLE, state=states.REBOOTING))
        assert inner.shown[-1] == (states.REBOOTING, "", ""), "what is on its way is shown as it is"

        await fleet.resume(LATER)
        await asyncio.sleep(RESUME_AFTER)
        await presence.show(IDLE)
        assert inner.shown[-1] == (states.IDLE, "", "")
        await presence.close()

    play(story, tmp_path)


class Unreadable(MemoryStore):
    """A store that is full: it takes keep-alives, and refuses transactions that only read."""

    async def read(self, keys):  # noqa: ARG002 - whatever the keys
        raise StoreUnavailableError("its database is full")


def test_a_check_that_fails_keeps_no_machine_from_its_presence(tmp_path):
    async def story(fleet):
        store = Unreadable(fleet.server, None, fleet.mark)
        presence = CheckedPresence(Shown(store), store, "", fleet.mark)
        await presence.show(IDLE)
        for _ in range(10):
            await asyncio.sleep(300)
            await presence.show(IDLE)
        assert (await fleet.store.get(keys.node_key("", "n1"))).entry is not None

    play(story, tmp_path)


def test_a_resume_that_cannot_be_read_keeps_no_machine_from_its_presence(tmp_path):
    async def story(fleet):
        fleet.server.commit([Put(RESUME, b"rubbish", 0)])
        presence = CheckedPresence(Shown(fleet.store), fleet.store, "", fleet.mark)
        await presence.show(IDLE)
        assert (await fleet.store.get(keys.node_key("", "n1"))).entry is not None

    play(story, tmp_path)


def _entering(revision):
    return Entering(Put("g/b", b"", 0), Put("g/t", str(revision).encode(), 0), Check("g/c", 0), "g/")


CALLS = {
    "get": lambda store, _made, _leased: store.get("g/a"),
    "read": lambda store, _made, _leased: store.read(["g/a"]),
    "list": lambda store, _made, _leased: store.list("g/"),
    "count": lambda store, _made, _leased: store.count("g/"),
    "folders": lambda store, _made, _leased: store.folders("g/"),
    "create": lambda store, _made, _leased: store.create("g/b", b""),
    "range": lambda store, _made, _leased: store.range("g/a", "g/b"),
    "lend": lambda store, _made, _leased: store.lend(60),
    "enter": lambda store, _made, _leased: store.enter(_entering, ttl=60),
    "rejoin": lambda store, made, leased: store.rejoin(leased, b"2", made, ttl=60),
    "swap": lambda store, made, _leased: store.swap("g/a", b"2", made.version),
    "delete": lambda store, made, _leased: store.delete("g/a", made.version),
    "update": lambda store, _made, leased: store.update(leased, b"2", 60),
    "replace": lambda store, _made, leased: store.replace(leased, b"2", 60),
    "renew": lambda store, _made, leased: store.renew(leased, 60),
    "revoke": lambda store, _made, leased: store.revoke(leased),
    "knows": lambda store, made, _leased: store.knows(Fingerprint.of(made)),
    "wait": lambda store, _made, _leased: store.wait("g/", 0, prefix=True, limit=1),
}


def test_the_table_has_every_call():
    assert {*CALLS} == {*KINDS}


@pytest.mark.parametrize("name", CALLS)
def test_every_answer_of_a_store_that_went_back_is_noticed(name, tmp_path):
    async def story(fleet):
        made = await fleet.store.create("g/a", b"1")
        leased = await fleet.store.create("g/leased", b"1", ttl=60)
        hears(fleet.mark, 1000)
        await CALLS[name](fleet.store, made, leased)
        assert fleet.mark.verdict

    play(story, tmp_path)


def test_a_write_that_loses_its_race_is_an_answer_too(tmp_path):
    async def story(fleet):
        hears(fleet.mark, 1000)
        with pytest.raises(ConflictError):
            await fleet.store.swap("g/a", b"2", 77)
        assert fleet.mark.verdict

    play(story, tmp_path)
