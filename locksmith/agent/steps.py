"""The steps of the loop: what `decide` chooses from, and the agent performs. Pure values."""

from dataclasses import dataclass
from datetime import datetime

from locksmith.agent.facts import Stage
from locksmith.lock.records.past import LastReboot


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing wants a reboot."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The machine has to wait."""

    code: str
    """The reason in one word, as metrics have it."""
    text: str
    """The reason as a sentence."""
    until: datetime | None = None
    """When the reason ends, if that is known."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The strategy never reboots and nothing is left to release: the daemon may end."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Release what this machine held before it had a reboot journal, once after a boot."""


@dataclass(frozen=True, slots=True)
class Request:
    """Ask the strategy for permission."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Pass the point of no return."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """Ask logind for the reboot."""


@dataclass(frozen=True, slots=True)
class Run:
    """Begin a stage: hooks, checks, or a check of the machine's health."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the users who are logged in that the machine reboots, and when."""

    until: datetime


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """Show the group what went wrong with the reboot: the permission stays taken."""

    state: str
    failure: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Undo the hooks of a request, before that request is aborted."""

    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """The machine has rebooted and is healthy: release its slot."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Make the claim of a `locksmithctl` that has ended, or stands still, the daemon's, to release it."""


@dataclass(frozen=True, slots=True)
class Abort:
    """End the request without a reboot, and release the slot."""

    reason: str
    failed: bool = False
    """Whether the reboot was tried and did not happen."""
    past: tuple[LastReboot, ...] = ()
    """Reboots that this machine has forgotten, at least one of them."""


Step = (
    Idle
    | Wait
    | Finish
    | Adopt
    | Request
    | Run
    | Warn
    | Commit
    | Reboot
    | ReportFailure
    | Undo
    | Release
    | TakeOver
    | Abort
)
