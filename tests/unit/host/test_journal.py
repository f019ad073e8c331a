"""The machine's memory, in real files."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.agent.journal import Journal, Phase
from locksmith.errors import CorruptValueError, HostError
from locksmith.host import journal as module
from locksmith.host import journal_json
from locksmith.host.journal import JournalFile, TakenOverError
from locksmith.host.operator_lock import OperatorLock
from locksmith.host.paths import Paths
from locksmith.lock.records.past import LastReboot
from tests.builders.journals import FAILURE, ME, SINCE, again, committed, entry

LIMIT = 20.0


@pytest.fixture
def paths(tmp_path) -> Paths:
    return Paths(tmp_path)


@pytest.fixture
def journal(paths) -> JournalFile:
    return JournalFile(paths, ME)


def yes() -> bool:
    return True


def test_a_machine_without_a_journal_remembers_nothing_and_reading_makes_no_file(journal, paths):
    assert journal.read() == Journal()
    assert not paths.state.exists()


def test_the_next_process_finds_a_claim_with_everything_needed_to_release_it(journal):
    journal.begin(entry())
    assert again(journal) == Journal(entry())


def test_beginning_the_same_claim_again_writes_nothing(journal):
    journal.begin(entry())
    journal.commit("a")
    before = journal.path.stat().st_ino
    journal.begin(entry())
    assert journal.path.stat().st_ino == before
    assert again(journal).entry == committed(entry())


def test_beginning_over_another_claim_is_refused_and_says_whose_it_is(journal):
    journal.begin(entry(by="locksmithctl"))
    with pytest.raises(HostError, match=r"locksmithctl has a claim on the lock .* since 2026-05-01T02:10:00Z"):
        journal.begin(entry("b"))
    assert again(journal).entry == entry(by="locksmithctl")


def test_the_point_of_no_return_is_written_in_phase_and_claim_and_can_be_taken_back(journal):
    journal.begin(entry())
    journal.commit("a")
    assert again(journal).entry == committed(entry())
    journal.reopen("a")
    reopened = replace(entry(), claim=replace(entry().claim, commits=1))
    assert again(journal).entry == reopened


@pytest.mark.parametrize("found", [None, "b"])
def test_a_claim_that_is_gone_is_not_committed_reopened_cleared_or_failed(journal, found):
    if found:
        journal.begin(entry(found))
    with pytest.raises(TakenOverError):
        journal.commit("a")
    journal.reopen("a")
    journal.fail("a", FAILURE)
    journal.clear("a")
    assert again(journal) == Journal(entry(found) if found else None)


def test_a_failure_stays_with_the_claim_and_after_it_until_a_reboot_worked(journal):
    journal.begin(entry())
    journal.fail("a", FAILURE)
    assert again(journal) == Journal(entry(), FAILURE)
    journal.clear("a")
    assert again(journal) == Journal(None, FAILURE)
    journal.begin(entry("b"))
    assert again(journal) == Journal(entry("b"), FAILURE)
    journal.clear("b", done=LastReboot("1.2.3", SINCE))
    assert again(journal) == Journal(done=LastReboot("1.2.3", SINCE))
    journal.forgive(SINCE)
    assert again(journal) == Journal(rechecked=SINCE)


def test_calling_off_is_possible_until_the_point_of_no_return_only(journal):
    assert journal.unless_committed("boot-1", yes)
    journal.begin(entry())
    assert journal.unless_committed("boot-1", yes)
    assert not journal.unless_committed("boot-1", lambda: False)
    journal.commit("a")
    with pytest.raises(HostError, match="past the point of no return"):
        journal.unless_committed("boot-1", lambda: pytest.fail("too late"))


def test_an_abort_is_possible_after_the_reboot_while_the_slot_is_still_taken(journal):
    journal.begin(entry())
    journal.commit("a")
    assert journal.unless_committed("boot-2", yes)


def test_no_program_commits_while_another_aborts(journal, monkeypatch):
    monkeypatch.setattr(module, "LOCK_LIMIT", 0.05)
    journal.begin(entry())

    def call_off() -> bool:
        with pytest.raises(HostError, match=r"journal\.lock is held by another program"):
            JournalFile(Paths(journal.path.parents[3]), ME).commit("a")
        return True

    assert journal.unless_committed("boot-1", call_off)
    assert again(journal).entry == entry()


def test_an_error_while_calling_off_is_not_blamed_on_the_lock(journal):
    def call_off() -> bool:
        raise ConnectionRefusedError("the bus is away")

    with pytest.raises(ConnectionRefusedError, match="the bus is away"):
        journal.unless_committed("boot-1", call_off)


@pytest.mark.slow
def test_a_journal_that_was_cut_short_anywhere_is_refused_or_whole(journal):
    journal.begin(entry())
    journal.commit("a")
    journal.fail("a", FAILURE)
    raw, whole = journal.path.read_bytes(), journal.read()
    for length in range(len(raw)):
        journal.path.write_bytes(raw[:length])
        with pytest.raises(CorruptValueError, match=r"journal\.json: not a reboot journal .*locksmithctl unlock"):
            journal.read()
        assert journal.path.read_bytes() == raw[:length]
    journal.path.write_bytes(raw + b"\n")
    assert journal.read() == whole


def test_over_a_torn_journal_nothing_is_written(journal):
    journal.begin(entry())
    journal.path.write_bytes(b'{"schema": 1')
    for act in (
        lambda: journal.begin(entry("b")),
        lambda: journal.commit("a"),
        lambda: journal.reopen("a"),
        lambda: journal.fail("a", FAILURE),
        lambda: journal.clear("a"),
        lambda: journal.unless_committed("boot-1", yes),
    ):
        with pytest.raises(CorruptValueError):
            act()
    assert journal.path.read_bytes() == b'{"schema": 1'


@pytest.mark.parametrize(
    ("where", "value", "problem"),
    [
        (["machine_id"], None, "'machine_id' must be a string"),
        (["entry"], [], "'entry' must be an object"),
        (["entry", "phase"], "begun", "'begun' is not a valid Phase"),
        (["entry", "api"], "3", "'api' must be a whole number"),
        (["entry", "endpoints"], [3], "'endpoints' must be a list of URLs"),
        (["entry", "boot_id"], 7, "'boot_id' must be a string"),
        (["entry", "claim"], None, "'claim' must be an object"),
        (["entry", "claim", "nonce"], 7, "'nonce' must be a string"),
        (["failure"], "no", "'failure' must be an object"),
        (["failure", "at"], "yesterday", "'at'"),
    ],
)
def test_a_journal_with_a_wrong_field_is_refused_and_named(journal, where, value, problem):
    journal.begin(entry())
    journal.fail("a", FAILURE)
    fields = json.loads(journal.path.read_bytes())
    inner = fields
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    journal.path.write_text(json.dumps(fields))
    with pytest.raises(CorruptValueError) as caught:
        journal.read()
    assert problem in str(caught.value)


def test_a_journal_of_a_later_version_is_read_without_what_is_unknown_here(journal):
    journal.begin(entry())
    fields = json.loads(journal.path.read_bytes())
    fields = {**fields, "schema": 9, "attempts": 3, "entry": {**fields["entry"], "units": ["a.service"]}}
    journal.path.write_text(json.dumps(fields))
    assert journal.read() == Journal(entry())


def test_a_journal_of_another_machine_is_moved_aside(journal, paths):
    JournalFile(paths, "another").begin(entry())
    copied = journal.path.read_bytes()
    assert journal.read() == Journal()
    assert [file.read_bytes() for file in paths.state.glob("journal.of-*")] == [copied]
    journal.begin(entry("b"))
    assert again(journal) == Journal(entry("b"))


def test_a_journal_of_another_machine_makes_room_for_the_first_claim(journal, paths):
    JournalFile(paths, "another").begin(entry())
    journal.begin(entry("b"))
    assert again(journal) == Journal(entry("b"))


def test_of_two_readers_of_a_copied_journal_neither_moves_the_others_claim_away(journal, paths, monkeypatch):
    """The daemon has read the copied journal; before it moves it, the tool has done so and written its own."""
    JournalFile(paths, "another").begin(entry())
    slow = JournalFile(paths, ME)
    load = slow._load
    copied = [load()]
    journal.begin(entry("mine"))
    monkeypatch.setattr(slow, "_load", lambda: copied.pop() if copied else load())
    assert slow.read() == Journal(entry("mine"))


@pytest.mark.parametrize(
    "place", ["var/lib/locksmith", "var/lib/locksmith/journal.new", "var/lib/locksmith/journal.lock"]
)
def test_a_journal_that_cannot_be_written_says_so(journal, tmp_path, place):
    """Root may write anywhere, so something else stands where the file, or its folder, has to be."""
    blocked = tmp_path / place
    blocked.parent.mkdir(parents=True)
    blocked.write_text("") if place.endswith("locksmith") else blocked.mkdir()
    with pytest.raises(HostError, match=r"journal.json cannot be (written|locked|read): \w+"):
        journal.begin(entry())


def test_a_journal_that_cannot_be_read_says_so(journal):
    journal.path.mkdir(parents=True)
    with pytest.raises(HostError, match="cannot be read: Is a directory"):
        journal.read()


def test_a_write_that_failed_leaves_the_journal_as_it_was(journal):
    journal.begin(entry())
    journal.path.with_suffix(".new").mkdir()
    with pytest.raises(HostError, match="cannot be written"):
        journal.commit("a")
    assert again(journal) == Journal(entry())


def test_what_a_crash_left_half_written_is_written_over(journal):
    journal.path.parent.mkdir(parents=True)
    journal.path.with_suffix(".new").write_text('{"sche')
    journal.begin(entry())
    assert again(journal) == Journal(entry())


def _contend(root: Path, nonce: str, rounds: int) -> None:
    journal = JournalFile(Paths(root), ME)
    for _ in range(rounds):
        try:
            journal.begin(entry(nonce))
        except HostError:
            continue
        journal.commit(nonce)
        if journal.read().entry != committed(entry(nonce)):
            sys.exit("another process wrote into a claim that was begun")
        journal.clear(nonce)


@pytest.mark.slow
def test_two_processes_at_once_never_write_into_each_others_claim(tmp_path, journal):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_contend, args=(tmp_path, nonce, 40)) for nonce in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT)
    assert [process.exitcode for process in processes] == [0, 0]
    assert journal.read() == Journal()


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 2, 5, 9])
def test_a_kill_at_any_moment_leaves_a_whole_journal(tmp_path, journal, rounds):
    script = f"""
        from pathlib import Path
        from tests.builders.journals import write_for_ever
        write_for_ever(Path({str(tmp_path)!r}))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(rounds):
            assert process.stdout.readline()
        process.kill()
    assert journal.read().entry in {None, entry(), committed(entry())}
    journal.clear("a")


