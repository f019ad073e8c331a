"""The loop on each machine: observe, diff, perform.

Level-triggered: signals only wake it; what it then observes decides. `decide` chooses one step from one snapshot;
here it is performed, and every reason to wait, an error's sentence included, is shown to all reporters as the same
value.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from locksmith.agent import decide, obstacles, permit
from locksmith.agent.claim import new_entry
from locksmith.agent.facts import (
    Aborting,
    Blocker,
    Boot,
    Checks,
    RebootCall,
    ShutdownState,
    Stage,
    StoredFailure,
    TriggerResult,
    Warned,
    WindowSight,
)
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import (
    TAKEN_OVER,
    FailedAttempt,
    Hooks,
    Journal,
    JournalEntry,
    Phase,
    PreRebootState,
    target_of,
)
from locksmith.agent.memory import ClaimMemory, Stopwatch
from locksmith.agent.node_status import describe, describe_unobserved
from locksmith.agent.permit import Permit
from locksmith.agent.ports import Ports, Presence, Trigger, WindowSource
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.stages import StageRunner
from locksmith.agent.steps import (
    Abort,
    Adopt,
    Commit,
    Finish,
    Idle,
    Reboot,
    Release,
    ReportFailure,
    Request,
    Run,
    Step,
    TakeOver,
    Undo,
    Wait,
    Warn,
)
from locksmith.agent.strategy import Strategy
from locksmith.errors import (
    HostError,
    LocksmithError,
    OlderJournalError,
    RebootRefusedError,
    RebootUnknownError,
    StoreError,
    StoreUnavailableError,
)
from locksmith.lock.answer import Answer, Denied, Granted, LastReboot
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.claim import DAEMON
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import TAKE_FAILS
from locksmith.util import records
from locksmith.util.ratelimit import RateLimit

log = logging.getLogger(__name__)

RETRY, LONGEST_RETRY = 5.0, 60.0
"""Seconds after which a step that failed is tried again: at first, and at most."""
SOON = 3
"""How many failures in a row are tried again soon; after that each pause is twice as long, and none like another's.

