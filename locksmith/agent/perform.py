"""How each step of the loop is done: the reboot journal first, then the store, then the machine.

Above 300 lines, in one piece: each method does one step, with the same reboot journal, strategy and machine.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from locksmith.agent import decide, events, obstacles, permit
from locksmith.agent.claim import new_entry
from locksmith.agent.facts import Aborting, RebootCall, Stage, StoredFailure, Warned
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import FailedAttempt, Hooks, JournalEntry, Phase, PreRebootState, done_by, target_of
from locksmith.agent.memory import Memory
from locksmith.agent.node_status import describe
from locksmith.agent.permit import Permit
from locksmith.agent.ports import Ports, Users
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.stages import StageRunner
from locksmith.agent.steps import (
    Abort,
    Adopt,
    Commit,
    Reboot,
    Release,
    ReportFailure,
    Request,
    Run,
    Step,
    TakeOver,
    Undo,
    Warn,
)
from locksmith.agent.strategies import Strategies
from locksmith.agent.strategy import has_slots
from locksmith.errors import (
    HostError,
    LocksmithError,
    OlderJournalError,
    RebootRefusedError,
    RebootUnknownError,
)
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.records.claim import WENT_WRONG

log = logging.getLogger(__name__)


class Performer:
    """Does one step. An error means: the step is not done, or not known to be done, and is decided on again."""

    def __init__(
        self,
        member: Member,
        target: Target,
        settings: Settings,
        ports: Ports,
        *,
        memory: Memory,
        strategies: Strategies,
        stages: StageRunner,
    ) -> None:
        self._member = member
        self._target = target
        self._settings = settings
        self._ports = ports
        self._memory = memory
        self._strategies = strategies
        self._stages = stages

    async def perform(self, step: Step, snapshot: Snapshot) -> None:  # noqa: C901, PLR0912 - one case for each step
        """Do what `decide` chose from this snapshot."""
        entry = snapshot.journal.entry
        match step:
            case Adopt():
                await self._adopt()
            case Request():
                await self._request(entry or await self._new_entry(snapshot))
            case Run(Stage.REHEARSAL):
                # Of a claim that is never written down: the hooks find in it what they would find in a real claim.
                await self._stages.begin(Stage.REHEARSAL, await self._new_entry(snapshot), self._memory.claim)
            case Run(stage):
                await self._stages.begin(stage, entry, self._memory.claim)
            case Warn() if entry is not None and self._ports.users is not None:
                await self._warn(self._ports.users, entry, step, snapshot)
            case ReportFailure() if entry is not None:
                await self.report_failure(entry, step)
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

    async def report_failure(self, entry: JournalEntry, step: ReportFailure) -> None:
        """Write the reboot journal first: what was said of this reboot counts, even if the machine is well later.

        If the disk does not take it, the group is told all the same.
        """
        if (entry.claim.state, entry.claim.failure) != (step.state, step.failure):
            try:
                self._ports.journal.report_failure(entry.claim.nonce, step.state, step.failure)
            except HostError as error:
                log.warning("what went wrong with the reboot is not written down here: %s", error)
            self._memory.claim.gone_wrong = StoredFailure(step.state, step.failure)
        if self._holds_nothing(entry):
            self._memory.claim.acknowledged = True
            return
        self._strategies.watched = target_of(entry)
        with self._strategies.of_claim(entry) as strategy:
            self._memory.claim.acknowledged = await strategy.report_failure(entry.claim, step.state, step.failure)

    async def release_unobserved(self, entry: JournalEntry, failure: str) -> None:
        """Release the slot of a machine that cannot observe itself. The reboot journal forgets the claim later.

        A claim of a `locksmithctl` that has ended, or stands still, first becomes the daemon's: that `locksmithctl`
        must not go on with a released slot.
        """
        if entry.is_operators:
            self._ports.journal.take_over(entry.claim.nonce, self._ports.operator)
        strategy = self._strategies.at(target_of(entry))
        await strategy.abort(entry.claim, f"this machine cannot observe itself: {failure}")
        self._memory.released = entry.claim.nonce

    async def cancel_warning(self) -> None:
        """Tell the users that no reboot comes. If that fails, the announced time passes without a reboot."""
        if self._ports.users is None:
            return
        try:
            await self._ports.users.call_off()
        except HostError as error:
            log.warning("the users were warned of a reboot, and are not told that it is cancelled: %s", error)
        self._memory.claim.warned = None

    async def _adopt(self) -> None:
        if await self._strategies.at(self._target).adopt(self._member.machine_id):
            log.warning("released a slot that this machine held without a record (adopt = true)")
        self._ports.adopted()

    async def _new_entry(self, snapshot: Snapshot) -> JournalEntry:
        before = await self._ports.machine.before(obstacles.wanted(snapshot)[0])
        return new_entry(self._member, self._target, snapshot, before)

    async def _request(self, entry: JournalEntry) -> None:
        new = self._memory.entry is None
        self._ports.journal.begin(entry)
        self._memory.follow(entry)
        self._strategies.watched = target_of(entry)
        claim = self._memory.claim
        claim.unanswered = claim.unanswered or new
        # A request that fails, or is cut off, may still take effect later.
        uncertain, claim.uncertain = claim.uncertain and not new, True
        with self._noting_an_older_journal():
            claim.answer = await self._strategies.at(target_of(entry)).request(entry.claim)
        claim.uncertain = uncertain
        claim.unanswered = False
        self._log_answer(claim.answer, entry, new=not claim.had)
        claim.had = claim.had or isinstance(claim.answer, Granted)

    def _log_answer(self, answer: Answer, entry: JournalEntry, *, new: bool) -> None:
        """Log a slot that this machine has now, or has no longer. Some strategies have no slots."""
        if isinstance(answer, Denied) and answer.lost:
            log.warning(
                "the slot is lost: %s", answer.text, extra=events.of_claim(events.SLOT_LOST, entry, answer.text)
            )
        elif isinstance(answer, Granted) and new and self._has_slots(entry):
            extra = events.of_claim(events.SLOT_TAKEN, entry)
            log.info("this machine has a slot: %s", entry.claim.reason, extra=extra)

    def _has_slots(self, entry: JournalEntry) -> bool:
        return has_slots(self._strategies.at(target_of(entry)))

    async def _warn(self, users: Users, entry: JournalEntry, step: Warn, snapshot: Snapshot) -> None:
        if self._memory.claim.warned_since is None:
            self._memory.claim.warned_since = asyncio.get_running_loop().time()
        await users.warn(step.until, entry.claim.reason)
        self._memory.claim.warned = Warned(snapshot.users, step.until)

    async def _commit(self, entry: JournalEntry, snapshot: Snapshot) -> None:
        """Write the reboot journal first, then the store. After a crash in between, the next start aborts the claim."""
        if self._ports.presence is not None:
            node = describe(Commit(), snapshot, self._member, self._target)
            await self._ports.presence.confirm(node, self._settings.limit.total_seconds())
            if self._ports.presence.clone:
                return
        before = await self._before(entry, snapshot)
        self._ports.journal.commit(entry.claim.nonce, before)
        asked = asyncio.get_running_loop().time()
        answer = await self._ask_to_commit(entry, before)
        if not isinstance(answer, Granted):
            self._ports.journal.reopen(entry.claim.nonce)
        claim = self._memory.claim
        claim.answer = answer
        if isinstance(answer, Granted):
            claim.committed, claim.commit_sent = True, asked if answer.sent is None else answer.sent
            log.info(
                "past the point of no return", extra=events.of_claim(events.COMMITTED, replace(entry, before=before))
            )
        elif answer is not None:
            self._log_answer(answer, entry, new=False)

    async def _ask_to_commit(self, entry: JournalEntry, before: PreRebootState) -> Answer | None:
        """Commit in the store. Without an answer the commit in the reboot journal is undone."""
        causes = before.causes or entry.claim.causes
        claim = replace(entry.claim, version=before.version or entry.claim.version, causes=causes)
        answer: Answer | None = None
        try:
            with self._noting_an_older_journal():
                answer = await self._strategies.at(target_of(entry)).commit(claim)
        except BaseException:
            # If that fails too, the next start reads "committed", and proves that the machine stayed up.
            with contextlib.suppress(LocksmithError):
                self._ports.journal.reopen(entry.claim.nonce)
            raise
        return answer

    async def _before(self, entry: JournalEntry, snapshot: Snapshot) -> PreRebootState:
        """Describe the machine, and what it needs a reboot for by now: a newer update may have come during the wait.

        A unit that had failed when the claim was made is kept: a hook may have stopped that unit since.
        """
        now = await self._ports.machine.before(None)
        units = dict.fromkeys((*entry.before.failed_units, *now.failed_units))
        need = obstacles.latest(snapshot, entry)
        causes = obstacles.causes(snapshot, need)
        return replace(now, trigger=need.trigger, failed_units=tuple(units), version=need.version, causes=causes)

    async def _reboot(self) -> None:
        self._memory.claim.called = asyncio.get_running_loop().time()
        self._memory.claim.call = RebootCall(timedelta())
        try:
            await self._ports.machine.reboot(self._permit())
        except RebootRefusedError as error:
            self._memory.claim.call = RebootCall(timedelta(), refused=str(error))
        except RebootUnknownError as error:
            log.warning("%s; this machine may be going down", error)

    def _permit(self) -> Permit:
        """Permit the order while the commit is young: an older commit may have lost its slot."""
        return permit.until(self._memory.claim.commit_sent + self._settings.max_age.total_seconds())

    async def _release(self, entry: JournalEntry, snapshot: Snapshot) -> None:
        nonce = entry.claim.nonce
        if self._holds_nothing(entry):
            self._memory.released = nonce
        if nonce != self._memory.released:
            with self._strategies.of_claim(entry) as strategy, self._noting_an_older_journal():
                await strategy.complete(replace(entry.claim, version=entry.version))
                self._memory.released = nonce
            if nonce == self._memory.released and self._has_slots(entry):
                log.info("the slot is released", extra=events.of_claim(events.RELEASED, entry))
        if nonce != self._memory.released:
            return
        rebooted = entry.phase is Phase.COMMITTED or entry.claim.state in WENT_WRONG
        self._ports.journal.clear(nonce, done=done_by(entry, snapshot.now) if rebooted else None)

    async def _undo(self, entry: JournalEntry, step: Undo, snapshot: Snapshot) -> None:
        """Write the reboot journal first: once the hooks that undo have begun, only a new commit leads to a reboot."""
        nonce, claim = entry.claim.nonce, self._memory.claim
        with self._written():
            if step.failed:
                self._ports.journal.fail(nonce, self._failed_attempt(entry, step.reason, snapshot))
            if entry.phase is Phase.COMMITTED:
                self._ports.journal.reopen(nonce)
            # After a crash from here on, all of these hooks run again.
            self._ports.journal.hooks(nonce, Hooks.BEGUN)
        claim.prepared = False
        claim.aborting = Aborting(step.reason, step.failed)
        claim.committed, claim.call = False, None
        await self._stages.stop(entry, claim)
        await self._stages.begin(Stage.UNDO, entry, claim)

    async def _abort(self, entry: JournalEntry, step: Abort, snapshot: Snapshot) -> None:
        """Write the reboot journal first: once the slot may be released, only a new commit leads to a reboot."""
        nonce = entry.claim.nonce
        with self._written():
            if step.failed and self._memory.claim.aborting is None:
                self._ports.journal.fail(nonce, self._failed_attempt(entry, step.reason, snapshot))
            if entry.phase is Phase.COMMITTED:
                self._ports.journal.reopen(nonce)
        await self.cancel_warning()
        self._memory.forget(nonce)
        if self._holds_nothing(entry):
            log.info("the claim is dropped: its store never answered, so no slot was asked for")
            self._memory.released = nonce
        if nonce != self._memory.released:
            with self._strategies.of_claim(entry) as strategy, self._noting_an_older_journal():
                await strategy.abort(entry.claim, step.reason)
                self._memory.released = nonce
        if nonce == self._memory.released:
            self._ports.journal.clear(nonce, past=step.past)

    def _holds_nothing(self, entry: JournalEntry) -> bool:
        """Whether a claim for another lock than the configured lock has no slot for certain. Its store may be gone.

        This process never asks that lock. Before an earlier process could write the semaphore, it wrote into the reboot
        journal that the claim is no longer unsent.
        """
        return entry.unsent and target_of(entry) != self._target

    def _failed_attempt(self, entry: JournalEntry, reason: str, snapshot: Snapshot) -> FailedAttempt:
        last, version = snapshot.journal.failure, entry.version
        again = last is not None and not obstacles.is_another(last.version, version)
        return FailedAttempt(self._ports.clock(), reason, version, last.tries + 1 if last and again else 1)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Write the reboot journal. After several failed writes in a row the slot is released without them."""
        try:
            yield
        except HostError as error:
            if self._ports.journal.failed_writes < decide.ABORT_WITHOUT_WRITES:
                raise
            log.warning("the slot is released, though the reboot journal does not say so: %s", error)

    @contextlib.contextmanager
    def _noting_an_older_journal(self) -> Iterator[None]:
        """Note that the store knows more of this reboot than the reboot journal: the next cycle reports it."""
        try:
            yield
        except OlderJournalError as error:
            self._memory.claim.stored = StoredFailure(error.state, str(error))
