"""What an operator's reboot asks and does before its commit: the same gates, hooks and warning as the daemon's.

`--now` skips the window, and `--skip` skips gates by their names. No option skips the lock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from locksmith.agent.facts import Blocker, Stage
from locksmith.agent.journal import Hooks, JournalEntry
from locksmith.agent.ports import Gate, JournalStore, Stages, Users, WindowSource
from locksmith.errors import LockError, LocksmithError
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.util.words import span

LOOK_EVERY = 1.0
"""Seconds between two checks who is logged in, while the users have their time."""


class BlockedError(LockError):
    """A gate blocks after the lock was taken: it may stop blocking later."""


class OperatorJournal(JournalStore, Protocol):
    """The reboot journal, in which the daemon may take a claim over (host/journal.py says what each method does)."""

    def owns(self, nonce: str) -> bool: ...  # noqa: D102 - as the class says
    def holding(self, nonce: str) -> AbstractContextManager[None]: ...  # noqa: D102 - as the class says


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is asked and done before the commit."""

    journal: OperatorJournal
    clock: Callable[[], datetime]
    say: Callable[[str], None]
    windows: WindowSource | None = None
    """None: at any time."""
    least: timedelta = timedelta()
    """How much of a window must be left when the reboot begins."""
    gates: Sequence[Gate] = ()
    stages: Stages | None = None
    users: Users | None = None
    """None: no user is warned."""
    grace: timedelta = timedelta()
    """How long before the reboot each user is warned."""
    limit: timedelta = timedelta()
    """For how long after the first warning users may keep logging in, before the reboot is aborted (0: no limit)."""

    async def ask(self) -> Answer:
        """Ask the cheap gates: before the lock, and once more right before the point of no return."""
        if (closed := await self._window()) is not None:
            return closed
        for gate in self.gates:
            for blocker in await gate.check(None):
                return Denied(blocker.gate, blocker.text)
        return Granted()

    async def _window(self) -> Denied | None:
        if self.windows is None:
            return None
        now = self.clock()
        sight = await self.windows.check(now, wanted=True)
        if sight.error:
            return Denied("window", f"{sight.error}; --now skips the windows")
        entry = self.journal.read().entry
        least = self.least if entry is None or entry.hooks is Hooks.NONE else timedelta()
        if sight.windows is None or sight.windows.contains(now, least):
            return None
        opens = sight.windows.next_open(now, least)
        when = f"which opens at {opens:%a %d %b %H:%M %Z}" if opens else "and none is to come"
        return Denied("window", f"outside the reboot window, {when}; --now skips it")

    async def prepare(self, entry: JournalEntry, still: Callable[[], Awaitable[Answer]]) -> None:
        """Ask every gate, run the hooks, warn the users, ask again.

        `BlockedError`: a gate blocks. `LockError`: a hook failed, or the lock is gone.
        `still` tells whether the lock is still there, which an operator may have taken away meanwhile.
        """
        await self._check(entry)
        if self.stages is not None and self.stages.wanted(Stage.PREPARE):
            self.say("running the hooks before the reboot")
            self.journal.hooks(entry.claim.nonce, Hooks.BEGUN, self.clock())
            try:
                if failed := await self.stages.run(Stage.PREPARE, entry):
                    raise LockError(_words(failed))
                self.journal.hooks(entry.claim.nonce, Hooks.PREPARED)
            except LocksmithError:
                if not self.journal.owns(entry.claim.nonce):
                    # The daemon has taken the claim over, and undone the hooks, perhaps before these ran.
                    await self.stages.run(Stage.UNDO, entry)
                raise
        await self._warn(entry)
        await self._check(entry)
        if isinstance(gates := await self.ask(), Denied):
            raise BlockedError(gates.text)
        if isinstance(lock := await still(), Denied):
            raise LockError(lock.text)

    async def undo(self, nonce: str) -> None:
        """Cancel the warning, and undo the hooks if they have begun; failures are told."""
        entry = self.journal.read().entry
        if entry is None or entry.claim.nonce != nonce:
            return
        try:
            if self.users is not None:
                await self.users.call_off()
            if self.stages is None or entry.hooks is Hooks.NONE:
                return
            await self.stages.stop(Stage.PREPARE, entry)
            for blocker in await self.stages.run(Stage.UNDO, entry):
                self.say(f"undoing the hooks: {blocker.text}")
        except LocksmithError as error:
            self.say(f"not everything is undone: {error}")

    async def _check(self, entry: JournalEntry) -> None:
        if self.stages is not None and (blockers := await self.stages.run(Stage.CHECKS, entry)):
            raise BlockedError(_words(blockers))

    async def _warn(self, entry: JournalEntry) -> None:
        """Give every user who is logged in the time to end their work. `LockError`: others log in without end."""
        warned: frozenset[str] = frozenset()
        until, time = self.clock(), asyncio.get_running_loop().time
        began = time()
        while self.users is not None and (present := await self.users.present()):
            if present <= warned and self.clock() >= until:
                return
            if self.limit and time() - began >= self.limit.total_seconds():
                raise LockError(
                    f"users kept logging in for {span(self.limit)} after the first was warned: "
                    f"{', '.join(sorted(present))}"
                )
            if not present <= warned:
                warned, until = present, self.clock() + self.grace
                await self.users.warn(until, entry.claim.reason)
                self.say(f"waiting: {', '.join(sorted(present))} logged in, and warned until {until:%H:%M:%S %Z}")
            await asyncio.sleep(min(LOOK_EVERY, max(0.0, (until - self.clock()).total_seconds())))


def _words(blockers: Sequence[Blocker]) -> str:
    return "; ".join(one.text for one in blockers)
