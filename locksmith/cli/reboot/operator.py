"""`locksmithctl reboot`, step by step: the same steps as the daemon's, for an operator who watches them."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace

from locksmith.agent.facts import ShutdownState
from locksmith.agent.identity import Target
from locksmith.agent.journal import JournalEntry, entry_for, target_of
from locksmith.agent.permit import Permit, until
from locksmith.cli.reboot.claim import ABORTED, PROGRAM, OperatorClaim
from locksmith.cli.reboot.preparation import BlockedError
from locksmith.errors import HostError, LockError, RebootRefusedError, RebootUnknownError
from locksmith.host.journal import TakenOverError
from locksmith.lock.answer import Answer, Granted
from locksmith.lock.records.claim import Claim

ASK_CHECKS = 60.0
"""Seconds before alerts and checks that said no are asked again, and the lock before them."""
ASK_GATES = 5.0
"""Seconds between two checks of gates that say no."""
FRESH = 10.0
"""Seconds after the commit in which the reboot has to be ordered, as for the daemon."""


@dataclass(frozen=True, slots=True)
class OperatorReboot(OperatorClaim):
    """One reboot, with all that it reaches."""

    beat: Callable[[], None] = field(default=lambda: None, kw_only=True)
    """Shows the daemon that this program runs."""

    async def run(self, target: Target, claim: Claim) -> None:
        """Reboot, and return when the machine is seen to go down. The claim's boot id is filled in here.

        An error or a cancellation before the point of no return releases the slot. So does a reboot that was refused,
        or that has not begun after `settle`. Call it with the `OperatorLock` held.
        """
        boot = await self.machine.boot()
        await self.tidy_up()
        await self.must_stay_up()
        before = await self.machine.before(None)
        while True:
            await self._ask(self.preparation.ask)
            entry = entry_for(claim, target, boot, by=PROGRAM, before=before)
            await self.begin(entry)
            try:
                permit = await self._obtain(entry)
            except BaseException as error:  # Ctrl-C and SIGTERM too
                await self.release(entry, error)
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
            await self.queue_wait.obtain(lambda: self.request(strategy, entry), strategy.changed)
            await self.preparation.prepare(entry, lambda: self.request(strategy, entry))
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
        self.wake()  # a daemon that shows the reboot keeps its presence for so much longer, so that OVERDUE is seen
        return self._permit(entry, until((asked if answer.sent is None else answer.sent) + FRESH))

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
        if await self.stays_up():
            failure = HostError(f"logind took the reboot, and after {self.settle:g} s nothing is shutting down")
            await self.release(entry, failure)
            self.say("the lock is released")
            raise failure

    async def _refused(self, entry: JournalEntry, error: HostError) -> None:
        """Release the slot after logind's refusal, unless the machine is going down, or may be, by another order."""
        if await self.machine.shutdown_state() is not ShutdownState.RUNNING:
            raise HostError(f"{error}; this machine is going down all the same, or may be: it keeps the lock") from None
        await self.release(entry, error)
        self.say("the lock is released")


async def _look_soon(limit: float) -> bool:
    """Wait a moment before the gates are asked again: no event tells when they stop blocking."""
    await asyncio.sleep(min(limit, ASK_GATES))
    return True
