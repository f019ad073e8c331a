"""The claim that `locksmithctl` makes for this machine: before the slot in the reboot journal, after it released.

The claim is in the reboot journal, as this program's, before the lock is taken. While this program runs it releases
what it took. Once it has ended, and its `OperatorLock` with it, the daemon releases the claim.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from locksmith.agent.facts import ShutdownState
from locksmith.agent.identity import Target
from locksmith.agent.journal import JournalEntry, Phase, target_of
from locksmith.agent.ports import Machine
from locksmith.agent.strategy import Strategy
from locksmith.cli.reboot.preparation import OperatorJournal, Preparation
from locksmith.cli.reboot.wait import QueueWait
from locksmith.errors import HostError, LockError, LocksmithError
from locksmith.lock.answer import Answer
from locksmith.lock.records.claim import COMMAND, Claim

PROGRAM = "locksmithctl"
ABORTED = "this program stood still for a while, and locksmithd aborted what it had begun; start it again"
YIELD_LIMIT = 15.0
"""Seconds for a daemon to leave the queue; `settle` is added, for a claim that the daemon has taken over."""
LOOK_EVERY = 0.2
"""Seconds between two checks whether the machine is going down."""


@dataclass(frozen=True, slots=True)
class OperatorClaim:
    """One claim of this program, with all that it reaches."""

    machine: Machine
    journal: OperatorJournal
    strategy: Callable[[Target], Strategy]
    settle: float
    """Seconds after the order in which a shutdown must begin."""
    say: Callable[[str], None]
    """Tells the operator how it proceeds."""
    queue_wait: QueueWait
    """Waits for the slot."""
    preparation: Preparation
    """Undoes the hooks and the warning of a reboot."""
    wake: Callable[[], object] = field(default=lambda: None, kw_only=True)
    """Has the daemon look, and show what this machine does."""
    daemon_yields: bool = field(default=False, kw_only=True)
    """Whether a locksmithd runs. It releases its own claim, if that is possible, while the `OperatorLock` is held."""

    async def tidy_up(self) -> None:
        """Release what an earlier `locksmithctl` has left, which is known to have ended."""
        entry = self.journal.read().entry
        if entry is None or entry.by != PROGRAM:
            return
        if entry.boot != await self.machine.boot():
            raise LockError("locksmithd has yet to release the slot of this machine's last reboot: does it run?")
        if entry.phase is Phase.COMMITTED and not await self.stays_up():
            raise HostError(f"{entry.claim.who or 'an operator'} has asked for a reboot already: it is going down")
        await self.release(entry)

    async def must_stay_up(self) -> None:
        """Raise `HostError` if this machine is going down already, or that cannot be told."""
        state = await self.machine.shutdown_state()
        if state is ShutdownState.UNKNOWN:
            raise HostError("logind or systemd does not answer, so nothing is begun; is the system bus there?")
        if state is ShutdownState.GOING_DOWN:
            raise HostError("this machine is going down already")

    async def begin(self, entry: JournalEntry) -> None:
        """Write the claim down, as soon as a daemon in the queue has aborted its own claim."""
        clock = asyncio.get_running_loop()
        ends = clock.time() + (YIELD_LIMIT + self.settle if self.daemon_yields else 0.0)
        while True:
            try:
                self.journal.begin(entry)
            except HostError:
                if clock.time() >= ends:
                    raise
                await asyncio.sleep(LOOK_EVERY)
            else:
                return

    async def request(self, strategy: Strategy, entry: JournalEntry) -> Answer:
        """Ask for the slot, unless locksmithd has taken the claim over, as this program stood still."""
        self._must_own(entry)
        answer = await strategy.request(entry.claim)
        self._must_own(entry)
        return answer

    def _must_own(self, entry: JournalEntry) -> None:
        if not self.journal.owns(entry.claim.nonce):
            raise LockError(ABORTED)

    async def release(self, entry: JournalEntry, why: BaseException | str | None = None) -> None:
        """Write the reboot journal first: once the slot may be released, only a new commit leads to a reboot.

        `LockError`: the slot is not released yet. A machine that goes down keeps its slot, also by another order.
        """
        cause = f"{why}; in addition, " if isinstance(why, LocksmithError) else ""
        if down := await self._going_down(entry):
            raise LockError(
                f"{cause}{down}, so it keeps its slot: locksmithd releases the slot after the boot, when the machine "
                "is healthy, or as soon as the machine is certain to stay up"
            )
        try:
            self.journal.reopen(entry.claim.nonce)
            await self.preparation.undo(entry.claim.nonce)
            await self.strategy(target_of(entry)).abort(self._as_written(entry), _reason(entry, why))
            self.journal.clear(entry.claim.nonce)
        except LocksmithError as error:
            raise LockError(f"{cause}the lock is not released yet, locksmithd does that later: {error}") from None

    async def _going_down(self, entry: JournalEntry) -> str:
        """Say that this machine goes down; empty: it does not. A command may have ordered that, a reboot did not."""
        state = await self.machine.shutdown_state()
        if state is ShutdownState.UNKNOWN and entry.claim.kind == COMMAND:
            return "logind or systemd does not say whether this machine is going down"
        return "this machine is going down" if state is ShutdownState.GOING_DOWN else ""

    def _as_written(self, entry: JournalEntry) -> Claim:
        """Give the claim as the reboot journal has it now: a claim that does not know its commit releases nothing."""
        written = self.journal.read().entry
        return written.claim if written is not None and written.claim.nonce == entry.claim.nonce else entry.claim

    async def stays_up(self) -> bool:
        """Watch until the machine goes down, or for `settle` seconds; `HostError`: that cannot be told."""
        clock = asyncio.get_running_loop()
        ends = clock.time() + self.settle
        state = await self.machine.shutdown_state()
        while state is not ShutdownState.GOING_DOWN and clock.time() < ends:
            await asyncio.sleep(LOOK_EVERY)
            state = await self.machine.shutdown_state()
        if state is ShutdownState.UNKNOWN:
            raise HostError(
                "logind or systemd does not say whether this machine is going down: it keeps the lock, and locksmithd "
                "releases the lock when the machine has proved to stay up"
            )
        return state is ShutdownState.RUNNING


def _reason(entry: JournalEntry, why: BaseException | str | None) -> str:
    what = "command" if entry.claim.kind == COMMAND else "reboot"
    if why is None:
        return f"an operator's {what} that did not come about"
    return str(why) or f"the operator called the {what} off"
