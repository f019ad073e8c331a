"""What the loop observes at the start of each cycle: the machine, its triggers, its gates and its own memory."""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from locksmith.agent.arriving import Arriving
from locksmith.agent.facts import Blocker, Boot, Checks, RebootCall, ShutdownState, TriggerResult, WindowSight
from locksmith.agent.identity import Target
from locksmith.agent.journal import TAKEN_OVER, Hooks, Journal, JournalEntry, Phase, target_of
from locksmith.agent.memory import Asked, Memory, Stopwatch
from locksmith.agent.ports import Ports, Trigger
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.stages import StageRunner
from locksmith.lock.answer import Granted
from locksmith.util.secret import redact

log = logging.getLogger(__name__)

LOOK_LIMIT = 20.0
"""Seconds for a trigger to answer."""
CORRECTED = timedelta(minutes=1)
"""If a trigger moves the beginning of a need back by more than this, it has learned something."""


class Observer:
    """Makes the snapshot for one decision. An error means: this machine does not know enough to decide."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        ports: Ports,
        *,
        memory: Memory,
        stages: StageRunner,
        arriving: Arriving,
    ) -> None:
        self._settings = settings
        self._target = target
        self._ports = ports
        self._memory = memory
        self._stages = stages
        self._arriving = arriving
        self._down = Stopwatch()
        self._rechecked = -math.inf

    def recheck(self) -> None:
        """Let no answer of an expensive gate count that was asked before now."""
        self._rechecked = asyncio.get_running_loop().time()

    async def observe(self) -> Snapshot:
        """Observe everything once."""
        journal = self.read_journal()
        entry, memory = journal.entry, self._memory.claim
        # Asked first and last: a `locksmithctl` that ends between the two may have written the reboot journal since.
        operator = self._ports.operator()
        self._stages.take_note(entry, memory)
        boot = await self._boot()
        if memory.call is None:
            await self._ask_triggers(boot)
        blockers, users = await self._ask_gates(entry), await self._ask_users()
        window = await self._ask_windows(boot, entry)
        shutdown = await self._ports.machine.shutdown_state()
        time = asyncio.get_running_loop().time()
        operator = operator or self._ports.operator()
        return Snapshot(
            now=self._ports.clock(),
            boot=boot,
            settings=self._settings,
            shutdown=shutdown,
            needs=tuple(result.need for result in memory.results if result.need is not None),
            errors=tuple(result.error for result in memory.results if result.error is not None),
            not_applied=tuple(result.not_applied for result in memory.results if result.not_applied),
            journal=journal,
            answer=memory.answer,
            call=self._call(time),
            committed_by_this_process=memory.committed,
            observed_ago=timedelta(seconds=time - memory.looked),
            commit_age=timedelta(seconds=time - memory.commit_sent if memory.committed else 0.0),
            orphaned_for=memory.orphaned_for.check(time, holds=_is_orphaned(entry, operator=operator)),
            shutting_down_for=self._down.check(time, holds=shutdown is not ShutdownState.RUNNING),
            target_changed=entry is not None and target_of(entry) != self._target,
            operator=operator,
            adopts=self._ports.adopts(),
            clone=self._ports.presence.clone if self._ports.presence else "",
            blockers=blockers,
            checks=self._checks(self._memory.claim.asked, time),
            rehearsed=self._checks(self._memory.claim.rehearsed, time),
            stage=memory.running.report(time) if memory.running else None,
            prepared=memory.prepared or (entry is not None and entry.hooks is Hooks.PREPARED),
            finished=memory.finished or (entry is not None and entry.hooks is Hooks.FINISHED),
            verifying=memory.verifying.check(time, holds=entry is not None and entry.boot != boot),
            system=self._ports.machine.system(),
            acknowledged=memory.acknowledged,
            aborting=memory.aborting,
            users=users,
            warned=memory.warned,
            warned_for=timedelta(seconds=0.0 if memory.warned_since is None else time - memory.warned_since),
            window=window,
            stored=memory.stored,
            failed_writes=self._ports.journal.failed_writes,
            released=entry is not None and entry.claim.nonce == self._memory.released,
            arrival=self._arriving.left(time),
        )

    def read_journal(self) -> Journal:
        """Read the reboot journal. A reported failure counts, even if the disk did not take it."""
        journal = self._ports.journal.read()
        self._memory.entry, self._memory.journal_read = journal.entry, True
        self._memory.follow(journal.entry)
        gone_wrong = self._memory.claim.gone_wrong
        if journal.entry is None or gone_wrong is None:
            return journal
        claim = journal.entry.claim.gone_wrong(gone_wrong.state, gone_wrong.failure)
        return replace(journal, entry=replace(journal.entry, claim=claim))

    async def _boot(self) -> Boot:
        if self._memory.boot is None:
            self._memory.boot = await self._ports.machine.boot()
        return self._memory.boot

    def _call(self, time: float) -> RebootCall | None:
        call = self._memory.claim.call
        return call and replace(call, ago=timedelta(seconds=time - self._memory.claim.called))

    def _checks(self, asked: Asked | None, time: float) -> Checks | None:
        """Give the answers of the expensive gates. An answer from before a `recheck` is too old to count."""
        if asked is None:
            return None
        checks, settings = asked.checks(time), self._settings
        counts = settings.rehearse if settings.dry_run else settings.recheck
        return replace(checks, ago=max(checks.ago, counts)) if asked.began < self._rechecked else checks

    async def _ask_gates(self, entry: JournalEntry | None) -> tuple[Blocker, ...]:
        """Ask the cheap gates, if there is a claim or a need, and no reboot was ordered yet."""
        if (entry is None and not self._is_needed()) or self._memory.claim.call is not None:
            return ()
        said = await asyncio.gather(*(gate.check(entry) for gate in self._ports.gates))
        return tuple(blocker for blockers in said for blocker in blockers)

    async def _ask_windows(self, boot: Boot, entry: JournalEntry | None) -> WindowSight:
        """Ask when this machine may reboot. An unknown answer is an error only if a reboot depends on it now."""
        if self._ports.windows is None:
            return WindowSight()
        matters = self._memory.claim.call is None and (entry is None or entry.boot == boot)
        return await self._ports.windows.check(self._ports.clock(), wanted=matters and self._is_needed())

    async def _ask_users(self) -> frozenset[str]:
        """Ask who is logged in: before a reboot, and in a dry run."""
        claim = self._memory.claim
        rehearses = self._settings.dry_run and self._memory.entry is None and self._is_needed()
        asks = (isinstance(claim.answer, Granted) and not claim.committed) or rehearses
        if self._ports.users is None or not asks:
            return frozenset()
        return await self._ports.users.present()

    def _is_needed(self) -> bool:
        return any(result.need for result in self._memory.claim.results)

    async def _ask_triggers(self, boot: Boot) -> None:
        memory, now = self._memory.claim, self._ports.clock()
        memory.looked = asyncio.get_running_loop().time()
        known = {(need.trigger, need.version): need.since for result in memory.results if (need := result.need)}
        results = await asyncio.gather(*(_ask(trigger, now, boot) for trigger in self._ports.triggers))
        memory.results = [_since_known(result, known) for result in results]


async def _ask(trigger: Trigger, now: datetime, boot: Boot) -> TriggerResult:
    """Ask one trigger. A defect of a plugin is an error of that trigger alone, and holds up no other."""
    try:
        async with asyncio.timeout(LOOK_LIMIT):
            seen = await trigger.check(now, boot)
    except TimeoutError:
        seen = TriggerResult(error=f"{trigger.name}: it does not answer within {LOOK_LIMIT:.0f} s")
    except Exception as error:
        log.debug("a defect of a trigger", exc_info=True)
        seen = TriggerResult(error=f"{trigger.name}: {type(error).__name__}: {error}")
    return _without_secrets(seen if seen.looked else replace(seen, looked=now))


def _since_known(seen: TriggerResult, known: Mapping[tuple[str, str], datetime]) -> TriggerResult:
    """Let a need begin when it was first seen, or before, if its trigger says so.

    A trigger may name another moment each time. Each would be news, and a write to the store every half a minute.
    """
    need = seen.need
    before = known.get((need.trigger, need.version)) if need is not None else None
    if need is None or before is None or need.since < before - CORRECTED:
        return seen
    return replace(seen, need=replace(need, since=before))


def _without_secrets(seen: TriggerResult) -> TriggerResult:
    """Give a result as every record will have it: a version that differed there would count as another one."""
    need, error = seen.need, seen.error
    return replace(
        seen,
        need=need and replace(need, version=redact(need.version), reason=redact(need.reason)),
        error=None if error is None else redact(error),
        not_applied=redact(seen.not_applied),
    )


def _is_orphaned(entry: JournalEntry | None, *, operator: bool) -> bool:
    """Whether a claim is past its point of no return, and no `locksmithctl` that runs will see it through."""
    if entry is None or entry.phase is not Phase.COMMITTED:
        return False
    return entry.by == TAKEN_OVER or not operator
