"""`locksmithctl reboot` cancelled, or killed, at any moment: a slot that is held is always named by the journal."""

import asyncio
import copy
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from locksmith.agent.facts import Blocker, Boot, RebootNeed, ShutdownState, Stage
from locksmith.agent.identity import Target
from locksmith.agent.journal import JournalEntry, Phase, PreRebootState
from locksmith.agent.permit import Permit
from locksmith.agent.strategy import StrategyContext
from locksmith.cli.reboot import operator as module
from locksmith.cli.reboot import preparation
from locksmith.cli.reboot.claim import PROGRAM
from locksmith.cli.reboot.operator import OperatorReboot
from locksmith.cli.reboot.preparation import Preparation
from locksmith.cli.reboot.wait import QueueWait
from locksmith.errors import HostError, LockError, LocksmithError, RebootRefusedError, StoreUnavailableError
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.lock.answer import Answer
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith_strategies.etcd_lock import EtcdLock

CLAIM = Claim("n1", REBOOT, "nonce", datetime(2026, 5, 1, tzinfo=UTC), who="alice")
TARGET = Target("etcd-lock", "", 3, ())


class ObedientMachine:
    """Goes down when it is told to."""

    def __init__(self) -> None:
        self.asked = False
        self.told = False
        self.silent = False
        self.refuses = False

    async def boot(self) -> Boot:
        await asyncio.sleep(0)
        return Boot("boot")

    async def shutdown_state(self) -> ShutdownState:
        await asyncio.sleep(0)
        if self.silent:
            return ShutdownState.UNKNOWN
        return ShutdownState.GOING_DOWN if self.told else ShutdownState.RUNNING

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        return PreRebootState(need.trigger if need else "")

    def system(self) -> str:
        return ""

    async def reboot(self, permit: Permit) -> None:
        with permit():
            self.asked = True
        await asyncio.sleep(0)
        self.told = True
        await asyncio.sleep(0)
        if self.refuses:
            raise RebootRefusedError("transaction is destructive")


class Bench:
    """One order on one machine."""

    def __init__(self, folder: Path, server: MemoryServer | None = None, kind: type[EtcdLock] = EtcdLock) -> None:
        folder.mkdir(exist_ok=True)
        self.machine = ObedientMachine()
        self.journal = JournalFile(Paths(folder), "n1", by=PROGRAM)
        self.journal.path.parent.mkdir(parents=True, exist_ok=True)
        self.server = server or MemoryServer()
        store = MemoryStore(self.server)
        self.lock = RebootLock(store, "")
        strategy = kind(StrategyContext("", lambda: QueuedLock(self.lock, Queue(store, ""))))
        self.said: list[str] = []
        queue_wait = QueueWait(0, self.said.append)
        preparation = Preparation(self.journal, lambda: datetime.now(UTC), self.said.append)
        self.order = OperatorReboot(
            self.machine, self.journal, lambda _: strategy, 0.0, self.said.append, queue_wait, preparation
        )

    def start(self, claim: Claim = CLAIM) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.order.run(TARGET, claim))

    @property
    def entry(self) -> JournalEntry:
        entry = self.journal.read().entry
        assert entry is not None
        return entry

    async def holders(self) -> tuple[str, ...]:
        return (await self.lock.read()).semaphore.holders


MOMENTS = range(80)
"""Steps of the event loop; the last of them lie behind the end."""


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
async def test_cancelled_at_any_moment_it_gives_back_or_leaves_the_claim_in_the_journal(tmp_path, moment):
    bench = Bench(tmp_path)
    order = bench.start()
    for _ in range(moment):
        await asyncio.sleep(0)
    order.cancel()
    await asyncio.wait([order])
    entry = bench.journal.read().entry
    if bench.machine.asked:
        assert entry is not None
        assert entry.phase is Phase.COMMITTED
        assert await bench.holders() == ("n1",)
    else:
        assert entry is None
        assert await bench.holders() == ()


@pytest.mark.slow
@pytest.mark.parametrize("later", [0, 4, 12])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_taken_over_at_any_moment_it_orders_nothing_after_that_and_holds_nothing(tmp_path, moment, later):
    """It stood still; the daemon takes its claim over, and gives the slot back while it goes on."""

    bench = Bench(tmp_path)
    order = bench.start()
    for _ in range(moment):
        await asyncio.sleep(0)
    asked, daemon = bench.machine.asked, JournalFile(Paths(tmp_path), "n1")
    taken = daemon.read().entry
    daemon.take_over(CLAIM.nonce, lambda: False)
    for _ in range(later):
        await asyncio.sleep(0)
    if taken is not None and not asked:
        written = daemon.read().entry
        await bench.lock.release(written.claim if written else CLAIM, fence_pending=True)
        daemon.clear(CLAIM.nonce)
    await asyncio.wait([order])
    if taken is None:
        return  # it had not begun, or its own slot is given back already
    assert bench.machine.asked == asked
    if not asked:
        assert isinstance(order.exception(), LocksmithError)
        assert "locksmithd aborted what it had begun" in str(order.exception())
        assert await bench.holders() == ()
        assert daemon.read().entry is None


async def test_the_daemon_is_woken_between_the_commit_and_the_order(tmp_path):
    bench, seen = Bench(tmp_path), []
    order = replace(bench.order, wake=lambda: seen.append((bench.entry.phase, bench.machine.told)))
    await order.run(TARGET, CLAIM)
    assert seen == [(Phase.COMMITTED, False)]


