"""What the loop knows at one moment: immutable values, no IO."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from locksmith.lock.answer import Answer, Done
from locksmith.lock.records.claim import DAEMON, Claim
from locksmith.window.splay import Splay
from locksmith.window.windows import Windows

TAKEN_OVER = "locksmithd (taken over from locksmithctl)"
"""Whose an operator's claim is from the moment on at which the daemon gives it back."""


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
class Sighting:
    """What one look at a trigger says. While there is a doubt (a sentence), there is no wish of it.

    `says` is why it wants nothing. `unmet` is a version that this boot should have brought and did not. `looked` is
    when it really looked, where that was not just now.
    """

    wish: Wish | None = None
    doubt: str | None = None
    says: str = field(default="", compare=False)
    unmet: str = ""
    looked: datetime | None = field(default=None, compare=False)


class Phase(StrEnum):
    """How far the journal's claim has come."""

    REQUESTED = "requested"
    """Permission is asked for, or given: it can still be given back without a reboot."""
    COMMITTED = "committed"
    """Past the point of no return: the reboot was asked for, or was about to be."""


class Hooks(StrEnum):
    """How far the hooks of the journal's claim have come."""

    NONE = ""
    """None has begun: nothing has to be undone."""
    BEGUN = "begun"
    """Those before the reboot have begun."""
    PREPARED = "prepared"
    """Those before the reboot have all succeeded."""
    FINISHED = "finished"
    """Those after the reboot have all succeeded: only the slot is left to be given back."""


@dataclass(frozen=True, slots=True)
class Before:
    """This machine before its reboot, which proves afterwards that it was one.

    `trigger` wanted the reboot; `system` is what os-release(5) says of the operating system (empty: nothing);
    `failed_units` had failed then, and their failure afterwards says nothing. `version` is what was wanted then, which
    may have come while the claim waited for its slot (empty: the claim's).
    """

    trigger: str = ""
    system: str = ""
    failed_units: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The claim this machine made, and all that is needed to give it back whatever the configuration says by then.

    `by` names the program that made it (`locksmithd`, `locksmithctl`); `boot` is the boot it was made in; `cluster` the
    etcd cluster, where that was known.
    """

    claim: Claim
    strategy: str
    group: str
    api: int
    endpoints: tuple[str, ...]
    phase: Phase
    boot: Boot
    by: str
    hooks: Hooks = Hooks.NONE
    before: Before = Before()
    cluster: str = ""

    @property
    def version(self) -> str:
        """What this reboot is for, as far as is known: at the point of no return, or before it at the claim."""
        return self.before.version or self.claim.version


@dataclass(frozen=True, slots=True)
class Failure:
    """A reboot that did not come about: the last of so many `tries` for the same `version`."""

    at: datetime
    reason: str
    version: str = ""
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Journal:
    """The machine's memory: at most one claim, the last failed reboot, and the last that was made.

    `rechecked` is when an operator last had it forget both (`locksmithctl recheck`).
    """

    entry: JournalEntry | None = None
    failure: Failure | None = None
    done: Done | None = None
    rechecked: datetime | None = None


@dataclass(frozen=True, slots=True)
class Objection:
    """What a gate has against a reboot now: the gate's name, a sentence, and until when, if that is known."""

    gate: str
    text: str
    until: datetime | None = None


class Errand(StrEnum):
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

    errand: Errand
    ago: timedelta
    over: bool = False
    problems: tuple[Objection, ...] = ()


