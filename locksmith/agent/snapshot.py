"""What the loop knows at one moment: immutable values, no IO."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from locksmith.agent.facts import (
    Aborting,
    Blocker,
    Boot,
    Checks,
    RebootCall,
    RebootNeed,
    Report,
    ShutdownState,
    StoredFailure,
    Warned,
    WindowSight,
)
from locksmith.agent.journal import Journal
from locksmith.agent.settings import Settings
from locksmith.lock.answer import Answer


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that `decide` makes one decision from."""

    now: datetime
    """Aware, in local time."""
    boot: Boot
    """The boot that runs now."""
    settings: Settings
    shutdown: ShutdownState = ShutdownState.RUNNING
    needs: tuple[RebootNeed, ...] = ()
    """What the triggers want a reboot for, the most important first."""
    errors: tuple[str, ...] = ()
    """Why triggers could not tell whether a reboot is needed."""
    not_applied: tuple[str, ...] = ()
    """Versions that this boot should have brought and did not."""
    journal: Journal = field(default_factory=Journal)
    answer: Answer | None = None
    """The strategy's answer to the request that was made since the loop last slept."""
    call: RebootCall | None = None
    """The reboot that this process asked logind for."""
    committed_by_this_process: bool = False
    """Whether this process passed the point of no return. A process that started later did not."""
    observed_ago: timedelta = timedelta()
    """How old the triggers' results are."""
    commit_age: timedelta = timedelta()
    """How long ago the write was sent that passed the point of no return."""
    orphaned_for: timedelta = timedelta()
    """For how long this loop has seen a committed claim without a running `locksmithctl`."""
    shutting_down_for: timedelta = timedelta()
    """For how long this loop has seen a shutdown, or no answer about a shutdown."""
    target_changed: bool = False
    """Whether the claim is on another lock than the configured lock."""
    operator: bool = False
    """Whether a `locksmithctl reboot` runs on this machine."""
    adopts: bool = False
    """Whether this boot must still release what the machine held before it had a reboot journal."""
    clone: str = ""
    """Another machine that was seen with this machine's id (empty: none)."""
    blockers: tuple[Blocker, ...] = ()
    """What the cheap gates say. They are asked at each observation."""
    checks: Checks | None = None
    """What the expensive gates said last."""
    rehearsed: Checks | None = None
    """What the last rehearsal of a dry run found."""
    stage: Report | None = None
    """The stage that runs now, or the last stage of this claim."""
    prepared: bool = False
    """Whether all hooks before the reboot have succeeded."""
    finished: bool = False
    """Whether all hooks after the reboot have succeeded."""
    verifying: timedelta = timedelta()
    """For how long this loop has checked the health of a machine that has booted."""
    system: str = ""
    """The operating system, as os-release names it now."""
    acknowledged: bool | None = None
    """Whether an operator knows what went wrong with the reboot (None: not asked since the loop last slept)."""
    aborting: Aborting | None = None
    """The abort whose hooks are being undone."""
    users: frozenset[str] = frozenset()
    """The users who are logged in."""
    warned: Warned | None = None
    """The users who know of the reboot."""
    warned_for: timedelta = timedelta()
    """How long ago the first user was warned for this claim."""
    window: WindowSight = field(default_factory=WindowSight)
    stored: StoredFailure | None = None
    """What the store knows of this reboot and the reboot journal does not."""
    failed_writes: int = 0
    """How many writes of the reboot journal failed in a row."""
    released: bool = False
    """Whether the slot is released already, and only the reboot journal still names the claim."""
    arrival: timedelta = timedelta()
    """How much later this machine may ask, of all machines that may ask from now on."""
