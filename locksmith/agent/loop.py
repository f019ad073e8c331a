"""The loop on each machine: observe, decide, perform.

Level-triggered: an event only wakes the loop, and what the loop then observes decides. Each reason to wait, an error's
sentence included, is shown to all reporters as the same value.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

from locksmith.agent import decide, events
from locksmith.agent.arriving import TIMEOUT, Arriving
from locksmith.agent.facts import ShutdownState, TriggerResult
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import Hooks, JournalEntry, Phase
from locksmith.agent.memory import Memory, Stopwatch
from locksmith.agent.node_status import describe, describe_unobserved
from locksmith.agent.observe import Observer
from locksmith.agent.perform import Performer
from locksmith.agent.ports import Closable, Ports
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.stages import StageRunner
from locksmith.agent.state import sentence
from locksmith.agent.steps import Finish, Idle, ReportFailure, Step, Wait
from locksmith.agent.strategies import Strategies
from locksmith.agent.wait import Waiter
from locksmith.errors import LocksmithError, StoreError
from locksmith.lock.answer import Denied
from locksmith.lock.records.claim import COMMAND, DAEMON, UNHEALTHY, WENT_WRONG
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import TAKE_FAILS
from locksmith.util import records

log = logging.getLogger(__name__)

STEP_LIMIT = 90.0
"""Seconds a step may take: longer than any limit of a call, shorter than the watchdog's."""
SHOW_LIMIT = 10.0
"""Seconds to show the group what this machine does."""
CLOSE_LIMIT = 0.5
"""Seconds for a strategy to close its connections. The daemon stops within a second."""


