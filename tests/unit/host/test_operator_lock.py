"""The heartbeat of a `locksmithctl reboot`, and the claim that the daemon takes over when it stops."""

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from locksmith.agent.facts import Boot
from locksmith.agent.journal import TAKEN_OVER, FailedAttempt, Hooks, JournalEntry, Phase
from locksmith.errors import HostError
from locksmith.host import journal as module
from locksmith.host.flock import locked
from locksmith.host.journal import JournalFile, TakenOverError
from locksmith.host.operator_lock import BEAT, STALE, WIDTH, OperatorLock
from locksmith.host.paths import Paths
from locksmith.lock.records.claim import REBOOT, Claim
from tests.sim.virtual_time import run

CLAIM = Claim("n1", REBOOT, "nonce", datetime(2026, 5, 1, tzinfo=UTC), who="alice")
ENTRY = JournalEntry(CLAIM, "etcd-lock", "", 3, (), Phase.REQUESTED, Boot("boot"), "locksmithctl")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "LOCK_LIMIT", 0.05)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path)


@pytest.fixture
def tool(paths):
    return JournalFile(paths, "n1", by="locksmithctl")


@pytest.fixture
def daemon(paths):
    return JournalFile(paths, "n1")


def test_a_holder_that_has_stood_still_for_too_long_counts_as_gone(paths, clock):
    seen = OperatorLock(paths, clock)
    with OperatorLock(paths, clock).held():
        clock.now += STALE
        assert seen.is_held()
        clock.now += 1
        assert seen.is_held()
        clock.now += 2 * BEAT
        assert not seen.is_held()
    assert not seen.is_held()


def test_a_holder_that_was_suspended_with_its_machine_gets_time_to_go_on(paths, clock):
    holder, seen = OperatorLock(paths, clock), OperatorLock(paths, clock)
    with holder.held():
        clock.now += 3600
        assert seen.is_held()
        clock.now += BEAT
        holder.beat()
        clock.now += 2 * BEAT
        assert seen.is_held()
        clock.now += 3600
        assert seen.is_held()
        clock.now += 2 * BEAT
        assert not seen.is_held()


@pytest.mark.parametrize("heartbeat", [b"", b"rubbish", b"\xff 7", b"1 2 3"])
def test_a_holder_without_a_heartbeat_that_can_be_read_goes_on(paths, clock, heartbeat):
    """One of an earlier version has none."""
    path = paths.run / "operator.lock"
    seen = OperatorLock(paths, clock)
    with locked(path, limit=1) as fd:
        os.write(fd, heartbeat)
        for _ in range(3):
            clock.now += 3600
            assert seen.is_held()


def test_the_heartbeat_of_an_earlier_holder_is_not_that_of_the_next(paths, clock):
    with OperatorLock(paths, clock).held():
        pass
    clock.now += 3600
    seen = OperatorLock(paths, clock)
    assert not seen.is_held()
    with OperatorLock(paths, clock).held():
        assert seen.is_held()


def test_whoever_finds_it_held_by_one_that_stands_still_is_told_what_to_do(paths, clock):
    with OperatorLock(paths, clock).held():
        with pytest.raises(HostError, match="is held by another program"), OperatorLock(paths, clock).held():
            pass
        clock.now += 20
        words = f"has stood still for 20 s: `kill -CONT {os.getpid()}` lets it go on, `kill -KILL {os.getpid()}` ends"
        with pytest.raises(HostError, match=words), OperatorLock(paths, clock).held():
            pass


@pytest.mark.parametrize("committed", [False, True])
def test_what_the_daemon_has_taken_over_is_the_tools_no_more(tool, daemon, committed):
    tool.begin(ENTRY)
    assert tool.owns("nonce")
    if committed:
        tool.commit("nonce")
    daemon.take_over("nonce", lambda: False)
    before = daemon.read()
    assert before.entry.by == TAKEN_OVER
    assert not tool.owns("nonce")
    with pytest.raises(TakenOverError):
        tool.commit("nonce")
    with pytest.raises(TakenOverError):
        tool.hooks("nonce", Hooks.BEGUN)
    with pytest.raises(TakenOverError), tool.holding("nonce"):
        pytest.fail("a reboot could be ordered")
    tool.reopen("nonce")
    tool.fail("nonce", FailedAttempt(datetime.now(UTC), "no"))
    tool.clear("nonce")
    assert daemon.read() == before
    daemon.clear("nonce")
    assert daemon.read().entry is None