async def test_an_order_that_comes_long_after_its_commit_is_not_given(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FRESH", -3.0)

    bench = Bench(tmp_path)
    with pytest.raises(RebootRefusedError, match="the order to reboot comes 3 s late, so it was not sent"):
        await bench.start()
    assert not bench.machine.asked
    assert await bench.holders() == ()
    assert bench.journal.read().entry is None


class Crowd:
    """Users of whom another one logs in at each look."""

    def __init__(self) -> None:
        self.names = ["alice"]
        self.warned = 0

    async def present(self) -> frozenset[str]:
        self.names.append(f"user{len(self.names)}")
        return frozenset(self.names)

    async def warn(self, _at: datetime, _reason: str) -> None:
        self.warned += 1

    async def call_off(self) -> None:
        self.warned = 0


async def test_users_who_log_in_without_end_end_the_reboot(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "LOOK_EVERY", 0.01)

    bench = Bench(tmp_path)
    crowd = Crowd()
    asked = replace(bench.order.preparation, users=crowd, grace=timedelta(minutes=5), limit=timedelta(milliseconds=100))
    with pytest.raises(LockError, match="users kept logging in for 0 s after the first was warned: alice, user1"):
        await replace(bench.order, preparation=asked).run(TARGET, CLAIM)
    assert crowd.warned == 0
    assert await bench.holders() == ()


async def test_the_moments_reach_from_the_start_to_the_end(tmp_path):
    bench = Bench(tmp_path)
    order = bench.start()
    for _ in MOMENTS:
        await asyncio.sleep(0)
    assert order.done()
    assert bench.machine.told


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_at_any_moment_the_journal_names_the_slot_and_the_next_reboot_works(tmp_path, moment):
    killed = Bench(tmp_path / "killed")
    order = killed.start()
    for _ in range(moment):
        await asyncio.sleep(0)
    bench = Bench(tmp_path / "next", copy.deepcopy(killed.server))
    shutil.copytree(killed.journal.path.parent, bench.journal.path.parent, dirs_exist_ok=True)
    order.cancel()
    await asyncio.wait([order])

    held, entry = await bench.holders(), bench.journal.read().entry
    assert not held or (entry is not None and entry.claim.nonce == CLAIM.nonce)
    await bench.start(replace(CLAIM, nonce="the next"))
    assert bench.machine.told
    assert await bench.holders() == ("n1",)
    assert bench.entry.claim.nonce == "the next"


class Refusing(EtcdLock):
    """Gives the lock, and then the store is away."""

    async def commit(self, _claim: Claim) -> Answer:
        raise StoreUnavailableError("no endpoint answered")

    async def abort(self, _claim: Claim, _reason: str) -> None:
        raise StoreUnavailableError("no endpoint answered")


async def test_a_slot_that_cannot_be_given_back_stays_in_the_journal_and_is_said(tmp_path):
    bench = Bench(tmp_path, kind=Refusing)
    with pytest.raises(
        LockError, match=r"^no endpoint answered; in addition, the lock is not released yet.*locksmithd"
    ):
        await bench.start()
    assert bench.entry.phase is Phase.REQUESTED
    assert await bench.holders() == ("n1",)
    assert not bench.machine.asked


async def test_a_machine_that_says_nothing_is_not_rebooted(tmp_path):
    bench = Bench(tmp_path)
    bench.machine.silent = True
    with pytest.raises(LocksmithError, match="does not answer, so nothing is begun"):
        await bench.start()
    assert bench.journal.read().entry is None


async def test_a_refusal_while_the_machine_goes_down_by_another_order_keeps_the_slot(tmp_path):
    bench = Bench(tmp_path)
    bench.machine.refuses = True
    with pytest.raises(HostError, match=r"destructive; this machine is going down all the same.*keeps the lock"):
        await bench.start()
    assert bench.entry.phase is Phase.COMMITTED
    assert await bench.holders() == ("n1",)


def test_a_gate_that_blocks_after_the_lock_releases_it_and_is_asked_again_with_wait(tmp_path, monkeypatch):
    class Checks:
        """Says no once."""

        said = 0

        def wanted(self, _stage) -> bool:
            return False

        async def run(self, stage, _entry) -> tuple[Blocker, ...]:
            self.said += stage is Stage.CHECKS
            return (Blocker("checks", "md0 is rebuilding"),) if self.said == 1 else ()

        async def stop(self, _stage, _entry) -> None:
            pass

    async def story(limit):
        bench = Bench(tmp_path / str(limit))
        preparation = replace(bench.order.preparation, stages=Checks())
        queue_wait = replace(bench.order.queue_wait, limit=limit)
        bench.order = replace(bench.order, preparation=preparation, queue_wait=queue_wait)
        if limit == 0:
            with pytest.raises(LockError, match=r"^not rebooting: md0 is rebuilding$"):
                await bench.start()
            assert await bench.holders() == ()
            assert bench.journal.read().entry is None
        else:
            await bench.start()
            assert bench.machine.told
            assert any("md0 is rebuilding; the lock is released meanwhile" in said for said in bench.said)

    monkeypatch.setattr(module, "ASK_CHECKS", 0.01)
    asyncio.run(story(0))
    asyncio.run(story(None))