class Agent:
    """One machine's loop. `observer` and `performer` are the parts that the simulation replaces by broken ones."""

    def __init__(
        self,
        member: Member,
        target: Target,
        settings: Settings,
        ports: Ports,
        *,
        observer: type[Observer] = Observer,
        performer: type[Performer] = Performer,
    ) -> None:
        self._member = member
        self._target = target
        self._settings = settings
        self._ports = ports
        self._memory = Memory()
        self._strategies = Strategies(ports.strategy, target)
        self._waiter = Waiter(ports.heartbeat, ports.clock, self._memory, self._strategies)
        stages = StageRunner(ports.stages, ports.journal, ports.clock, self.wake)
        self._arriving = Arriving(member, ports.machines, self._memory)
        self._observer = observer(settings, target, ports, memory=self._memory, stages=stages, arriving=self._arriving)
        self._performer = performer(
            member, target, settings, ports, memory=self._memory, strategies=self._strategies, stages=stages
        )
        self._failures = 0
        self._unobserved, self._unable = Stopwatch(), timedelta()
        self._hidden = False
        self._observed: Snapshot | None = None
        self._goes_down = False
        """Whether the last observation saw the machine go down. The bus ends before this daemon."""

    def wake(self) -> None:
        """Observe again now."""
        self._waiter.wake()

    def recheck(self) -> None:
        """Observe again now, and ask the expensive gates and the strategy's own server again too."""
        self._observer.recheck()
        self._strategies.recheck()
        self.wake()

    def results(self) -> dict[str, TriggerResult]:
        """Give what each trigger said last."""
        names = (trigger.name for trigger in self._ports.triggers)
        return dict(zip(names, self._memory.claim.results, strict=False))

    async def run(self) -> None:
        """Run until cancelled, or until the strategy never reboots and nothing is left to release."""
        try:
            while not await self._cycle():
                pass
        finally:
            await self._close()

    def leave(self) -> str:
        """Leave the queue, keep what this machine holds, and say so in the daemon's last words."""
        try:
            entry = self._ports.journal.read().entry
            if entry is None:
                return "stopping; this machine holds nothing"
            if entry.by == DAEMON and self._is_without_slot():
                self._ports.journal.clear(entry.claim.nonce)
                return "stopping; this machine leaves the queue and holds nothing"
        except LocksmithError as error:
            return f"stopping; {error}"
        return f"stopping; this machine keeps its claim of {records.moment(entry.claim.since)}, the next start resumes"

    def _is_without_slot(self) -> bool:
        """Whether the claim is known to hold nothing: it was denied, and not while it held a slot."""
        claim = self._memory.claim
        if not isinstance(claim.answer, Denied) or claim.answer.code == TAKE_FAILS:  # a failed attempt may win later
            return False
        if claim.answer.must_release or claim.answer.may_hold:
            return False
        return not claim.had and not claim.uncertain

    def _holds_nothing(self) -> bool:
        """Whether the reboot journal says that this machine holds no slot: without one its presence may end."""
        try:
            entry = self._ports.journal.read().entry
        except LocksmithError:
            return False
        return entry is None or (entry.by == DAEMON and self._is_without_slot())

    async def _cycle(self) -> bool:
        """Observe, decide, perform one step; True: there is nothing left to do."""
        self._waiter.start()
        step: Step = Idle()
        snapshot: Snapshot | None = None
        try:
            snapshot = await self._observer.observe()
            self._unobserved, self._unable, self._observed = Stopwatch(), timedelta(), snapshot
            self._goes_down = snapshot.shutdown is ShutdownState.GOING_DOWN
            step = self._arriving.admit(decide.decide(snapshot), snapshot)
            self._show(step, snapshot)
            async with asyncio.timeout(STEP_LIMIT):
                await self._performer.perform(step, snapshot)
            self._failures = self._failures if self._arriving.is_held else 0
            for reporter in self._ports.reporters:
                reporter.performed(step)
        except StoreError as error:
            step = self._error(error.component, str(error), snapshot)
        except LocksmithError as error:
            step = self._error(error.component, str(error), snapshot)
            await self._answer_for_claim(str(error), snapshot)
        except TimeoutError:
            text = f"{_name(step)} took longer than {STEP_LIMIT:.0f} s"
            step = self._error(TIMEOUT, text, snapshot)
            await self._answer_for_claim(text, snapshot)
        except Exception as error:  # a plugin may fail in any way: that is a no, not the end of the daemon
            log.debug("a defect, here or in a plugin", exc_info=True)
            text = f"{_name(step)} failed: {type(error).__name__}: {error}"
            step = self._error("defect", text, snapshot)
            await self._answer_for_claim(text, snapshot)
        if isinstance(step, Wait | Idle):
            await self._present(step, snapshot)
            await self._waiter.sleep(step, snapshot)
        return isinstance(step, Finish)

    def _error(self, code: str, text: str, snapshot: Snapshot | None) -> Step:
        """Wait a moment after a failed step, with the error as the reason that all reporters show."""
        self._failures += 1
        pause = self._arriving.pause(code, self._failures)
        step = Wait(code, text, self._ports.clock() + timedelta(seconds=pause))
        self._arriving.hold(step, pause)
        self._show(step, snapshot)
        return step

    async def _answer_for_claim(self, failure: str, snapshot: Snapshot | None) -> None:
        """Release or report what this machine holds if it cannot continue alone, without its bus or its disk.

        A claim that has not begun its reboot is released. Any other claim has as long as each machine has to prove
        itself healthy, and is reported as unhealthy then.
        """
        if snapshot is None:
            self._unable = self._unobserved.check(asyncio.get_running_loop().time(), holds=True)
        entry, claim = self._memory.entry, self._memory.claim
        if entry is None or entry.claim.nonce == self._memory.released or claim.call is not None:
            return
        if entry.is_operators and self._ports.operator():
            return  # `locksmithctl` runs and continues, though the daemon cannot observe
        untouched = self._is_of_this_boot(entry) and _is_untouched(entry) and not self._goes_down
        if snapshot is None and self._failures >= decide.ABORT_WITHOUT_WRITES and untouched:
            await self._attempt(self._performer.release_unobserved(entry, failure))
            return
        long = self._unable if snapshot is None else snapshot.verifying
        if long >= self._settings.health and entry.claim.state not in WENT_WRONG and claim.gone_wrong is None:
            report = ReportFailure(UNHEALTHY, f"it cannot be examined: {failure}")
            log.error("%s", sentence(report), extra=events.of_step(report, snapshot))
            await self._attempt(self._performer.report_failure(entry, report))

    def _is_of_this_boot(self, entry: JournalEntry) -> bool:
        """Whether a claim was made in this boot, as far as that is known without the bus."""
        boot = self._memory.boot
        return entry.boot == boot if boot else entry.boot.boot_id == self._member.boot_id

    async def _attempt(self, work: Awaitable[None]) -> None:
        """Do what the next failure tries again if it fails now."""
        try:
            async with asyncio.timeout(STEP_LIMIT):
                await work
        except (LocksmithError, TimeoutError) as error:
            log.info("the group cannot be told that this machine is unable to continue: %s", error)

    async def _present(self, step: Step, snapshot: Snapshot | None) -> None:
        """Show the group what this machine does. If that fails, the machine does the same as before."""
        if self._ports.presence is None or (snapshot is None and self._unobserved.since is None):
            return
        try:
            async with asyncio.timeout(SHOW_LIMIT):
                await self._ports.presence.show(self._described(step, snapshot))
            self._hidden = False
        except (LocksmithError, TimeoutError) as error:
            level = logging.DEBUG if self._hidden else logging.INFO
            log.log(level, "the group is not shown what this machine does: %s", str(error) or "etcd takes too long")
            self._hidden = True

    def _described(self, step: Step, snapshot: Snapshot | None) -> Node:
        """Make this machine's record. Without a snapshot it says what keeps the machine from observing itself."""
        if snapshot is not None:
            return describe(step, snapshot, self._member, self._target)
        claim = self._memory.entry.claim.nonce if self._memory.entry else ""
        # A reboot journal that was not read yet may name a claim. If it stays unreadable, it counts as lost.
        known = claim if self._memory.journal_read or self._unable >= self._settings.health else None
        now, dry_run = self._ports.clock(), self._settings.dry_run
        longer = self._settings.limit.total_seconds() if self._memory.claim.committed else 0.0
        return describe_unobserved(step, now, self._member, self._target, known, dry_run=dry_run, longer=longer)

    async def _show_operators_reboot(self) -> None:
        """Show a reboot that `locksmithctl` has ordered: the daemon may be stopped before it observes that."""
        journal = self._ports.journal.read()
        entry, seen = journal.entry, self._observed
        if entry is None or seen is None or not entry.is_operators or entry.phase is not Phase.COMMITTED:
            return
        step = Wait("rebooting", decide.ordered_by(entry))
        await self._present(step, replace(seen, journal=journal, now=self._ports.clock()))

    def _show(self, step: Step, snapshot: Snapshot | None) -> None:
        for reporter in self._ports.reporters:
            reporter.show(step, snapshot)

    async def _close(self) -> None:
        claim = self._memory.claim
        if claim.running is not None:
            claim.running.task.cancel()
        if claim.warned is not None and not claim.committed:
            with contextlib.suppress(Exception):  # logind may be gone
                async with asyncio.timeout(CLOSE_LIMIT):
                    await self._performer.cancel_warning()
        if self._ports.presence is not None:
            with contextlib.suppress(Exception):  # then it expires
                async with asyncio.timeout(CLOSE_LIMIT):
                    await (self._ports.presence.leave() if self._holds_nothing() else self._show_operators_reboot())
        parts: list[Closable | None] = [*self._strategies.made(), self._ports.presence, self._ports.windows]
        for part in parts:
            if part is None:
                continue
            with contextlib.suppress(Exception):  # a plugin may fail in any way
                async with asyncio.timeout(CLOSE_LIMIT):
                    await part.close()


def _is_untouched(entry: JournalEntry) -> bool:
    """Whether nothing of a claim's reboot has begun. A command may have ordered one, and the bus ends before this."""
    return entry.phase is Phase.REQUESTED and entry.hooks is Hooks.NONE and entry.claim.kind != COMMAND


def _name(step: Step) -> str:
    return type(step).__name__.lower()
