"""`locksmithctl reboot`, step by step: the same steps as the daemon's, for an operator who watches them.

The claim stands in the reboot journal, as this program's, before the lock is taken. While this program runs it releases
what it took. Once it has ended, and its `OperatorLock` with it, the daemon releases the claim.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from locksmith.agent.facts import ShutdownState
from locksmith.agent.identity import Target
from locksmith.agent.journal import JournalEntry, Phase, entry_for, target_of
from locksmith.agent.permit import Permit, until
from locksmith.agent.ports import Machine
from locksmith.agent.strategy import Strategy
from locksmith.cli.reboot.preparation import BlockedError, OperatorJournal, Preparation
from locksmith.cli.reboot.wait import QueueWait
from locksmith.errors import HostError, LockError, LocksmithError, RebootRefusedError, RebootUnknownError
from locksmith.host.journal import TakenOverError
from locksmith.lock.answer import Answer, Granted
from locksmith.lock.records.claim import Claim

PROGRAM = "locksmithctl"
ABORTED = (
    "this program stood still for a while, and locksmithd aborted what it had begun; say `locksmithctl reboot` again"
)

ASK_CHECKS = 60.0
"""Seconds before alerts and checks that said no are asked again, and the lock before them."""
ASK_GATES = 5.0
"""Seconds between two checks of gates that say no."""
FRESH = 10.0
"""Seconds after the commit in which the reboot has to be ordered, as for the daemon."""
YIELD_LIMIT = 15.0
"""Seconds for a daemon to leave the queue; `settle` is added, for a claim that the daemon has taken over."""
LOOK_EVERY = 0.2
"""Seconds between two checks whether the machine is going down."""


@dataclass(frozen=True, slots=True)
class OperatorReboot:
    """One reboot, with all that it reaches."""

    machine: Machine
    journal: OperatorJournal
    strategy: Callable[[Target], Strategy]
    settle: float
    """Seconds after the order in which a shutdown must begin."""
    say: Callable[[str], None]
    """Tells the operator how the reboot proceeds."""
    queue_wait: QueueWait
    """Waits for the slot."""
    preparation: Preparation
    beat: Callable[[], None] = lambda: None
    """Shows the daemon that this program runs."""
    daemon_yields: bool = False
    """Whether a locksmithd runs. It releases its own claim, if that is possible, while the `OperatorLock` is held."""

    async def run(self, target: Target, claim: Claim) -> None:
        """Reboot, and return when the machine is seen to go down. The claim's boot id is filled in here.

        An error or a cancellation before the point of no return releases the slot. So does a reboot that was refused,
        or that has not begun after `settle`. Call it with the `OperatorLock` held.
        """
        boot = await self.machine.boot()
        await self._tidy_up()
        if await self._state() is ShutdownState.GOING_DOWN:
            raise HostError("this machine is going down already")
        before = await self.machine.before(None)
        while True:
            await self._ask(self.preparation.ask)
            entry = entry_for(claim, target, boot, by=PROGRAM, before=before)
            await self._begin(entry)
            try:
                permit = await self._obtain(entry)
            except BaseException as error:  # Ctrl-C and SIGTERM too
                await self._release(entry, error)
                if not isinstance(error, BlockedError) or not self.queue_wait.is_endless:
                    raise
                self.say(f"waiting: {error}; the lock is released meanwhile")
            else:
                break
            await asyncio.sleep(ASK_CHECKS)
            claim = replace(claim, nonce=secrets.token_hex(16))
        await self._reboot(entry, permit)

    async def _obtain(self, entry: JournalEntry) -> Permit:
        """Get the permission and pass the point of no return; the reboot has to be ordered soon after that."""
        strategy = self.strategy(target_of(entry))
        try:
            await self.queue_wait.obtain(lambda: self._request(strategy, entry), strategy.changed)
            await self.preparation.prepare(entry, lambda: self._request(strategy, entry))
            group = f" of group {entry.group}" if entry.group else ""
            self.say(f"holding the lock{group} for {entry.claim.holder}, rebooting")
            self.journal.commit(entry.claim.nonce)
        except TakenOverError:
            raise LockError(f"not rebooting: {ABORTED}") from None
        except LockError as error:
            kind = BlockedError if isinstance(error, BlockedError) else LockError
            raise kind(f"not rebooting: {error}") from None
        asked = asyncio.get_running_loop().time()
        answer = await strategy.commit(entry.claim)
        if not isinstance(answer, Granted):
            raise LockError(f"not rebooting: {answer.text}")
        return self._permit(entry, until((asked if answer.sent is None else answer.sent) + FRESH))

    async def _request(self, strategy: Strategy, entry: JournalEntry) -> Answer:
        """Ask for the slot, unless locksmithd has taken the claim over, as this program stood still."""
        self._must_own(entry)
        answer = await strategy.request(entry.claim)
        self._must_own(entry)
        return answer

    def _must_own(self, entry: JournalEntry) -> None:
        if not self.journal.owns(entry.claim.nonce):
            raise LockError(ABORTED)

    def _permit(self, entry: JournalEntry, in_time: Permit) -> Permit:
        """Permit the order while the claim is this program's; locksmithd cannot take it over meanwhile, nor after."""

        @contextlib.contextmanager
        def permit() -> Iterator[None]:
            try:
                with self.journal.holding(entry.claim.nonce):
                    self.beat()
                    with in_time():
                        yield
            except TakenOverError:
                raise RebootRefusedError(f"not rebooting: {ABORTED}") from None
            except RebootRefusedError:
                raise
            except HostError as error:
                raise RebootRefusedError(f"not rebooting: {error}") from None

        return permit

    async def _ask(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        """Wait for the cheap gates, before a slot is taken."""
        try:
            await self.queue_wait.obtain(ask, _look_soon)
        except LockError as error:
            raise LockError(f"not rebooting: {error}") from None

    async def _begin(self, entry: JournalEntry) -> None:
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

    async def _reboot(self, entry: JournalEntry, permit: Permit) -> None:
        """Ask logind, and watch. Without a proof that no reboot comes, the daemon releases the slot later."""
        try:
            await self.machine.reboot(permit)
        except RebootUnknownError as error:
            self.say(f"{error}; looking whether this machine goes down")
        except asyncio.CancelledError:
            self.say("too late: the reboot may have been asked for; if not, locksmithd releases the lock when it runs")
            raise
        except HostError as error:
            await self._refused(entry, error)
            raise
        if await self._stays_up():
            failure = HostError(f"logind took the reboot, and after {self.settle:g} s nothing is shutting down")
            await self._release(entry, failure)
            self.say("the lock is released")
            raise failure

    async def _refused(self, entry: JournalEntry, error: HostError) -> None:
        """Release the slot after logind's refusal, unless the machine is going down, or may be, by another order."""
        if await self.machine.shutdown_state() is not ShutdownState.RUNNING:
            raise HostError(f"{error}; this machine is going down all the same, or may be: it keeps the lock") from None
        await self._release(entry, error)
        self.say("the lock is released")

    async def _stays_up(self) -> bool:
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

    async def _state(self) -> ShutdownState:
        state = await self.machine.shutdown_state()
        if state is ShutdownState.UNKNOWN:
            raise HostError("logind or systemd does not answer, so no reboot is asked for; is the system bus there?")
        return state

    async def _tidy_up(self) -> None:
        """Release what an earlier `locksmithctl reboot` has left, which is known to have ended."""
        entry = self.journal.read().entry
        if entry is None or entry.by != PROGRAM:
            return
        if entry.boot != await self.machine.boot():
            raise LockError("locksmithd has yet to release the slot of this machine's last reboot: does it run?")
        if entry.phase is Phase.COMMITTED and not await self._stays_up():
            raise HostError(f"{entry.claim.who or 'an operator'} has asked for a reboot already: it is going down")
        await self._release(entry)

    async def _release(self, entry: JournalEntry, why: BaseException | None = None) -> None:
        """Write the reboot journal first: once the slot may be released, only a new commit leads to a reboot."""
        try:
            self.journal.reopen(entry.claim.nonce)
            await self.preparation.undo(entry.claim.nonce)
            await self.strategy(target_of(entry)).abort(self._as_written(entry), _reason(why))
            self.journal.clear(entry.claim.nonce)
        except LocksmithError as error:
            cause = f"{why}; in addition, " if isinstance(why, LocksmithError) else ""
            raise LockError(f"{cause}the lock is not released yet, locksmithd does that later: {error}") from None

    def _as_written(self, entry: JournalEntry) -> Claim:
        """Give the claim as the reboot journal has it now: a claim that does not know its commit releases nothing."""
        written = self.journal.read().entry
        return written.claim if written is not None and written.claim.nonce == entry.claim.nonce else entry.claim


async def _look_soon(limit: float) -> bool:
    """Wait a moment before the gates are asked again: no event tells when they stop blocking."""
    await asyncio.sleep(min(limit, ASK_GATES))
    return True


def _reason(why: BaseException | None) -> str:
    if why is None:
        return "an operator's reboot that did not come about"
    return str(why) or "the operator called the reboot off"
