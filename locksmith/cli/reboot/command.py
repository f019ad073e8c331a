"""`locksmithctl run`: hold a slot of this machine while a command runs."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from locksmith.agent.identity import Target
from locksmith.agent.journal import Hooks, JournalEntry, PreRebootState, entry_for, target_of
from locksmith.cli.reboot.claim import PROGRAM, OperatorClaim
from locksmith.errors import HostError, LockError
from locksmith.lock.answer import Denied
from locksmith.lock.records.claim import Claim

SIGNALLED = 128
"""What shells add to the number of the signal that ended a command."""
FORWARDED = (signal.SIGTERM, signal.SIGHUP)
OF_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""A terminal sends these to the command too, so this program ignores them, as system(3) does."""


@dataclass(frozen=True, slots=True)
class CommandSlot(OperatorClaim):
    """One command, with all that its slot reaches."""

    await_no_beats: Callable[[], int]
    """Ends this program's heartbeats, and gives the descriptor by which the command keeps the `OperatorLock`."""

    async def run(self, target: Target, claim: Claim, command: Sequence[str]) -> int:
        """Wait for a slot, run the command, release the slot, and give the command's exit status as a shell counts it.

        `LockError`: there is no slot. `HostError`: the command cannot be run. Call it with the `OperatorLock` held.
        """
        boot = await self.machine.boot()
        await self.tidy_up()
        await self.must_stay_up()
        entry = entry_for(claim, target, boot, by=PROGRAM, before=PreRebootState())
        await self.begin(entry)
        try:
            await self._obtain(entry)
            await self.must_stay_up()
            group = f" of group {entry.group}" if entry.group else ""
            self.say(f"holding the lock{group} for {claim.holder}, running {command[0]}")
            status = await self._call(command, entry)
        except BaseException as error:  # Ctrl-C and SIGTERM too
            await self.release(entry, error)
            raise
        try:
            await self.release(entry, f"the command ended with exit status {status}")
        except LockError as error:
            self.say(str(error))
        return status

    async def _obtain(self, entry: JournalEntry) -> None:
        strategy = self.strategy(target_of(entry))
        try:
            await self.queue_wait.obtain(lambda: self.request(strategy, entry), strategy.changed)
        except LockError as error:
            raise LockError(f"the command was not run: {error}") from None
        if isinstance(gates := await self.preparation.ask(), Denied):
            raise LockError(f"the command was not run: {gates.text}")

    async def _call(self, command: Sequence[str], entry: JournalEntry) -> int:
        """Run the command, which keeps the `OperatorLock` for as long as any process of it runs.

        The daemon takes no claim over after the last heartbeat; if it did so before that, the reboot journal says so.
        """
        signals, lock = Signals(), self.await_no_beats()
        self.journal.hooks(entry.claim.nonce, Hooks.NONE, datetime.now(UTC))
        self.wake()
        signals.hold()
        try:
            process = await asyncio.create_subprocess_exec(*command, pass_fds=(lock,))
        except OSError as error:
            raise HostError(f"{command[0]} cannot be run: {error.strerror}") from None
        signals.pass_to(process)
        status = await process.wait()
        return SIGNALLED - status if status < 0 else status


class Signals:
    """The signals of this program while its command runs: none ends this program before the command.

    Ctrl-Z stops both, and the slot stays taken meanwhile.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._early: list[int] = []

    def hold(self) -> None:
        """Keep the signals for a command that is about to begin."""
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.add_signal_handler(number, self._take, number)
        for number in OF_TERMINAL:
            loop.add_signal_handler(number, lambda: None)
        loop.remove_signal_handler(signal.SIGTSTP)

    def pass_to(self, process: asyncio.subprocess.Process) -> None:
        """Send the command the signals that came, and each that comes."""
        self._process = process
        for number in self._early:
            self._take(number)

    def _take(self, number: int) -> None:
        if self._process is None:
            self._early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
