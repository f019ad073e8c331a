"""The steps of the loop: what `decide` chooses from, and the agent performs. Pure values."""

from dataclasses import dataclass
from datetime import datetime

from locksmith.agent.facts import Stage
from locksmith.lock.answer import LastReboot


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing wants a reboot."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A reboot (or a give-back) has to wait: why, in one word for metrics and a sentence, and until when if known."""

    code: str
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The strategy never reboots and nothing is left to give back: the daemon may end."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Give back what this machine held before it had a journal, once after a boot."""


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
    """Begin an errand: hooks, checks, a look at the machine's health."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the users who are logged in that the machine reboots, and when."""

    until: datetime


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """Say what went wrong with the reboot, where everybody sees it: the permission stays taken."""

    state: str
    failure: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Undo the hooks of a request that is taken back, before it is."""

    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """The machine has rebooted and is healthy: give the permission back."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Make a claim of a program that has ended, or stands still, the daemon's to give back."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Take the request back without a reboot.

    `failed`: the reboot was asked for and did not happen. `done`: the reboot that this machine has forgotten.
    """

    reason: str
    failed: bool = False
    done: LastReboot | None = None


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
