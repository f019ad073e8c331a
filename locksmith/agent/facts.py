"""The facts that a machine observes. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from locksmith.window.windows import Windows


@dataclass(frozen=True, slots=True)
class Boot:
    """One run of this machine's userspace."""

    boot_id: str
    """The kernel's id of its boot. A soft reboot (systemd 254) keeps the kernel, and so this id."""
    userspace: int = 0
    """When the userspace started, in microseconds of the kernel's monotonic clock (0 without systemd)."""


class ShutdownState(StrEnum):
    """What logind and systemd say about a shutdown under way."""

    RUNNING = "running"
    """Both say that this machine stays up."""
    GOING_DOWN = "going down"
    """One of them says that it does not."""
    UNKNOWN = "unknown"
    """At least one gave no answer that can be read: it may be going down."""


@dataclass(frozen=True, slots=True)
class RebootNeed:
    """A trigger needs a reboot."""

    trigger: str
    version: str
    """What the reboot is for. `""` and `0.0.0` are unknown versions."""
    since: datetime
    reason: str = field(default="", compare=False)
    """Why the reboot is needed, in a few words that seldom change."""
    judges: bool = True
    """Whether the same need after a reboot proves that the reboot failed. If not, it is only no new reason."""


BEING_ASKED = "its command runs for the first time"
"""What a trigger says whose first answer is still to come."""


@dataclass(frozen=True, slots=True)
class TriggerResult:
    """The answer of one trigger."""

    need: RebootNeed | None = None
    error: str | None = None
    """An error, as a sentence. A trigger with an error has no need."""
    says: str = field(default="", compare=False)
    """Why no reboot is needed."""
    not_applied: str = ""
    """A version that this boot should have brought and did not."""
    looked: datetime | None = field(default=None, compare=False)
    """When the trigger looked, unless it looked just now."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """Why a gate blocks a reboot now."""

    gate: str
    text: str
    """The reason, as a sentence."""
    until: datetime | None = None
    """When the gate will stop blocking, if that is known."""


class Stage(StrEnum):
    """What runs at the same time as the loop, since it may take minutes: programs, questions to other servers."""

    CHECKS = "checks"
    """The expensive gates."""
    PREPARE = "pre-reboot"
    UNDO = "abort-reboot"
    HEALTH = "health"
    FINISH = "post-reboot"
    REHEARSAL = "rehearsal"
    """In a dry run: the hooks that understand `--dry-run`, and the check of the machine's health."""


UNREHEARSED = "unrehearsed"
"""The gate of a blocker that names what a rehearsal did not run."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the loop knows of a stage."""

    stage: Stage
    ago: timedelta
    """How long ago it began."""
    over: bool = False
    problems: tuple[Blocker, ...] = ()
    """What it found wrong. Known when it is over."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What the expensive gates said when they were last asked, and how long ago that was."""

    ago: timedelta
    blockers: tuple[Blocker, ...] = ()


@dataclass(frozen=True, slots=True)
class Warned:
    """The users who were warned of the reboot, and when their time is over."""

    users: frozenset[str]
    until: datetime


@dataclass(frozen=True, slots=True)
class WindowSight:
    """When this machine may reboot."""

    windows: Windows | None = None
    """None: at any time."""
    error: str = ""
    """An error, as a sentence. With an error the machine may not reboot."""


@dataclass(frozen=True, slots=True)
class RebootCall:
    """A reboot that this process asked logind for."""

    ago: timedelta
    refused: str | None = None
    """The error, if logind refused."""


@dataclass(frozen=True, slots=True)
class StoredFailure:
    """What went wrong with this reboot, as the store says. The reboot journal does not know it: its disk is older."""

    state: str
    failure: str


@dataclass(frozen=True, slots=True)
class Aborting:
    """Why a claim is released without a reboot, and whether that counts as a failed reboot."""

    reason: str
    failed: bool = False