@dataclass(frozen=True, slots=True)
class Checks:
    """What the gates that cost something said when they were last asked, and how long ago that was."""

    ago: timedelta
    objections: tuple[Objection, ...] = ()


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
    trouble: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says about the decision.

    `limit`: a reboot asked for this long ago is stuck. `settle`: a machine that after this long isn't going down
    did not obey. `retry`: how long to wait after a failed reboot, doubled after each further one. `tries`: after so
    many in a row for one version it gives up (0: never). `repeat`: for how long a second reboot for the same
    version is refused. `fresh`: how old the last look and the commit may be at the reboot. `health`: how long a
    machine has to prove itself healthy. `halts`: whether a reboot that went wrong waits for an operator. `grace`: how
    long before the reboot users are warned. `recheck`: how long an objection of a gate that costs something stands
    before it is asked again. `sessions`: for how long users may keep logging in, from the first warning
    on, before the claim is given up (0: for ever). `least`: how much of a window has to be left when a reboot begins;
    `splay`: this machine's own moment in it. `program`: who runs this loop.
    """

    strategy: str = "reboot"
    reboots: bool = True
    dry_run: bool = False
    limit: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=15)
    retry: timedelta = timedelta(minutes=15)
    fresh: timedelta = timedelta(seconds=10)
    tries: int = 5
    repeat: timedelta = timedelta(days=1)
    health: timedelta = timedelta(minutes=10)
    halts: bool = True
    grace: timedelta = timedelta(minutes=5)
    sessions: timedelta = timedelta(0)
    recheck: timedelta = timedelta(minutes=1)
    least: timedelta = timedelta(0)
    splay: Splay = field(default_factory=Splay)
    program: str = DAEMON


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one decision is made from.

    `now` is aware, in local time. `unmet` are the sightings'.
    `unattended`: how long this loop has seen a committed claim that no running
    `locksmithctl` cares for. `answer` is the strategy's to the request made since the loop last slept. `look_age`
    is how long ago the triggers were looked at, the gap the last look has to bridge. `retargeted`: the journal's
    claim is on another lock than the one configured now. `operator`: a `locksmithctl reboot` is under way on this
    machine. `adopts`: this boot has not yet given back what the machine held before it had a journal. `twin` names
    another machine that was seen with this one's id (empty: none was). `objections` are those of the gates that are
    asked at each look, `checks` what the others said last. `errand` is under way, or was the last for this claim;
    `commit_age` is how long ago the write was sent by which this process passed the point of no return.
    `prepared`, `finished`: the hooks before and after the reboot have all succeeded. `verifying`: for how long this
    loop has looked at the health of a machine that has booted. `system` is what os-release says now.
    `acknowledged`: an operator knows what went wrong with the reboot (None: not asked since the loop last slept).
    `giving_up` is a withdrawal whose hooks are being undone. `users` are logged in, `warned` those who know of the
    reboot; `warned_for` is how long ago the first of them was warned for this claim. `stored` is what the store knows
    of this reboot and the journal does not. `failed_writes` counts the writes of the journal that failed in a row;
    `released`: the claim's slot went back all the same, only the journal has still to forget it.
    """

    now: datetime
    boot: Boot
    settings: Settings
    shutdown: ShutdownState = ShutdownState.RUNNING
    wishes: tuple[Wish, ...] = ()
    doubts: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    journal: Journal = Journal()
    answer: Answer | None = None
    call: RebootCall | None = None
    committed_here: bool = False
    look_age: timedelta = timedelta()
    commit_age: timedelta = timedelta()
    unattended: timedelta = timedelta()
    down_for: timedelta = timedelta()
    retargeted: bool = False
    operator: bool = False
    adopts: bool = False
    twin: str = ""
    objections: tuple[Objection, ...] = ()
    checks: Checks | None = None
    errand: Report | None = None
    prepared: bool = False
    finished: bool = False
    verifying: timedelta = timedelta()
    system: str = ""
    acknowledged: bool | None = None
    giving_up: "GivingUp | None" = None
    users: frozenset[str] = frozenset()
    warned: Warned | None = None
    warned_for: timedelta = timedelta()
    window: WindowSight = field(default_factory=WindowSight)
    stored: StoredFailure | None = None
    failed_writes: int = 0
    released: bool = False


@dataclass(frozen=True, slots=True)
class GivingUp:
    """Why a claim is given back without a reboot, and whether that counts as a failed one."""

    reason: str
    failed: bool = False
