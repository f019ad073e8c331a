"""The settings of all programs, as values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from locksmith.agent.fleet_lock import FleetLockSettings
from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.config.notify_model import NotifySettings
from locksmith.config.server_model import ServerSettings
from locksmith.gates.settings import AlertSettings
from locksmith.host.layered import Layered
from locksmith.host.settings import SessionSettings
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.store.settings import StoreSettings
from locksmith.triggers.settings import TriggerSettings
from locksmith.window.window_set import WindowSet


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """When this machine may reboot: in its own windows and those of the sets it names, less all their blackouts.

    `calendars` are the events of the iCalendar files `open_calendars` and `blackout_calendars`, as they were read.
    `sets` are names; a set is in `known`, from the file, or in the store. `least` is how much of a window must be left
    when a reboot begins. `splay` is the share of a window over which machines spread (None: by the strategy). `synced`:
    the clock must be synchronised.
    """

    own: WindowSet = field(default_factory=WindowSet)
    calendars: WindowSet = field(default_factory=WindowSet)
    open_calendars: tuple[Path, ...] = ()
    blackout_calendars: tuple[Path, ...] = ()
    sets: tuple[str, ...] = ()
    known: Mapping[str, WindowSet] = field(default_factory=dict, hash=False)
    least: timedelta = timedelta(0)
    splay: float | None = None
    synced: bool = False

    @property
    def of_file(self) -> tuple[WindowSet, ...]:
        """The windows of the configuration: its own, those of its calendars, and those of its known sets."""
        return (self.own, self.calendars, *(self.known[name] for name in self.sets if name in self.known))

    @property
    def stored(self) -> tuple[str, ...]:
        """The named sets that are in the store."""
        return tuple(name for name in self.sets if name not in self.known)


DEFAULT_ORIGIN = "the defaults"


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """The address of the metrics; port 0 is any free port; with `certfile` and `keyfile` the port speaks TLS."""

    enabled: bool = True
    address: str = "127.0.0.1"
    port: int = 9563
    certfile: Path | None = None
    keyfile: Path | None = None


@dataclass(frozen=True, slots=True)
class RebootSettings:
    """The times of a reboot.

    If a reboot that was asked for has not happened after `limit`, the shutdown is stuck. If the machine does not go
    down within `settle`, the reboot has failed. `retry` is the wait after a failed reboot, doubled after each further
    failure. After so many `tries` for a version the machine stops trying (0: never). For `repeat` a second reboot for
    the same cause is refused. Triggers cause at most `max_per_day` reboots in 24 hours. A machine stays up for
    `min_uptime`. After its reboot no machine of the group begins another for `spacing`.
    """

    limit: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=15)
    retry: timedelta = timedelta(minutes=15)
    tries: int = 5
    repeat: timedelta = timedelta(days=1)
    max_per_day: int = 3
    min_uptime: timedelta = timedelta(0)
    spacing: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class HaltSettings:
    """When a rollout halts by itself, and when a slot that is not released is reported.

    `expire_after`: when the slot of a lost machine may be taken (0: never); `stale_after`: when any other is `stale`.
    """

    after: HaltAfter = FIRST
    expire_after: timedelta = timedelta(0)
    stale_after: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """The limit for a healthy machine after its reboot, and the units that must be active."""

    limit: timedelta = timedelta(minutes=10)
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """The limits of each hook and each check."""

    hook_limit: timedelta = timedelta(minutes=15)
    check_limit: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; without a window a machine may reboot at any time.

    `origins` names the file, variable or flag of each key that was set. `files` are those of the configuration, in the
    order in which they are read. `not_configured` is a sentence for a machine without an operator's configuration, or
    with an emptied one. `cautions` are sentences about files with a secret that other users can read, and about masks
    without a file. `conflicts` are sentences about the tool's flags and variables that name another lock than this
    machine's daemon has. `unread` says why the tool cannot read the daemon's credentials.
    """

    strategy: str = "reboot"
    group: str = ""
    dry_run: bool = False
    adopt: bool = False
    debug: bool = False
    window: WindowSettings = field(default_factory=WindowSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    reboot: RebootSettings = field(default_factory=RebootSettings)
    halt: HaltSettings = field(default_factory=HaltSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    programs: ProgramSettings = field(default_factory=ProgramSettings)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    grace: timedelta = timedelta(minutes=5)
    sessions_limit: timedelta = timedelta(hours=1)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    fleet_lock: FleetLockSettings = field(default_factory=FleetLockSettings)
    fleet_server: FleetServerSettings = field(default_factory=FleetServerSettings)
    triggers: TriggerSettings = field(default_factory=TriggerSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    files: tuple[Layered, ...] = field(default=(), compare=False, repr=False)
    not_configured: str = field(default="", compare=False)
    cautions: tuple[str, ...] = field(default=(), compare=False)
    conflicts: tuple[str, ...] = field(default=(), compare=False)
    unread: str = field(default="", compare=False)
