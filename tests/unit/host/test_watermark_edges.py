"""What a machine has seen of the store, where answers, orders and programs of it meet."""

import json
from datetime import timedelta
from typing import Any

import pytest

from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.host.seen import Seen
from locksmith.host.watermark import SeenRevision
from locksmith.lock.records.order import Order
from locksmith.store.cluster import ForeignError
from locksmith.store.protocol import Entry, Fingerprint, Known, Position
from locksmith.util import records
from tests.builders.watermarks import LATER, NOW, Clock, Gauge, hears, make

SEEN = Entry("key", b"seen", 5, 1)


def follows(mark: SeenRevision, entry: Entry, *, part: bool | None = None, known: Known | None = None) -> None:
    mark.followed(entry, known or mark.sending(), part=part)


def of_disk(mark: SeenRevision) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mark.path.read_text())
    return found


def test_a_mark_belongs_to_one_store(tmp_path):
    mark = make(tmp_path)
    assert mark.is_of(3, ["http://a"])
    assert not mark.is_of(2, ["http://a"])
    assert not mark.is_of(3, ["http://b"])


def test_what_was_sent_before_an_operators_word_accuses_no_store_after_it(tmp_path):
    clock = Clock()
    mark = make(tmp_path, clock=clock)
    early: list[Known] = []
    for _ in range(3):
        follows(mark, SEEN)
        early.append(mark.sending())
        hears(mark, 9)
        hears(mark, 1)
        assert mark.verdict
        clock.now += timedelta(minutes=1)
        assert mark.went_back(clock.now) == ""
        for known in early:
            follows(mark, SEEN, part=False, known=known)
        assert not mark.verdict
        clock.now += timedelta(minutes=1)


def test_the_newest_entry_of_the_key_that_is_asked_for_counts(tmp_path):
    mark = make(tmp_path)
    follows(mark, SEEN)
    follows(mark, Entry("key", b"older", 4, 1))
    assert mark.sending().entry == Fingerprint.of(SEEN)
    newer, another = Entry("key", b"newer", 6, 1), Entry("of another group", b"", 3, 1)
    follows(mark, newer)
    assert mark.sending().entry == Fingerprint.of(newer)
    follows(mark, another)
    assert mark.sending().entry == Fingerprint.of(another)


def test_a_resume_counts_that_came_after_the_entry_was_first_seen(tmp_path):
    clock = Clock()
    mark = make(tmp_path, clock=clock)
    follows(mark, SEEN)
    clock.now = LATER
    follows(mark, SEEN)
    follows(mark, SEEN, part=False)
    assert mark.verdict
    assert mark.went_back(NOW + timedelta(seconds=30)) == ""


def test_a_resume_is_written_down_once_and_not_forgotten(tmp_path):
    written = []

    class Counting(SeenRevision):
        def _store_raw(self, raw: bytes) -> None:
            written.append(raw)
            super()._store_raw(raw)

    mark = make(tmp_path)
    mark.__class__ = Counting
    for _ in range(3):
        mark.went_back(NOW)
    assert len(written) == 1
    assert of_disk(mark)["resumed"] == records.moment(NOW)
    mark.went_back(None)
    assert of_disk(mark)["resumed"] == records.moment(NOW)


def test_a_verdict_reaches_a_disk_that_takes_something_again(tmp_path, monkeypatch):
    mark = make(tmp_path)
    hears(mark, 9)
    mark.keep()

    def full(_raw: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mark, "_store_raw", full)
    hears(mark, 8)
    assert of_disk(mark)["back"] == ""
    monkeypatch.undo()
    assert mark.went_back(None)
    assert of_disk(mark)["back"] == records.moment(NOW)


def test_a_resume_of_the_very_second_of_another_programs_verdict_does_not_end_that(tmp_path):
    daemon, tool = make(tmp_path), make(tmp_path)
    hears(daemon, 9)
    hears(daemon, 8)
    assert tool.went_back(NOW)
    assert make(tmp_path).verdict


def test_a_disk_that_cannot_be_written_is_an_error_where_something_is_to_be_kept(tmp_path, monkeypatch):
    mark = make(tmp_path)
    hears(mark, 9)

    def full(_raw: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mark, "_store_raw", full)
    with pytest.raises(HostError, match="cannot be written: No space left on device"):
        mark.keep()


def test_after_an_operators_word_the_store_counts_from_what_it_said_last(tmp_path):
    mark = make(tmp_path)
    for revision in (30, 8, 20):
        hears(mark, revision)
    assert mark.went_back(LATER) == ""
    assert mark.sending().revision == 20
    hears(mark, 19)
    assert mark.verdict


def test_an_answer_with_nothing_new_keeps_the_time_at_which_the_revision_was_seen(tmp_path):
    clock = Clock()
    mark = make(tmp_path, clock=clock)
    hears(mark, 9, cluster="1")
    clock.now = LATER
    hears(mark, 9, cluster="1")
    hears(mark, 8, cluster="1")
    assert mark.verdict
    assert mark.went_back(NOW + timedelta(seconds=30)) == ""


def test_a_reader_that_keeps_nothing_believes_an_operators_word_too(tmp_path):
    reader = make(tmp_path, keeps=False)
    hears(reader, 9)
    hears(reader, 8)
    assert reader.went_back(LATER) == ""
    assert not reader.verdict


