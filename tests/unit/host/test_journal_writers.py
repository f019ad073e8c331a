"""The journal between its two programs: whose a claim is, what its owner may do with it, and how writes fail."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.agent.facts import Boot
from locksmith.agent.journal import TAKEN_OVER, FailedAttempt, Hooks, JournalEntry, Phase, PreRebootState
from locksmith.errors import CorruptValueError, HostError
from locksmith.host import journal as module
from locksmith.host.durable import write_durably
from locksmith.host.flock import locked
from locksmith.host.journal import JournalFile, TakenOverError
from locksmith.host.paths import Paths
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.past import LastReboot

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
CLAIM = Claim("n1", REBOOT, "nonce", NOW, who="alice")
ENTRY = JournalEntry(CLAIM, "etcd-lock", "", 3, (), Phase.REQUESTED, Boot("boot"), "locksmithctl")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "LOCK_LIMIT", 0.05)


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path)


@pytest.fixture
def tool(paths):
    return JournalFile(paths, "n1", by="locksmithctl")


@pytest.fixture
def daemon(paths):
    return JournalFile(paths, "n1")


def test_a_claim_is_owned_by_the_program_that_made_it_and_by_the_daemon(tool, daemon, paths):
    assert not tool.owns("nonce")
    tool.begin(ENTRY)
    assert tool.owns("nonce")
    assert daemon.owns("nonce")
    assert not tool.owns("another")
    assert not JournalFile(paths, "n1", by=DAEMON).owns("nonce")


def test_a_reboot_is_ordered_only_for_a_claim_past_its_point_of_no_return(tool):
    tool.begin(ENTRY)
    with pytest.raises(TakenOverError), tool.holding("nonce"):
        pytest.fail("not committed")
    tool.commit("nonce")
    with pytest.raises(TakenOverError), tool.holding("another"):
        pytest.fail("another's")
    with tool.holding("nonce"):
        pass


def test_while_a_reboot_is_ordered_no_other_program_writes(tool, daemon):
    tool.begin(ENTRY)
    tool.commit("nonce")
    with tool.holding("nonce"), pytest.raises(HostError, match=r"is held by another program for more than 0\.05 s"):
        daemon.clear("nonce")
    assert daemon.failed_writes == 1
    daemon.clear("nonce")
    assert daemon.read().entry is None
    assert daemon.failed_writes == 0


def test_a_claim_that_was_taken_over_can_be_used_by_the_daemon_alone(tool, daemon):
    tool.begin(ENTRY)
    daemon.take_over("nonce", lambda: True)
    assert tool.owns("nonce")
    daemon.take_over("another", lambda: False)
    assert tool.owns("nonce")
    daemon.take_over("nonce", lambda: False)
    assert daemon.read().entry == replace(ENTRY, by=TAKEN_OVER)
    for act in (lambda: tool.commit("nonce"), lambda: tool.hooks("nonce", Hooks.BEGUN)):
        with pytest.raises(TakenOverError, match="the reboot was cancelled"):
            act()
    tool.reopen("nonce")
    tool.report_failure("nonce", "failed", "rolled back")
    tool.fail("nonce", FailedAttempt(NOW, "no"))
    tool.clear("nonce")
    assert daemon.read().entry == replace(ENTRY, by=TAKEN_OVER)
    assert daemon.read().failure is None


def test_a_recheck_keeps_the_claim_and_forgets_what_stood_in_its_way(daemon):
    daemon.begin(ENTRY)
    daemon.fail("nonce", FailedAttempt(NOW, "no"))
    later = NOW + timedelta(hours=1)
    daemon.forgive(later)
    found = daemon.read()
    waiting = replace(ENTRY, claim=replace(ENTRY.claim, rechecked=later))
    assert (found.entry, found.failure, found.done, found.rechecked) == (waiting, None, None, later)
    daemon.clear("nonce")
    assert daemon.read().rechecked == later
    daemon.begin(ENTRY)
    daemon.clear("nonce", done=LastReboot("1.2.3", later))
    assert (daemon.read().rechecked, daemon.read().done) == (None, LastReboot("1.2.3", later))


def test_a_disk_that_takes_nothing_is_counted_until_it_takes_something(daemon, monkeypatch):
    def full(*_args) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_durably", full)
    for failed in (1, 2, 3):
        with pytest.raises(HostError, match="cannot be written: No space left on device"):
            daemon.begin(ENTRY)
        assert daemon.failed_writes == failed
    monkeypatch.setattr(module, "write_durably", write_durably)
    daemon.begin(ENTRY)
    assert daemon.failed_writes == 0


def test_a_lock_that_another_program_keeps_is_a_write_that_failed(daemon, paths):
    path = daemon.path.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, limit=1), pytest.raises(HostError, match="is held by another program"):
        daemon.begin(ENTRY)
    assert daemon.failed_writes == 1
    assert paths.state == path.parent


@pytest.mark.parametrize(
    ("written_on", "read_on", "own"),
    [("board-1", "board-1", True), ("board-1", "board-2", False), ("", "board-2", True), ("board-1", "", True)],
)
def test_a_journal_of_other_hardware_is_another_machines(paths, written_on, read_on, own):
    JournalFile(paths, "n1", written_on).begin(ENTRY)
    reader = JournalFile(paths, "n1", read_on)
    assert (reader.read().entry == ENTRY) is own
    assert reader.path.exists() is own


def test_what_was_taken_first_is_when_a_claim_got_its_slot(daemon):
    daemon.begin(ENTRY)
    daemon.hooks("nonce", Hooks.BEGUN, NOW)
    daemon.hooks("nonce", Hooks.PREPARED, NOW + timedelta(hours=1))
    found = daemon.read().entry
    assert found is not None
    assert (found.hooks, found.claim.taken) == (Hooks.PREPARED, NOW)


def bare(journal: JournalFile, *places: tuple[str, ...]) -> None:
    """Take fields out of the file, which an earlier version did not write."""
    fields = json.loads(journal.path.read_text())
    for *where, name in places:
        inner = fields
        for one in where:
            inner = inner[one]
        del inner[name]
    journal.path.write_text(json.dumps(fields))


def test_a_journal_of_an_earlier_version_is_read_without_what_that_did_not_write(daemon, paths):
    daemon.begin(replace(ENTRY, before=PreRebootState("kernel", "flatcar", ("a.service",), "6.1"), hooks=Hooks.BEGUN))
    daemon.fail("nonce", FailedAttempt(NOW, "no", "6.1", 3))
    bare(
        daemon,
        ("hardware",),
        ("rechecked",),
        ("entry", "holder"),
        ("entry", "hooks"),
        ("entry", "before"),
        ("failure", "version"),
        ("failure", "tries"),
    )
    found = JournalFile(paths, "n1").read()
    assert (found.entry, found.failure, found.rechecked) == (ENTRY, FailedAttempt(NOW, "no", "", 1), None)


def test_how_a_machine_was_before_is_read_as_far_as_it_stands_there(daemon, paths):
    daemon.begin(replace(ENTRY, before=PreRebootState("kernel", "flatcar", ("a.service",), "6.1")))
    bare(daemon, *(("entry", "before", name) for name in ("trigger", "system", "failed_units", "version")))
    assert JournalFile(paths, "n1").read().entry == ENTRY


@pytest.mark.parametrize("where", ["done", "failure"])
def test_a_moment_that_is_none_is_named(daemon, paths, where):
    daemon.begin(ENTRY)
    daemon.fail("nonce", FailedAttempt(NOW, "no"))
    if where == "done":
        daemon.clear("nonce", done=LastReboot("6.1", NOW))
    fields = json.loads(daemon.path.read_text())
    fields[where]["at"] = "yesterday"
    daemon.path.write_text(json.dumps(fields))
    with pytest.raises(CorruptValueError, match="'at'"):
        JournalFile(paths, "n1").read()


def test_a_journal_that_names_no_hardware_is_this_machines(paths):
    """An earlier version did not write it: a claim must survive the upgrade."""
    JournalFile(paths, "n1").begin(ENTRY)
    reader = JournalFile(paths, "n1", "board-1")
    bare(reader, ("hardware",))
    assert reader.read().entry == ENTRY
