"""`locksmithctl run` ended, or taken over, at any moment: a command runs only while its machine holds a slot."""

import asyncio
import os
import signal
from datetime import UTC, datetime

import pytest

from locksmith.agent.facts import Boot, RebootNeed, ShutdownState
from locksmith.agent.identity import Target
from locksmith.agent.journal import PreRebootState
from locksmith.agent.permit import Permit
from locksmith.agent.strategy import StrategyContext
from locksmith.cli.reboot.claim import PROGRAM
from locksmith.cli.reboot.command import CommandSlot, Signals
from locksmith.cli.reboot.preparation import Preparation
from locksmith.cli.reboot.wait import QueueWait
from locksmith.errors import LocksmithError
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import COMMAND, Claim
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith_strategies.etcd_lock import EtcdLock

CLAIM = Claim("n1", COMMAND, "nonce", datetime(2026, 5, 1, tzinfo=UTC), who="alice")
TARGET = Target("etcd-lock", "", 3, ())
MOMENTS = range(60)
"""Steps of the event loop; the last of them lie after the begin of the command."""


class Machine:
    """A machine that stays up, and is asked for no reboot."""

    async def boot(self) -> Boot:
        await asyncio.sleep(0)
        return Boot("boot")

    async def shutdown_state(self) -> ShutdownState:
        await asyncio.sleep(0)
        return ShutdownState.RUNNING

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        raise AssertionError(need)

    def system(self) -> str:
        return ""

    async def reboot(self, permit: Permit) -> None:
        raise AssertionError(permit)


class Bench:
    """One command on one machine."""

    def __init__(self, folder):
        self.folder = folder
        self.journal = JournalFile(Paths(folder), "n1", by=PROGRAM)
        self.journal.path.parent.mkdir(parents=True, exist_ok=True)
        store = MemoryStore(MemoryServer())
        self.lock = RebootLock(store, "")
        strategy = EtcdLock(StrategyContext("", lambda: QueuedLock(self.lock, Queue(store, ""))))
        self.beats_end = False
        wait = QueueWait(0, lambda _: None)
        preparation = Preparation(self.journal, lambda: datetime.now(UTC), lambda _: None)
        self.slot = CommandSlot(
            Machine(), self.journal, lambda _: strategy, 0.0, lambda _: None, wait, preparation,
            await_no_beats=self.no_beats,
        )  # fmt: skip

    def no_beats(self) -> int:
        self.beats_end = True
        return 2

    def start(self, *command: str) -> asyncio.Task[int]:
        return asyncio.ensure_future(self.slot.run(TARGET, CLAIM, command))

    async def holders(self) -> tuple[str, ...]:
        return (await self.lock.read()).semaphore.holders


async def test_the_moments_reach_from_the_start_to_the_command(tmp_path):
    bench = Bench(tmp_path)
    task = bench.start("true")
    for _ in MOMENTS:
        await asyncio.sleep(0)
    assert bench.beats_end
    assert await task == 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
async def test_taken_over_at_any_moment_before_its_last_heartbeat_it_runs_no_command(tmp_path, moment):
    """It stood still; the daemon takes its claim over, releases the slot, and this program goes on."""
    bench, ran = Bench(tmp_path), tmp_path / "ran"
    task = bench.start("touch", str(ran))
    for _ in range(moment):
        await asyncio.sleep(0)
    daemon, late = JournalFile(Paths(tmp_path), "n1"), bench.beats_end
    taken = daemon.read().entry
    daemon.take_over(CLAIM.nonce, lambda: late)
    if taken is not None and not late:
        written = daemon.read().entry
        await bench.lock.release(written.claim if written else CLAIM, fence_pending=True)
        daemon.clear(CLAIM.nonce)
    await asyncio.wait([task])
    if taken is not None and not late:
        assert isinstance(task.exception(), LocksmithError)
        assert not ran.exists()
    else:
        assert task.result() == 0
        assert ran.exists()
    assert await bench.holders() == ()
    assert daemon.read().entry is None


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
async def test_cancelled_at_any_moment_before_the_last_heartbeat_it_holds_nothing(tmp_path, moment):
    bench = Bench(tmp_path)
    task = bench.start("true")
    for _ in range(moment):
        await asyncio.sleep(0)
    if not bench.beats_end:
        task.cancel()
    await asyncio.wait([task])
    assert bench.journal.read().entry is None
    assert await bench.holders() == ()


async def test_a_signal_that_comes_before_the_command_has_begun_reaches_it():
    signals = Signals()
    signals.hold()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    process = await asyncio.create_subprocess_exec("sleep", "60")
    signals.pass_to(process)
    assert await process.wait() == -signal.SIGTERM
