"""What the loop remembers between two turns."""

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from locksmith.agent.facts import (
    Aborting,
    Blocker,
    Checks,
    RebootCall,
    Report,
    Stage,
    StoredFailure,
    TriggerResult,
    Warned,
)
from locksmith.lock.answer import Answer


@dataclass(slots=True)
class Stopwatch:
    """How long something has been so, as far as this loop has seen."""

    since: float | None = None

    def look(self, time: float, *, holds: bool) -> timedelta:
        """Take note whether it is so now; give how long it has been."""
        if not holds:
            self.since = None
        elif self.since is None:
            self.since = time
        return timedelta(seconds=0.0 if self.since is None else time - self.since)


@dataclass(slots=True)
class Running:
    """An errand under way, or over; `began` is the event loop's time.

    It is over for a turn of the loop when that has taken note of its end, not when it ends in the middle of one.
    """

    stage: Stage
    began: float
    task: Future[Sequence[Blocker]]
    over: bool = False
    problems: tuple[Blocker, ...] = ()

    def report(self, time: float) -> Report:
        """Say how it goes."""
        return Report(self.stage, timedelta(seconds=time - self.began), self.over, self.problems)


@dataclass(slots=True)
class Asked:
    """What the gates that cost something said, and when they were asked and answered, in the event loop's time."""

    at: float
    blockers: tuple[Blocker, ...]
    began: float

    def checks(self, time: float) -> Checks:
        """Give it as the snapshot has it."""
        return Checks(timedelta(seconds=time - self.at), self.blockers)


@dataclass(slots=True)
class ClaimMemory:
    """What the steps of one claim have to remember in this process; times are the event loop's."""

    nonce: str = ""
    answer: Answer | None = None
    unanswered: bool = False
    """Whether this process made the claim, and no request of it was answered yet: it has no place, and no slot."""
    had: bool = False
    """Whether the permission was given once: it may be denied again with the slot in hand."""
    uncertain: bool = True
    """Whether a request may be on its way still: one of an earlier run, or one that failed in this."""
    committed: bool = False
    commit_sent: float = 0.0
    """When the write was sent that passed the point of no return."""
    call: RebootCall | None = None
    called: float = 0.0
    looked: float = 0.0
    results: Sequence[TriggerResult] = ()
    orphaned_for: Stopwatch = field(default_factory=Stopwatch)
    verifying: Stopwatch = field(default_factory=Stopwatch)
    running: Running | None = None
    asked: Asked | None = None
    acknowledged: bool | None = None
    prepared: bool = False
    finished: bool = False
    aborting: Aborting | None = None
    stored: StoredFailure | None = None
    gone_wrong: StoredFailure | None = None
    """What was reported of this reboot: it stands also where the journal cannot be written."""
    warned: Warned | None = None
    warned_since: float | None = None
    """When the first user was warned."""
    looks: int = 0
    """How often the health was looked at: the pauses between grow with it."""