Thousands that came back every five seconds would keep a store down that has just come up.
"""
PACE = 0.2
"""Seconds to pause between turns, once there are too many: however often something wakes the loop, it does not spin."""
STEP_LIMIT = 90.0
"""Seconds a step may take: more than any call's own limit, less than the watchdog's patience."""
LOOK_LIMIT = 20.0
"""Seconds for one look at a trigger."""
SHOW_LIMIT = 10.0
"""Seconds to show the others of the group what this machine does."""
FIRST_LOOK, LONGEST_LOOK = 0.05, 5.0
"""Seconds between two looks at the health of a machine that has just booted: at first, and at most."""
CLOSE_LIMIT = 0.5
"""Seconds for a strategy to let go of its connections: the daemon stops within one."""


class Agent:
    """One machine's loop."""

    def __init__(self, member: Member, target: Target, settings: Settings, ports: Ports) -> None:
        self._member = member
        self._target = target
        self._settings = settings
        self._ports = ports
        self._strategies: dict[Target, Strategy] = {}
        self._watched = target
        self._woken = asyncio.Event()
        self._boot: Boot | None = None
        self._down = Stopwatch()
        self._stages = StageRunner(ports.stages, ports.journal, ports.clock, self.wake)
        self._pace = RateLimit(burst=20, per_second=1 / PACE)
        self._progress = ClaimMemory()
        self._known: JournalEntry | None = None
        self._journal_read = False
        # The claim whose slot went back, though the journal names it still.
        self._released = ""
        self._unobserved, self._unable = Stopwatch(), timedelta()
        self._hidden = False
        self._failures = 0
        self._rechecked = -math.inf
        self._rng = Random(member.machine_id)  # noqa: S311 - only unlike those of other machines

    def wake(self) -> None:
        """Look again now."""
        self._woken.set()

    def recheck(self) -> None:
        """Look again now, at what the gates that cost something have said as well: what they object may be over."""
        self._rechecked = asyncio.get_running_loop().time()
        self.wake()

    def results(self) -> dict[str, TriggerResult]:
        """Give what each trigger said last."""
        names = (trigger.name for trigger in self._ports.triggers)
        return dict(zip(names, self._progress.results, strict=False))

    async def run(self) -> None:
        """Run until the strategy never reboots and nothing is left to give back, or until cancelled."""
        try:
            while not await self._turn():
                pass
        finally:
            await self._close()

    def leave(self) -> str:
        """Give up this machine's place in line, keep what it holds, and say so: the last words before stopping."""
        try:
            entry = self._ports.journal.read().entry
            if entry is None:
                return "stopping; this machine holds nothing"
            if entry.by == DAEMON and self._is_without_slot():
                self._ports.journal.clear(entry.claim.nonce)
                return "stopping; this machine gives up its place and holds nothing"
        except LocksmithError as error:
            return f"stopping; {error}"
        return f"stopping; this machine keeps its claim of {records.moment(entry.claim.since)}, the next start goes on"

    def _is_without_slot(self) -> bool:
        """Whether the claim is known to hold nothing: it was denied, and not with a slot in its hand."""
        answer = self._progress.answer
        if not isinstance(answer, Denied) or answer.code == TAKE_FAILS:  # an attempt that failed may win later
            return False
        return not answer.must_release and not self._progress.had and not self._progress.uncertain

    async def _turn(self) -> bool:
        """Observe, decide, perform one step; True when there is nothing left to do."""
        self._woken.clear()
        step: Step = Idle()
        snapshot: Snapshot | None = None
        try:
            snapshot = await self._observe()
            self._unobserved, self._unable = Stopwatch(), timedelta()
            step = decide.decide(snapshot)
            self._show(step, snapshot)
            async with asyncio.timeout(STEP_LIMIT):
                await self._perform(step, snapshot)
            self._failures = 0
            for reporter in self._ports.reporters:
                reporter.performed(step)
        except StoreError as error:
            step = self._error(error.component, str(error), snapshot)
        except LocksmithError as error:
            step = self._error(error.component, str(error), snapshot)
            await self._answer_for_claim(str(error), snapshot)
        except TimeoutError:
            text = f"{_name(step)} took longer than {STEP_LIMIT:.0f} s"
            step = self._error("timeout", text, snapshot)
            await self._answer_for_claim(text, snapshot)
        except Exception as error:  # a plugin may fail in any way: that is a no, not the end of the daemon
            log.debug("a defect, here or in a plugin", exc_info=True)
            text = f"{_name(step)} failed: {type(error).__name__}: {error}"
            step = self._error("defect", text, snapshot)
            await self._answer_for_claim(text, snapshot)
        if isinstance(step, Wait | Idle):
            await self._present(step, snapshot)
            await self._sleep(step, snapshot)
        return isinstance(step, Finish)

    def _error(self, code: str, text: str, snapshot: Snapshot | None) -> Step:
        """Wait a moment after a step that failed, with the error as the reason that everybody sees."""
        self._failures += 1
        longer = min(LONGEST_RETRY, RETRY * 2.0 ** max(0, self._failures - SOON))
        pause = RETRY if longer == RETRY else self._rng.uniform(longer / 2, longer)
        step = Wait(code, text, self._ports.clock() + timedelta(seconds=pause))
        self._show(step, snapshot)
        return step

    async def _answer_for_claim(self, failure: str, snapshot: Snapshot | None) -> None:
        """Release or report what this machine holds, where it cannot go on by itself: without its bus, or its disk.

        Before the reboot its slot is released. After the reboot, or where the hooks would have to be undone first, it
        has as long as any machine has to prove itself healthy.
        """
        if snapshot is None:
            self._unable = self._unobserved.look(asyncio.get_running_loop().time(), holds=True)
        entry = self._known
        if entry is None or entry.claim.nonce == self._released or self._progress.call is not None:
            return
        if entry.by not in {DAEMON, TAKEN_OVER} and self._ports.operator():
            return  # the tool goes on, whatever keeps this program from looking
        untouched = self._is_of_this_boot(entry) and _is_untouched(entry)
        if snapshot is None and self._failures >= decide.ABORT_WITHOUT_WRITES and untouched:
            await self._attempt(self._release_unobserved(entry, failure))
            return
        long = self._unable if snapshot is None else snapshot.verifying
        if (
            long >= self._settings.health
            and entry.claim.state not in claim_record.WENT_WRONG
            and self._progress.gone_wrong is None
        ):
            await self._attempt(
                self._report_failure(entry, ReportFailure(claim_record.UNHEALTHY, f"it cannot be examined: {failure}"))
            )

    def _is_of_this_boot(self, entry: JournalEntry) -> bool:
        """Whether a claim was made in this boot, as far as that is known without the bus."""
        return entry.boot == self._boot if self._boot else entry.boot.boot_id == self._member.boot_id

    async def _release_unobserved(self, entry: JournalEntry, failure: str) -> None:
        """Release the slot; the journal forgets the claim when this machine can look at itself again.

        One of the tool, which stands still or has died, becomes the daemon's before: it must not be gone on with.
        """
        if entry.by not in {DAEMON, TAKEN_OVER}:
            self._ports.journal.take_over(entry.claim.nonce, self._ports.operator)
        await self._strategy(target_of(entry)).abort(entry.claim, f"this machine cannot look at itself: {failure}")
        self._released = entry.claim.nonce

    async def _attempt(self, work: Awaitable[None]) -> None:
        """Do what is tried again with the next failure, where it fails."""
        try:
            async with asyncio.timeout(STEP_LIMIT):
                await work
        except (LocksmithError, TimeoutError) as error:
            log.info("the group cannot be told that this machine is unable to go on: %s", error)

    async def _present(self, step: Step, snapshot: Snapshot | None) -> None:
        """Show the group what this machine does; that it could not is no reason to do anything else."""
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
        """Make this machine's record; without a snapshot it says what keeps it from looking at itself."""
        if snapshot is not None:
            return describe(step, snapshot, self._member, self._target)
        claim = self._known.claim.nonce if self._known else ""
        # A journal that could not be read yet may name a claim; one that stays so is as good as lost.
        known = claim if self._journal_read or self._unable >= self._settings.health else None
        return describe_unobserved(step, self._ports.clock(), self._member, self._target, known)

    def _read_journal(self) -> Journal:
        """Read it; what was reported of a reboot stands, where the disk did not take it too."""
        journal = self._ports.journal.read()
        self._known, self._journal_read = journal.entry, True
        self._follow(journal.entry)
        gone_wrong = self._progress.gone_wrong
        if journal.entry is None or gone_wrong is None:
            return journal
        claim = journal.entry.claim.gone_wrong(gone_wrong.state, gone_wrong.failure)
        return replace(journal, entry=replace(journal.entry, claim=claim))

    async def _observe(self) -> Snapshot:
        journal = self._read_journal()
        # Asked before and after everything else: one that has ended meanwhile may have written the journal since.
        operator = self._ports.operator()
        self._stages.take_note(journal.entry, self._progress)
        if self._boot is None:
            self._boot = await self._ports.machine.boot()
        if self._progress.call is None:
            await self._look(self._boot)
        entry, progress = journal.entry, self._progress
        blockers, users = await self._ask_gates(entry), await self._ask_users()
        window = await self._look_at_windows(self._boot, entry)
        shutdown = await self._ports.machine.shutdown_state()
        time = asyncio.get_running_loop().time()
        operator = operator or self._ports.operator()
        committed = entry is not None and entry.phase is Phase.COMMITTED
        taken_over = entry is not None and entry.by == TAKEN_OVER
        return Snapshot(
            now=self._ports.clock(),
            boot=self._boot,
            settings=self._settings,
            shutdown=shutdown,
            needs=tuple(sight.need for sight in self._progress.results if sight.need is not None),
            errors=tuple(sight.doubt for sight in self._progress.results if sight.doubt is not None),
            not_applied=tuple(sight.not_applied for sight in self._progress.results if sight.not_applied),
            journal=journal,
            answer=self._progress.answer,
            call=self._progress.call
            and replace(self._progress.call, ago=timedelta(seconds=time - self._progress.called)),
            committed_by_this_process=self._progress.committed,
            observed_ago=timedelta(seconds=time - self._progress.looked),
            commit_age=timedelta(seconds=time - progress.commit_sent if progress.committed else 0.0),
            orphaned_for=self._progress.orphaned_for.look(time, holds=committed and (taken_over or not operator)),
            shutting_down_for=self._down.look(time, holds=shutdown is not ShutdownState.RUNNING),
            target_changed=journal.entry is not None and target_of(journal.entry) != self._target,
            operator=operator,
            adopts=self._ports.adopts(),
            clone=self._ports.presence.clone if self._ports.presence else "",
            blockers=blockers,
            checks=self._checks(time),
            stage=progress.running.report(time) if progress.running else None,
            prepared=progress.prepared or (entry is not None and entry.hooks is Hooks.PREPARED),
            finished=progress.finished or (entry is not None and entry.hooks is Hooks.FINISHED),
            verifying=progress.verifying.look(time, holds=entry is not None and entry.boot != self._boot),
            system=self._ports.machine.system(),
            acknowledged=progress.acknowledged,
            aborting=progress.aborting,
            users=users,
            warned=progress.warned,
            warned_for=timedelta(seconds=0.0 if progress.warned_since is None else time - progress.warned_since),
            window=window,
            stored=progress.stored,
            failed_writes=self._ports.journal.failed_writes,
            released=entry is not None and entry.claim.nonce == self._released,
        )

    def _checks(self, time: float) -> Checks | None:
        """Give what the gates that cost something said; before a `recheck` it was said so long ago that it is over."""
        asked = self._progress.asked
        if asked is None:
            return None
        checks = asked.checks(time)
        old = asked.began < self._rechecked
        return replace(checks, ago=max(checks.ago, self._settings.recheck)) if old else checks

    async def _ask_gates(self, entry: JournalEntry | None) -> tuple[Blocker, ...]:
        """Ask those that cost next to nothing; nobody is asked where nothing is wanted."""
        if entry is None and not any(sight.need for sight in self._progress.results):
            return ()
        if self._progress.call is not None:
            return ()
        said = await asyncio.gather(*(gate.look(entry) for gate in self._ports.gates))
        return tuple(blocker for blockers in said for blocker in blockers)

    async def _look_at_windows(self, boot: Boot, entry: JournalEntry | None) -> WindowSight:
        """Look when this machine may reboot; that nobody can say is an error only where it matters now."""
        if self._ports.windows is None:
            return WindowSight()
        matters = self._progress.call is None and (entry is None or entry.boot == boot)
        wanted = matters and any(sight.need for sight in self._progress.results)
        return await self._ports.windows.look(self._ports.clock(), wanted=wanted)

    async def _ask_users(self) -> frozenset[str]:
        if self._ports.users is None or not isinstance(self._progress.answer, Granted) or self._progress.committed:
            return frozenset()
        return await self._ports.users.present()

    def _follow(self, entry: JournalEntry | None) -> None:
        """Forget what was remembered of another claim, however that one ended."""
        nonce = entry.claim.nonce if entry else ""
        if nonce != self._progress.nonce:
            self._begin_anew(nonce)

    def _begin_anew(self, nonce: str) -> None:
        """Forget everything but what the gates have said."""
        before = self._progress
        if before.running is not None:
            before.running.task.cancel()
        self._progress = ClaimMemory(nonce, results=before.results, looked=before.looked, asked=before.asked)

    async def _look(self, boot: Boot) -> None:
        self._progress.looked = asyncio.get_running_loop().time()
        now = self._ports.clock()
        looks = (self._sight(trigger, now, boot) for trigger in self._ports.triggers)
        self._progress.results = await asyncio.gather(*looks)

    async def _sight(self, trigger: Trigger, now: datetime, boot: Boot) -> TriggerResult:
        """Look at one trigger; what a plugin does wrong is a doubt of its own, and holds no other back."""
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                seen = await trigger.look(now, boot)
        except TimeoutError:
            seen = TriggerResult(doubt=f"{trigger.name}: it does not answer within {LOOK_LIMIT:.0f} s")
        except Exception as error:
            log.debug("a defect of a trigger", exc_info=True)
            seen = TriggerResult(doubt=f"{trigger.name}: {type(error).__name__}: {error}")
        return seen if seen.looked else replace(seen, looked=now)

    async def _perform(self, step: Step, snapshot: Snapshot) -> None:  # noqa: C901, PLR0912 - one case for each step
        entry = snapshot.journal.entry
        match step:
            case Adopt():
                await self._adopt()
            case Request():
                await self._request(entry or await self._new_entry(snapshot))
            case Run(stage):
                await self._stages.begin(stage, entry, self._progress)
            case Warn(until) if self._ports.users is not None:
                if self._progress.warned_since is None:
                    self._progress.warned_since = asyncio.get_running_loop().time()
                await self._ports.users.warn(until, entry.claim.reason if entry else "")
                self._progress.warned = Warned(snapshot.users, until)
            case ReportFailure() if entry is not None:
                await self._report_failure(entry, step)
            case Undo() if entry is not None:
                await self._undo(entry, step, snapshot)
            case Commit() if entry is not None:
                await self._commit(entry, snapshot)
            case Reboot():
                await self._reboot()
            case TakeOver() if entry is not None:
                self._ports.journal.take_over(entry.claim.nonce, self._ports.operator)
            case Release() if entry is not None:
                await self._release(entry, snapshot)
            case Abort() if entry is not None:
                await self._abort(entry, step, snapshot)
            case _:
                pass

    async def _adopt(self) -> None:
        if await self._strategy(self._target).adopt(self._member.machine_id):
            log.warning("gave back a slot that this machine held without a record (adopt = true)")
        self._ports.adopted()

    async def _new_entry(self, snapshot: Snapshot) -> JournalEntry:
        before = await self._ports.machine.before(obstacles.wanted(snapshot)[0])
        return new_entry(self._member, self._target, snapshot, before)

    async def _report_failure(self, entry: JournalEntry, step: ReportFailure) -> None:
        """Write the journal first: what was said of this reboot stands, whatever the machine says later.

        If the disk does not take it, the group is told all the same.
        """
        if (entry.claim.state, entry.claim.failure) != (step.state, step.failure):
            try:
                self._ports.journal.report_failure(entry.claim.nonce, step.state, step.failure)
            except HostError as error:
                log.warning("what went wrong with the reboot is not written down here: %s", error)
            self._progress.gone_wrong = StoredFailure(step.state, step.failure)
        self._watched = target_of(entry)
        with self._pointing_out(entry):
            self._progress.acknowledged = await self._strategy(self._watched).report_failure(
                entry.claim, step.state, step.failure
            )

    async def _undo(self, entry: JournalEntry, step: Undo, snapshot: Snapshot) -> None:
        """Write the journal first: after the hooks that undo begin, only a new commit leads to a reboot."""
        with self._written():
            if step.failed:
                self._ports.journal.fail(entry.claim.nonce, self._failure(entry, step.reason, snapshot))
            if entry.phase is Phase.COMMITTED:
                self._ports.journal.reopen(entry.claim.nonce)
            # Whoever goes on after a crash from here on has to run them all again.
            self._ports.journal.hooks(entry.claim.nonce, Hooks.BEGUN)
        self._progress.prepared = False
        self._progress.aborting = Aborting(step.reason, step.failed)
        self._progress.committed, self._progress.call = False, None
        await self._stages.stop(entry, self._progress)
        await self._stages.begin(Stage.UNDO, entry, self._progress)

    def _failure(self, entry: JournalEntry, reason: str, snapshot: Snapshot) -> FailedAttempt:
        last, version = snapshot.journal.failure, entry.version
        again = last is not None and not obstacles.is_another(last.version, version)
        return FailedAttempt(self._ports.clock(), reason, version, last.tries + 1 if last and again else 1)

    async def _request(self, entry: JournalEntry) -> None:
        new = self._known is None
        self._ports.journal.begin(entry)
        self._follow(entry)
        self._watched = target_of(entry)
        # One that fails, or is cut off, may be answered later.
        uncertain, self._progress.uncertain = self._progress.uncertain and not new, True
        with self._noting_what_the_store_knows():
            self._progress.answer = await self._strategy(target_of(entry)).request(entry.claim)
        self._progress.uncertain = uncertain
        self._progress.had = self._progress.had or isinstance(self._progress.answer, Granted)

    async def _commit(self, entry: JournalEntry, snapshot: Snapshot) -> None:
        """Write the journal first, then the store: a crash between the two finds a machine that proves it stayed up."""
        if self._ports.presence is not None:
            node = describe(Commit(), snapshot, self._member, self._target)
            await self._ports.presence.confirm(node, self._settings.limit.total_seconds())
            if self._ports.presence.clone:
                return
        before = await self._before(entry, snapshot)
        self._ports.journal.commit(entry.claim.nonce, before)
        claim = replace(entry.claim, version=before.version or entry.claim.version)
        answer: Answer | None = None
        asked = asyncio.get_running_loop().time()
        try:
            with self._noting_what_the_store_knows():
                answer = await self._strategy(target_of(entry)).commit(claim)
        except BaseException:
            # Where that fails too, the journal says committed, which the next start proves wrong.
            with contextlib.suppress(LocksmithError):
                self._ports.journal.reopen(entry.claim.nonce)
            raise
        if not isinstance(answer, Granted):
            self._ports.journal.reopen(entry.claim.nonce)
        self._progress.answer = answer
        if isinstance(answer, Granted):
            self._progress.committed, self._progress.commit_sent = True, asked if answer.sent is None else answer.sent

    async def _before(self, entry: JournalEntry, snapshot: Snapshot) -> PreRebootState:
        """Say how the machine is now, and what is wanted by now: an update may have followed the one it waited for.

        What had failed when the claim was made may have been stopped by a hook.
        """
        now = await self._ports.machine.before(None)
        units = dict.fromkeys((*entry.before.failed_units, *now.failed_units))
        need = obstacles.latest(snapshot, entry)
        return replace(now, trigger=need.trigger, failed_units=tuple(units), version=need.version)

    async def _reboot(self) -> None:
        self._progress.called = asyncio.get_running_loop().time()
        self._progress.call = RebootCall(timedelta())
        try:
            await self._ports.machine.reboot(self._permit())
        except RebootRefusedError as error:
            self._progress.call = RebootCall(timedelta(), refused=str(error))
        except RebootUnknownError as error:
            log.warning("%s; this machine may be going down", error)

    def _permit(self) -> Permit:
        """Permit the order while the commit is fresh: after that the slot may be another's."""
        return permit.until(self._progress.commit_sent + self._settings.max_age.total_seconds())

    async def _release(self, entry: JournalEntry, snapshot: Snapshot) -> None:
        if entry.claim.nonce != self._released:
            with self._pointing_out(entry), self._noting_what_the_store_knows():
                await self._strategy(target_of(entry)).complete(replace(entry.claim, version=entry.version))
                self._released = entry.claim.nonce
        if entry.claim.nonce != self._released:
            return
        rebooted = entry.phase is Phase.COMMITTED or entry.claim.state in claim_record.WENT_WRONG
        done = LastReboot(entry.version, snapshot.now) if rebooted else snapshot.journal.done
        self._ports.journal.clear(entry.claim.nonce, done=done)

    async def _abort(self, entry: JournalEntry, step: Abort, snapshot: Snapshot) -> None:
        """Write the journal first: once the slot may be given back, only a new commit leads to a reboot."""
        nonce = entry.claim.nonce
        with self._written():
            if step.failed and self._progress.aborting is None:
                self._ports.journal.fail(nonce, self._failure(entry, step.reason, snapshot))
            if entry.phase is Phase.COMMITTED:
                self._ports.journal.reopen(nonce)
        await self._call_off_warning()
        self._begin_anew(nonce)
        if nonce != self._released:
            with self._pointing_out(entry), self._noting_what_the_store_knows():
                await self._strategy(target_of(entry)).abort(entry.claim, step.reason)
                self._released = nonce
        if nonce == self._released:
            self._ports.journal.clear(nonce, done=step.done)

    async def _call_off_warning(self) -> None:
        """Tell the users that nothing comes of it; where that fails, the time they were told goes by."""
        if self._ports.users is None:
            return
        try:
            await self._ports.users.call_off()
        except HostError as error:
            log.warning("the users were warned of a reboot, and are not told that it is called off: %s", error)
        self._progress.warned = None

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Write the journal; a disk that takes nothing any more does not keep the slot."""
        try:
            yield
        except HostError as error:
            if self._ports.journal.failed_writes < decide.ABORT_WITHOUT_WRITES:
                raise
            log.warning("the slot is released without it: %s", error)

    @contextlib.contextmanager
    def _noting_what_the_store_knows(self) -> Iterator[None]:
        """Take note that the store knows more of this reboot than the journal: the next turn reports it."""
        try:
            yield
        except OlderJournalError as error:
            self._progress.stored = StoredFailure(error.state, str(error))

    @contextlib.contextmanager
    def _pointing_out(self, entry: JournalEntry) -> Iterator[None]:
        """Name the way out where a claim's own store is away for good, and another one is configured by now."""
        try:
            yield
        except StoreUnavailableError as error:
            if target_of(entry).endpoints == self._target.endpoints:
                raise
            raise type(error)(
                f"{error}; this machine's claim was made there, the configuration names other endpoints now: if those "
                "are gone for good, see `locksmithctl status`, `unlock` this machine if it holds, remove its journal"
            ) from None

    async def _sleep(self, step: Wait | Idle, snapshot: Snapshot | None) -> None:
        """Sleep until woken, until the step's time, or for a heartbeat; then every answer is asked for again."""
        limit = self._ports.heartbeat
        if isinstance(step, Wait) and step.until is not None:
            limit = min(limit, max(0.0, (step.until - self._ports.clock()).total_seconds()))
        if isinstance(step, Wait) and step.code == "verifying":
            limit = min(limit, LONGEST_LOOK, FIRST_LOOK * 2.0 ** min(self._progress.looks, 8))
            self._progress.looks += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._woken_or_changed(limit)
        self._progress.answer = self._progress.acknowledged = None
        seen = snapshot.stage if snapshot is not None else None
        if seen is not None and seen.over and seen.stage in {Stage.HEALTH, Stage.FINISH}:
            self._progress.running = None
        if not self._pace.allows(asyncio.get_running_loop().time()):
            await asyncio.sleep(PACE)

    async def _woken_or_changed(self, limit: float) -> None:
        if not isinstance(self._progress.answer, Denied) and self._progress.acknowledged is not False:
            await self._woken.wait()
            return
        tasks = [asyncio.ensure_future(self._woken.wait()), asyncio.ensure_future(self._changed(limit))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _changed(self, limit: float) -> None:
        """Wait until it is worth asking again: where that can't be watched, after a moment."""
        try:
            if await self._strategy(self._watched).changed(limit):
                return
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
            log.info("cannot watch for a free slot: %s", error)
            limit = RETRY
        await asyncio.sleep(limit)

    def _strategy(self, target: Target) -> Strategy:
        if target not in self._strategies:
            self._strategies[target] = self._ports.strategy(target)
        return self._strategies[target]

    def _show(self, step: Step, snapshot: Snapshot | None) -> None:
        for reporter in self._ports.reporters:
            reporter.show(step, snapshot)

    async def _close(self) -> None:
        if self._progress.running is not None:
            self._progress.running.task.cancel()
        if self._progress.warned is not None and not self._progress.committed:
            with contextlib.suppress(Exception):  # what it speaks to may be gone
                async with asyncio.timeout(CLOSE_LIMIT):
                    await self._call_off_warning()
        parts: list[Strategy | Presence | WindowSource | None] = [*self._strategies.values()]
        for part in (*parts, self._ports.presence, self._ports.windows):
            if part is None:
                continue
            with contextlib.suppress(Exception):  # a plugin may fail in any way
                async with asyncio.timeout(CLOSE_LIMIT):
                    await part.close()


def _is_untouched(entry: JournalEntry) -> bool:
    """Whether nothing of a claim's reboot has begun."""
    return entry.phase is Phase.REQUESTED and entry.hooks is Hooks.NONE


def _name(step: Step) -> str:
    return type(step).__name__.lower()