def test_the_metric_shows_the_verdict_of_another_program(tmp_path):
    gauge = Gauge()
    tool = make(tmp_path, meter=gauge)
    daemon = make(tmp_path)
    hears(daemon, 9)
    hears(daemon, 8)
    gauge.values.clear()
    hears(tool, 9)
    tool.keep()
    assert tool.verdict
    assert gauge.values == [True]


def test_what_stands_in_the_file_is_read_by_other_versions_too(tmp_path):
    mark = make(tmp_path)
    hears(mark, 9, cluster="1")
    follows(mark, SEEN)
    mark.went_back(NOW)
    hears(mark, 8, cluster="1")
    assert of_disk(mark) == {
        "schema": 1,
        "store": "3 http://a",
        "revision": 9,
        "resumed": "2026-05-01T02:10:00Z",
        "at": "2026-05-01T02:10:00Z",
        "cluster_id": "",
        "cluster_at": "",
        "entry": {"key": "key", "version": 5, "digest": Fingerprint.of(SEEN).digest},
        "entry_at": "2026-05-01T02:10:00Z",
        "back": "2026-05-01T02:10:00Z",
        "why": "its revision is 8, and was 9",
    }
    again = make(tmp_path)
    assert again._seen == mark._seen


def test_a_file_of_an_earlier_version_says_nothing_of_a_cluster_an_entry_or_why(tmp_path):
    mark = make(tmp_path)
    mark.path.parent.mkdir(parents=True, exist_ok=True)
    mark.path.write_text('{"schema":1,"store":"3 http://a","revision":7}')
    assert make(tmp_path)._seen == Seen(7)


def test_a_mark_knows_whether_its_machine_remembers_an_endpoint(tmp_path):
    hears(mark := make(tmp_path), 9)
    mark.keep()
    seen = SeenRevision(Paths(tmp_path), 3, ["http://b"])
    assert seen.shares(["http://b", "http://a"])
    assert not seen.shares(["http://b"])
    assert not make(tmp_path / "new").shares(["http://a"])


def test_a_store_is_silent_until_it_gives_an_answer_that_counts(tmp_path):
    mark = make(tmp_path)
    assert mark.is_silent(3, ["http://a"])
    assert not mark.is_silent(3, ["http://b"])
    hears(mark, 9)
    assert not mark.is_silent(3, ["http://a"])
    assert not mark.is_silent(3, ["http://b"])


async def test_a_cluster_that_takes_the_place_of_one_that_went_back_is_believed(tmp_path):
    gauge = Gauge()
    mark = make(tmp_path, meter=gauge)
    mark.clusters.heard("http://a", "a1")
    hears(mark, 9, cluster="a1")
    hears(mark, 8, cluster="a1")
    assert gauge.values[-1]
    early = mark.sending()
    assert mark.succeed(Position(5, "b2"), Order("alice", LATER, cluster="b2", replaces=("a1",)))
    assert not gauge.values[-1]
    first = mark.sending()
    assert mark.succeed(Position(3, "c3"), Order("alice", LATER, cluster="c3", replaces=("b2",)))
    for known in (early, first):
        hears(mark, 1, known, cluster="c3")
    assert not mark.verdict, "what was sent to an earlier cluster says nothing of this one"
    assert mark.sending().revision == 3


async def test_another_cluster_is_shown_for_as_long_as_an_endpoint_belongs_to_it(tmp_path):
    class Others(Gauge):
        def other_cluster(self, *, seen):
            shown.append(seen)

    shown: list[bool] = []
    mark = make(tmp_path, meter=Others())
    mark.clusters.heard("http://a", "a1")
    with pytest.raises(ForeignError):
        mark.clusters.heard("http://b", "b2")
    assert shown[-1]
    mark.clusters.heard("http://b", "a1")
    assert not shown[-1]


async def test_the_endpoint_that_named_the_cluster_last_is_remembered(tmp_path):
    mark = make(tmp_path)
    mark.clusters.heard("http://a", "a1")
    assert of_disk(mark)["cluster_at"] == "http://a"
    mark.clusters.heard("http://b", "a1")
    hears(mark, 9, cluster="a1")
    mark.keep()
    assert of_disk(mark)["cluster_at"] == "http://b"
    for api in (2, 3):
        assert SeenRevision(Paths(tmp_path), api, ["http://a"]).clusters.at == "http://b"


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_daemon_goes_on_in_its_own_cluster_and_a_mere_reader_refuses_both(tmp_path, keeps):
    assert make(tmp_path, keeps=keeps).clusters.strict != keeps


@pytest.mark.parametrize(
    ("slot", "heard", "asked"), [(True, False, 1), (False, False, 0), (False, True, 1), (True, True, 1)]
)
def test_a_place_may_be_written_before_the_store_has_answered_and_a_slot_may_not(tmp_path, slot, heard, asked):
    mark, asks = make(tmp_path), []
    mark.asks = lambda: asks.append(1)
    if heard:
        hears(mark, 9)
    mark.asking(slot=slot)
    assert len(asks) == asked


def test_a_write_of_the_semaphore_counts_as_one_of_a_slot(tmp_path):
    mark, asks = make(tmp_path), []
    mark.asks = lambda: asks.append(1)
    mark.asking()
    assert asks == [1]
