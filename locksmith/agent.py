"""The loop on each machine: observe, diff, perform.

Level-triggered: signals only wake it; what it then observes decides. `decide` chooses one step from one snapshot;
here it is performed, and every reason to wait, an error's sentence included, is shown to all reporters as the same
value.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random

from locksmith import decide, fleet
from locksmith.claims import new_entry, target_of
from locksmith.decide import Adopt, Commit, Finish, Idle, Reboot, Release, Request, Step, Wait, Withdraw
from locksmith.errors import LocksmithError, RebootRefusedError, RebootUnknownError, StoreUnavailableError
from locksmith.node_state import describe
from locksmith.progress import Lasting, Progress
from locksmith.ratelimit import RateLimit
from locksmith.snapshot import (
    DAEMON,
    Boot,
    Denied,
    Failure,
    Granted,
    JournalEntry,
    Phase,
    RebootCall,
    Settings,
    ShutdownState,
    Snapshot,
)
from locksmith.strategy import Strategy
from locksmith.surroundings import Member, Presence, Surroundings, Target

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
SHOW_LIMIT = 10.0
"""Seconds to show the others of the group what this machine does."""
CLOSE_LIMIT = 0.5
"""Seconds for a strategy to let go of its connections: the daemon stops within one."""


class Agent:
    """One machine's loop."""

    def __init__(self, member: Member, target: Target, settings: Settings, around: Surroundings) -> None:
        self._member = member
        self._target = target
        self._settings = settings
        self._around = around
        self._strategies: dict[Target, Strategy] = {}
        self._woken = asyncio.Event()
        self._boot: Boot | None = None
        self._down = Lasting()
        self._pace = RateLimit(burst=20, per_second=1 / PACE)
        self._progress = Progress()
        self._hidden = False
        self._failures = 0
        self._rng = Random(member.machine_id)  # noqa: S311 - only unlike those of other machines

    def wake(self) -> None:
        """Look again now."""
        self._woken.set()

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
            entry = self._around.journal.read().entry
            if entry is None:
                return "stopping; this machine holds nothing"
            if isinstance(self._progress.answer, Denied) and entry.by == DAEMON:
                self._around.journal.clear(entry.claim.nonce)
                return "stopping; this machine gives up its place and holds nothing"
        except LocksmithError as error:
            return f"stopping; {error}"
        return f"stopping; this machine keeps its claim of {fleet.moment(entry.claim.since)}, the next start goes on"

    async def _turn(self) -> bool:
        """Observe, decide, perform one step; True when there is nothing left to do."""
        self._woken.clear()
        step: Step = Idle()
        snapshot: Snapshot | None = None
        try:
            snapshot = await self._observe()
            step = decide.decide(snapshot)
            self._show(step, snapshot)
            async with asyncio.timeout(STEP_LIMIT):
                await self._perform(step, snapshot)
            self._failures = 0
            for reporter in self._around.reporters:
                reporter.performed(step)
        except LocksmithError as error:
            step = self._trouble(error.component, str(error), snapshot)
        except TimeoutError:
            step = self._trouble("timeout", f"{_name(step)} took longer than {STEP_LIMIT:.0f} s", snapshot)
        except Exception as error:  # a plugin may fail in any way: that is a no, not the end of the daemon
            log.debug("a defect, here or in a plugin", exc_info=True)
            step = self._trouble("defect", f"{_name(step)} failed: {type(error).__name__}: {error}", snapshot)
        if isinstance(step, Wait | Idle):
            await self._present(step, snapshot)
            await self._sleep(step)
        return isinstance(step, Finish)

    def _trouble(self, code: str, text: str, snapshot: Snapshot | None) -> Step:
        """Wait a moment after a step that failed, with the error as the reason that everybody sees."""
        self._failures += 1
        longer = min(LONGEST_RETRY, RETRY * 2.0 ** max(0, self._failures - SOON))
        pause = RETRY if longer == RETRY else self._rng.uniform(longer / 2, longer)
        step = Wait(code, text, self._around.clock() + timedelta(seconds=pause))
        self._show(step, snapshot)
        return step

    async def _present(self, step: Step, snapshot: Snapshot | None) -> None:
        """Show the group what this machine does; that it could not is no reason to do anything else."""
        if self._around.presence is None or snapshot is None:
            return
        try:
            async with asyncio.timeout(SHOW_LIMIT):
                await self._around.presence.show(describe(step, snapshot, self._member, self._target))
            self._hidden = False
        except (LocksmithError, TimeoutError) as error:
            level = logging.DEBUG if self._hidden else logging.INFO
            log.log(level, "the group is not shown what this machine does: %s", str(error) or "etcd takes too long")
            self._hidden = True

    async def _observe(self) -> Snapshot:
        journal = self._around.journal.read()
        # Asked before and after everything else: one that has ended meanwhile may have written the journal since.
        operator = self._around.operator()
        self._follow(journal.entry)
        if self._boot is None:
            self._boot = await self._around.machine.boot()
        if self._progress.call is None:
            await self._look(self._boot)
        shutdown = await self._around.machine.shutdown_state()
        time = asyncio.get_running_loop().time()
        operator = operator or self._around.operator()
        committed = journal.entry is not None and journal.entry.phase is Phase.COMMITTED
        return Snapshot(
            now=self._around.clock(),
            boot=self._boot,
            settings=self._settings,
            shutdown=shutdown,
            wishes=tuple(sight.wish for sight in self._progress.sightings if sight.wish is not None),
            doubts=tuple(sight.doubt for sight in self._progress.sightings if sight.doubt is not None),
            journal=journal,
            answer=self._progress.answer,
            call=self._progress.call
            and replace(self._progress.call, ago=timedelta(seconds=time - self._progress.called)),
            committed_here=self._progress.committed,
            look_age=timedelta(seconds=time - self._progress.looked),
            unattended=self._progress.unattended.look(time, holds=committed and not operator),
            down_for=self._down.look(time, holds=shutdown is not ShutdownState.RUNNING),
            retargeted=journal.entry is not None and target_of(journal.entry) != self._target,
            operator=operator,
            adopts=self._around.adopts(),
            twin=self._around.presence.twin if self._around.presence else "",
        )

    def _follow(self, entry: JournalEntry | None) -> None:
        """Forget what was remembered of another claim, however that one ended."""
        nonce = entry.claim.nonce if entry else ""
        if nonce != self._progress.nonce:
            self._progress = Progress(nonce)

    async def _look(self, boot: Boot) -> None:
        self._progress.looked = asyncio.get_running_loop().time()
        now = self._around.clock()
        self._progress.sightings = await asyncio.gather(*(trigger.look(now, boot) for trigger in self._around.triggers))

    async def _perform(self, step: Step, snapshot: Snapshot) -> None:
        entry = snapshot.journal.entry
        match step:
            case Adopt():
                await self._adopt()
            case Request():
                await self._request(entry or new_entry(self._member, self._target, snapshot))
            case Commit() if entry is not None:
                await self._commit(entry, snapshot)
            case Reboot():
                await self._reboot()
            case Release() if entry is not None:
                await self._release(entry)
            case Withdraw() if entry is not None:
                await self._withdraw(entry, step)
            case _:
                pass

    async def _adopt(self) -> None:
        if await self._strategy(self._target).adopt(self._member.machine_id):
            log.warning("gave back a slot that this machine held without a record (adopt = true)")
        self._around.adopted()

    async def _request(self, entry: JournalEntry) -> None:
        self._around.journal.begin(entry)
        self._follow(entry)
        self._progress.answer = await self._strategy(target_of(entry)).request(entry.claim)

    async def _commit(self, entry: JournalEntry, snapshot: Snapshot) -> None:
        """Write the journal first, then the store: a crash between the two finds a machine that proves it stayed up."""
        if self._around.presence is not None:
            node = describe(Commit(), snapshot, self._member, self._target)
            await self._around.presence.confirm(node, self._settings.limit.total_seconds())
            if self._around.presence.twin:
                return
        self._around.journal.commit(entry.claim.nonce)
        try:
            answer = await self._strategy(target_of(entry)).commit(entry.claim)
        except BaseException:
            # Where that fails too, the journal says committed, which the next start proves wrong.
            with contextlib.suppress(LocksmithError):
                self._around.journal.reopen(entry.claim.nonce)
            raise
        if isinstance(answer, Denied):
            self._around.journal.reopen(entry.claim.nonce)
        self._progress.answer = answer
        self._progress.committed = isinstance(answer, Granted)

    async def _reboot(self) -> None:
        self._progress.called = asyncio.get_running_loop().time()
        self._progress.call = RebootCall(timedelta())
        try:
            await self._around.machine.reboot()
        except RebootRefusedError as error:
            self._progress.call = RebootCall(timedelta(), refused=str(error))
        except RebootUnknownError as error:
            log.warning("%s; this machine may be going down", error)

    async def _release(self, entry: JournalEntry) -> None:
        with self._pointing_out(entry):
            await self._strategy(target_of(entry)).complete(entry.claim)
        self._around.journal.clear(entry.claim.nonce, forget_failure=True)

    async def _withdraw(self, entry: JournalEntry, step: Withdraw) -> None:
        """Write the journal first: once the slot may be given back, only a new commit leads to a reboot."""
        if step.failed:
            self._around.journal.fail(entry.claim.nonce, Failure(self._around.clock(), step.reason))
        if entry.phase is Phase.COMMITTED:
            self._around.journal.reopen(entry.claim.nonce)
        self._progress = Progress()
        with self._pointing_out(entry):
            await self._strategy(target_of(entry)).withdraw(entry.claim, step.reason)
        self._around.journal.clear(entry.claim.nonce)

    @contextlib.contextmanager
    def _pointing_out(self, entry: JournalEntry) -> Iterator[None]:
        """Name the way out where a claim's own store is away for good, and another one is configured by now."""
        try:
            yield
        except StoreUnavailableError as error:
            if target_of(entry).endpoints == self._target.endpoints:
                raise
            raise StoreUnavailableError(
                f"{error}; this machine's claim was made there, the configuration names other endpoints now: if those "
                "are gone for good, see `locksmithctl status`, `unlock` this machine if it holds, remove its journal"
            ) from None

    async def _sleep(self, step: Wait | Idle) -> None:
        """Sleep until woken, until the step's time, or for a heartbeat; then every answer is asked for again."""
        limit = self._around.heartbeat
        if isinstance(step, Wait) and step.until is not None:
            limit = min(limit, max(0.0, (step.until - self._around.clock()).total_seconds()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._woken_or_changed(limit)
        self._progress.answer = None
        if not self._pace.allows(asyncio.get_running_loop().time()):
            await asyncio.sleep(PACE)

    async def _woken_or_changed(self, limit: float) -> None:
        if not isinstance(self._progress.answer, Denied):
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
            if await self._strategy(self._target).changed(limit):
                return
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
            log.info("cannot watch for a free slot: %s", error)
            limit = RETRY
        await asyncio.sleep(limit)

    def _strategy(self, target: Target) -> Strategy:
        if target not in self._strategies:
            self._strategies[target] = self._around.strategy(target)
        return self._strategies[target]

    def _show(self, step: Step, snapshot: Snapshot | None) -> None:
        for reporter in self._around.reporters:
            reporter.show(step, snapshot)

    async def _close(self) -> None:
        parts: list[Strategy | Presence] = [*self._strategies.values()]
        parts += [self._around.presence] if self._around.presence else []
        for part in parts:
            with contextlib.suppress(Exception):  # a plugin may fail in any way
                async with asyncio.timeout(CLOSE_LIMIT):
                    await part.close()


def _name(step: Step) -> str:
    return type(step).__name__.lower()
