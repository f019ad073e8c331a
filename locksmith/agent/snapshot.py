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
from locksmith.lock.answer import Answer
from locksmith.lock.records.claim import DAEMON
from locksmith.window.splay import Splay


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
    `released`: the claim's slot went back all the same, only the journal has still to forget it. `arrival` is how much
    later this machine may ask, of all that may ask from now on.
    """

    now: datetime
    boot: Boot
    settings: Settings
    shutdown: ShutdownState = ShutdownState.RUNNING
    needs: tuple[RebootNeed, ...] = ()
    errors: tuple[str, ...] = ()
    not_applied: tuple[str, ...] = ()
    journal: Journal = field(default_factory=Journal)
    answer: Answer | None = None
    call: RebootCall | None = None
    committed_by_this_process: bool = False
    observed_ago: timedelta = timedelta()
    commit_age: timedelta = timedelta()
    orphaned_for: timedelta = timedelta()
    shutting_down_for: timedelta = timedelta()
    target_changed: bool = False
    operator: bool = False
    adopts: bool = False
    clone: str = ""
    blockers: tuple[Blocker, ...] = ()
    checks: Checks | None = None
    stage: Report | None = None
    prepared: bool = False
    finished: bool = False
    verifying: timedelta = timedelta()
    system: str = ""
    acknowledged: bool | None = None
    aborting: "Aborting | None" = None
    users: frozenset[str] = frozenset()
    warned: Warned | None = None
    warned_for: timedelta = timedelta()
    window: WindowSight = field(default_factory=WindowSight)
    stored: StoredFailure | None = None
    failed_writes: int = 0
    released: bool = False
    arrival: timedelta = timedelta()
