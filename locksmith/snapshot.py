"""What the loop knows at one moment: immutable values, no IO."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from locksmith.fleet import Claim
from locksmith.window.reboot_window import RebootWindow

DAEMON = "locksmithd"
"""The program that makes a machine's own claims; `locksmithctl` makes an operator's."""


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
class Wish:
    """A trigger's wish for a reboot. `version` is what the reboot is for; `""` and `0.0.0` are unknown."""

    trigger: str
    version: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look at a trigger says. While there is a doubt (a sentence), there is no wish of it."""

    wish: Wish | None = None
    doubt: str | None = None


class Phase(StrEnum):
    """How far the journal's claim has come."""

    REQUESTED = "requested"
    """Permission is asked for, or given: it can still be given back without a reboot."""
    COMMITTED = "committed"
    """Past the point of no return: the reboot was asked for, or was about to be."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The claim this machine made, and all that is needed to give it back whatever the configuration says by then.

    `by` names the program that made it (`locksmithd`, `locksmithctl`); `boot` is the boot it was made in.
    """

    claim: Claim
    strategy: str
    group: str
    api: int
    endpoints: tuple[str, ...]
    phase: Phase
    boot: Boot
    by: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A reboot that was asked for and did not happen."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Journal:
    """The machine's memory: at most one claim, and the last failed reboot."""

    entry: JournalEntry | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """The strategy gives its permission."""


@dataclass(frozen=True, slots=True)
class Line:
    """A place in the line for a slot: `position` (1: the first), `waiters` in all, the name of the one before.

    Not `exact`: the position is that or a later one.
    """

    position: int
    waiters: int
    behind: str = ""
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Denied:
    """The strategy says no. `code` is one of a few words for the metrics, `text` a sentence for a person.

    `lost`: a permission that was given has been taken away by somebody, which counts like a failed reboot: the machine
    does not ask for it again at once. `line`: where this machine stands, if it stands in line.
    """

    code: str
    text: str
    lost: bool = False
    line: Line | None = None


Answer = Granted | Denied


@dataclass(frozen=True, slots=True)
class RebootCall:
    """A reboot that this process asked logind for, `ago`; `refused` is logind's error, where it gave one."""

    ago: timedelta
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says about the decision.

    `limit`: a reboot asked for this long ago is stuck. `settle`: a machine that after this long isn't going down did
    not obey. `retry`: how long to wait after a failed reboot. `fresh`: how old the last look may be at the reboot.
    """

    strategy: str = "reboot"
    reboots: bool = True
    window: RebootWindow | None = None
    dry_run: bool = False
    limit: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=15)
    retry: timedelta = timedelta(minutes=15)
    fresh: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one decision is made from.

    `now` is aware, in local time. `unattended`: how long this loop has seen a
    committed claim that no running `locksmithctl` cares for. `answer` is the strategy's to the request made since
    the loop last slept. `look_age` is how long ago the triggers were looked at, the gap the last look has to bridge.
    `retargeted`: the journal's claim is on another lock than the one configured now. `operator`: a `locksmithctl
    reboot` is under way on this machine. `adopts`: this boot has not yet given back what the machine held before it
    had a journal. `twin` names another machine that was seen with this one's id (empty: none was).
    """

    now: datetime
    boot: Boot
    settings: Settings
    shutdown: ShutdownState = ShutdownState.RUNNING
    wishes: tuple[Wish, ...] = ()
    doubts: tuple[str, ...] = ()
    journal: Journal = Journal()
    answer: Answer | None = None
    call: RebootCall | None = None
    committed_here: bool = False
    look_age: timedelta = timedelta()
    unattended: timedelta = timedelta()
    down_for: timedelta = timedelta()
    retargeted: bool = False
    operator: bool = False
    adopts: bool = False
    twin: str = ""
