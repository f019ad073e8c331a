"""What the loop remembers between two cycles."""

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from locksmith.agent.facts import (
    Aborting,
    Blocker,
    Boot,
    Checks,
    RebootCall,
    Report,
    Stage,
    StoredFailure,
    TriggerResult,
    Warned,
)
from locksmith.agent.journal import JournalEntry
from locksmith.lock.answer import Answer


@dataclass(slots=True)
class Stopwatch:
    """For how long a condition has held, as far as this loop has seen."""

    since: float | None = None

    def check(self, time: float, *, holds: bool) -> timedelta:
        """Note whether the condition holds now; give for how long it has held."""
        if not holds:
            self.since = None
        elif self.since is None:
            self.since = time
        return timedelta(seconds=0.0 if self.since is None else time - self.since)


@dataclass(slots=True)
class Running:
    """A stage that runs, or has ended."""

    stage: Stage
    began: float
    """In the event loop's time."""
    task: Future[Sequence[Blocker]]
    over: bool = False
    """Set when the loop notes the end at the start of a cycle, not when the task ends during a cycle."""
    problems: tuple[Blocker, ...] = ()

    def report(self, time: float) -> Report:
        """Give what the snapshot says of it."""
        return Report(self.stage, timedelta(seconds=time - self.began), self.over, self.problems)


@dataclass(slots=True)
class Asked:
    """The answers of the expensive gates."""

    at: float
    """When they had answered, in the event loop's time."""
    blockers: tuple[Blocker, ...]
    began: float
    """When they were asked, in the event loop's time."""

    def checks(self, time: float) -> Checks:
        """Give what the snapshot says of them."""
        return Checks(timedelta(seconds=time - self.at), self.blockers)


@dataclass(slots=True)
class ClaimMemory:
    """What the steps of one claim remember in this process; times are the event loop's."""

    nonce: str = ""
    answer: Answer | None = None
    unanswered: bool = False
    """Whether this process made the claim, and no request of it was answered yet: it has no place, and no slot."""
    had: bool = False
    """Whether the slot was granted once. A machine that holds its slot may still be denied later."""
    uncertain: bool = True
    """Whether a request may still be under way: a request of an earlier process, or a request that failed."""
    committed: bool = False
    commit_sent: float = 0.0
    """When the write was sent that passed the point of no return."""
    call: RebootCall | None = None
    called: float = 0.0
    """When logind was asked for the reboot."""
    looked: float = 0.0
    """When the triggers were asked."""
    results: Sequence[TriggerResult] = ()
    orphaned_for: Stopwatch = field(default_factory=Stopwatch)
    verifying: Stopwatch = field(default_factory=Stopwatch)
    running: Running | None = None
    asked: Asked | None = None
    rehearsed: Asked | None = None
    """What the last rehearsal of a dry run found."""
    acknowledged: bool | None = None
    prepared: bool = False
    finished: bool = False
    aborting: Aborting | None = None
    stored: StoredFailure | None = None
    gone_wrong: StoredFailure | None = None
    """What was reported of this reboot. It counts even if the disk takes no writes."""
    warned: Warned | None = None
    warned_since: float | None = None
    """When the first user was warned."""
    looks: int = 0
    """How often the health was checked. The pauses between two checks grow with this number."""


@dataclass(slots=True)
class Memory:
    """What the parts of one loop share."""

    claim: ClaimMemory = field(default_factory=ClaimMemory)
    entry: JournalEntry | None = None
    """The claim in the reboot journal, as it was read last."""
    journal_read: bool = False
    """Whether this process has read the reboot journal at all."""
    boot: Boot | None = None
    """The boot that runs, as soon as it is known."""
    released: str = ""
    """The nonce of the claim whose slot is released, though the reboot journal may still name that claim."""

    def follow(self, entry: JournalEntry | None) -> None:
        """Forget the claim that was followed before, if this is another claim."""
        nonce = entry.claim.nonce if entry else ""
        if nonce != self.claim.nonce:
            self.forget(nonce)

    def forget(self, nonce: str) -> None:
        """Begin again with this claim. Only the answers of triggers and gates are kept."""
        before = self.claim
        if before.running is not None:
            before.running.task.cancel()
        self.claim = ClaimMemory(nonce, results=before.results, looked=before.looked, asked=before.asked)
