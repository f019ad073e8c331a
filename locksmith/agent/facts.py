"""What a machine observes, each fact for itself. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from locksmith.window.windows import Windows


@dataclass(frozen=True, slots=True)
class Boot:
    """One run of this machine's userspace.

    A soft reboot (systemd 254) keeps the kernel and with it `boot_id`; `userspace` differs then: when it started, in
    microseconds of the kernel's monotonic clock (0 without systemd).
    """

    boot_id: str
    userspace: int = 0


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
    """A trigger's wish for a reboot. `version` is what the reboot is for; `""` and `0.0.0` are unknown.

    The same version after a reboot says that it failed, if the wish `judges`; else it is only no new reason. `reason`
    says why, in a few words that change seldom.
    """

    trigger: str
    version: str
    since: datetime
    reason: str = field(default="", compare=False)
    judges: bool = True


@dataclass(frozen=True, slots=True)
class TriggerResult:
    """What one look at a trigger says. While there is a doubt (a sentence), there is no wish of it.

    `says` is why it wants nothing. `unmet` is a version that this boot should have brought and did not. `looked` is
    when it really looked, where that was not just now.
    """

    need: RebootNeed | None = None
    doubt: str | None = None
    says: str = field(default="", compare=False)
    not_applied: str = ""
    looked: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Blocker:
    """What a gate has against a reboot now: the gate's name, a sentence, and until when, if that is known."""

    gate: str
    text: str
    until: datetime | None = None


class Stage(StrEnum):
    """What the loop has done beside it, because it may take minutes: programs, questions to other servers."""

    CHECKS = "checks"
    """The gates that cost something."""
    PREPARE = "pre-reboot"
    UNDO = "abort-reboot"
    HEALTH = "health"
    FINISH = "post-reboot"


@dataclass(frozen=True, slots=True)
class Report:
    """What the loop knows of an errand: how long ago it began, and once it is over what it found wrong."""

    stage: Stage
    ago: timedelta
    over: bool = False
    problems: tuple[Blocker, ...] = ()


@dataclass(frozen=True, slots=True)
class Checks:
    """What the gates that cost something said when they were last asked, and how long ago that was."""

    ago: timedelta
    blockers: tuple[Blocker, ...] = ()


@dataclass(frozen=True, slots=True)
class Warned:
    """The users who were warned of the reboot, and when their time is over."""

    users: frozenset[str]
    until: datetime


@dataclass(frozen=True, slots=True)
class WindowSight:
    """When this machine may reboot (None: at any time); with a doubt, a sentence, it may not."""

    windows: Windows | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class RebootCall:
    """A reboot that this process asked logind for, `ago`; `refused` is logind's error, where it gave one."""

    ago: timedelta
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFailure:
    """What the store says went wrong with this reboot, where the journal does not know it: an older disk."""

    state: str
    failure: str


@dataclass(frozen=True, slots=True)
class Aborting:
    """Why a claim is given back without a reboot, and whether that counts as a failed one."""

    reason: str
    failed: bool = False