@contextmanager
def holder(paths: Paths):
    """Hold the operator's lock in another process, until it is killed."""
    script = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from locksmith.host.operator_lock import OperatorLock
        from locksmith.host.paths import Paths
        with OperatorLock(Paths(Path({str(paths.root)!r}))).held():
            print("held", flush=True)
            signal.pause()
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_the_operators_lock_is_seen_by_others_and_let_go_by_a_crash(paths, monkeypatch):
    monkeypatch.setattr(module, "LOCK_LIMIT", 0.05)
    lock = OperatorLock(paths)
    assert not lock.is_held()
    with holder(paths) as process:
        assert lock.is_held()
        with pytest.raises(HostError, match=r"operator\.lock is held by another program"), lock.held():
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait(LIMIT)
        assert not lock.is_held()
    with lock.held():
        assert OperatorLock(paths).is_held()
    assert not lock.is_held()


def test_an_error_under_the_operators_lock_is_not_blamed_on_the_lock(paths):
    lock = OperatorLock(paths)
    with pytest.raises(ConnectionRefusedError), lock.held():
        raise ConnectionRefusedError("the bus is away")
    assert not lock.is_held()


def test_an_operators_lock_that_cannot_be_looked_at_counts_as_held(paths):
    paths.run.parent.mkdir()
    paths.run.write_text("a file where the folder has to be")
    assert OperatorLock(paths).is_held()
    with pytest.raises(HostError, match=r"operator\.lock cannot be locked"), OperatorLock(paths).held():
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def broken_journals(draw) -> bytes:
    """A sound journal with a few of its fields exchanged or removed."""
    fields = {"schema": 1, "machine_id": ME, **journal_json.encode(Journal(committed(entry()), FAILURE))}
    for _ in range(draw(st.integers(0, 3))):
        inner = fields
        name = draw(st.sampled_from(sorted(inner)))
        while isinstance(inner[name], dict) and inner[name] and draw(st.booleans()):
            inner = inner[name]
            name = draw(st.sampled_from(sorted(inner)))
        if draw(st.booleans()):
            inner[name] = draw(json_values)
        else:
            del inner[name]
    return json.dumps(fields).encode()


@given(raw=st.binary(max_size=80) | broken_journals())
def test_whatever_stands_in_the_file_is_a_journal_or_corrupt(tmp_path_factory, raw):
    journal = JournalFile(Paths(tmp_path_factory.getbasetemp() / "fuzz"), ME)
    journal.path.parent.mkdir(parents=True, exist_ok=True)
    journal.path.write_bytes(raw)
    try:
        found = journal.read()
    except CorruptValueError:
        assert journal.path.read_bytes() == raw
        return
    if found.entry is not None:
        journal.reopen(found.entry.claim.nonce)
        assert again(journal).entry == replace(found.entry, phase=Phase.REQUESTED, claim=found.entry.claim.reopened())