def test_a_program_that_goes_on_after_all_keeps_its_claim(tool, daemon):
    """It is asked once more while no one else can write: between that and the write nothing can be ordered."""
    tool.begin(ENTRY)
    daemon.take_over("nonce", lambda: True)
    assert tool.owns("nonce")
    daemon.take_over("another nonce", lambda: False)
    assert tool.owns("nonce")


def test_while_a_reboot_is_ordered_the_daemon_cannot_take_its_claim_over(tool, daemon):
    tool.begin(ENTRY)
    with pytest.raises(TakenOverError), tool.holding("nonce"):
        pytest.fail("it is not past its point of no return")
    tool.commit("nonce")
    with tool.holding("nonce"), pytest.raises(HostError, match="is held by another program"):
        daemon.take_over("nonce", lambda: False)
    assert daemon.read().entry == replace(ENTRY, phase=Phase.COMMITTED, claim=CLAIM.committed())


def test_a_holder_beats_every_two_seconds_until_its_end(paths):
    async def story(loop):
        asked: list[float] = []

        def clock() -> float:
            asked.append(loop.now)
            assert len(asked) < 50
            return asked[-1]

        lock = OperatorLock(paths, clock)
        with lock.held():
            beating = asyncio.ensure_future(lock.keep_beating())
            stamps = []
            for _ in range(4):
                await asyncio.sleep(BEAT / 2)
                stamps.append(lock._read()[0])
            beating.cancel()
        return stamps

    assert run(story) == [0.0, BEAT, BEAT, 2 * BEAT]


def test_from_the_first_look_that_finds_it_silent_a_holder_has_four_seconds(paths, clock):
    seen = OperatorLock(paths, clock)
    with OperatorLock(paths, clock).held():
        clock.now += STALE
        assert seen.is_held()
        clock.now += 2 * BEAT
        assert seen.is_held()
        clock.now += 2 * BEAT - 1
        assert seen.is_held()
        clock.now += 1
        assert not seen.is_held()


def test_a_heartbeat_is_as_long_as_every_other_and_needs_a_holder(paths, clock):
    path = paths.run / "operator.lock"
    lock = OperatorLock(paths, clock)
    lock.beat()
    assert not path.exists()
    with lock.held():
        for clock.now in (7.0, 123456.789):
            lock.beat()
            assert path.read_bytes() == f"{clock.now:.3f} {os.getpid()}".encode().ljust(WIDTH - 1) + b"\n"


def test_a_heartbeat_that_cannot_be_written_is_an_error(paths, clock, monkeypatch):
    def full(*_args) -> None:
        raise OSError(28, "No space left on device")

    lock = OperatorLock(paths, clock)
    with lock.held():
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(HostError, match=r"operator\.lock cannot be written: No space left on device"):
            lock.beat()


def test_fifteen_seconds_of_silence_are_no_standstill_yet(paths, clock):
    with OperatorLock(paths, clock).held():
        clock.now += STALE
        with pytest.raises(HostError, match="is held by another program"), OperatorLock(paths, clock).held():
            pass


def test_while_a_command_runs_its_lock_counts_as_held_without_heartbeats(paths, clock):
    seen = OperatorLock(paths, clock)
    with OperatorLock(paths, clock).held() as _, pytest.raises(HostError, match="is not held"):
        seen.await_no_beats()
    holder = OperatorLock(paths, clock)
    with holder.held():
        assert os.fstat(holder.await_no_beats()).st_ino == holder._path.stat().st_ino
        clock.now += 1e6
        assert seen.is_held()
        with (
            pytest.raises(HostError, match=rf"the command of another locksmithctl \(pid {os.getpid()}\) runs"),
            seen.held(),
        ):
            pass
