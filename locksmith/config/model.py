"""What both programs run with: the settings, as values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from locksmith.gates.settings import AlertSettings
from locksmith.host.settings import SessionSettings
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.store.settings import StoreSettings
from locksmith.triggers.settings import TriggerSettings
from locksmith.window.window_set import WindowSet


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """When this machine may reboot: in its own windows and those of the sets it names, less all their blackouts.

    `sets` are names; a set is in `known`, from the file, or else in the store. `least` is how much of a window has to
    be left when a reboot begins. `splay` is the share of a window over which machines spread (None: as the strategy
    needs it). `synced`: the clock must be synchronised.
    """

    own: WindowSet = field(default_factory=WindowSet)
    sets: tuple[str, ...] = ()
    known: Mapping[str, WindowSet] = field(default_factory=dict, hash=False)
    least: timedelta = timedelta(0)
    splay: float | None = None
    synced: bool = False

    @property
    def of_file(self) -> tuple[WindowSet, ...]:
        """What the configuration says itself: its own, and the sets it names and knows."""
        return (self.own, *(self.known[name] for name in self.sets if name in self.known))

    @property
    def stored(self) -> tuple[str, ...]:
        """The sets it names that are in the store."""
        return tuple(name for name in self.sets if name not in self.known)


DEFAULT_ORIGIN = "the defaults"


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where Prometheus reads; port 0 is any free one; with `certfile` and `keyfile` it is TLS."""

    enabled: bool = True
    address: str = "127.0.0.1"
    port: int = 9563
    certfile: Path | None = None
    keyfile: Path | None = None


@dataclass(frozen=True, slots=True)
class RebootSettings:
    """How long a reboot may take.

    After `limit` a reboot that was asked for and has not happened is stuck in shutdown. A machine that for `settle`
    after asking is not going down has failed to. `retry` is the wait after a failed reboot, doubled after each
    further one; after so many `tries` for one version it gives up (0: never). A second reboot for the same version is
    refused for `repeat`. A machine stays up for `min_uptime`; after its reboot nobody of the group begins another for
    `spacing`.
    """

    limit: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=15)
    retry: timedelta = timedelta(minutes=15)
    tries: int = 5
    repeat: timedelta = timedelta(days=1)
    min_uptime: timedelta = timedelta(0)
    spacing: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class HaltSettings:
    """When a group halts by itself, and when a slot that nobody gives back is called so.

    `expire_after`: when the slot of a lost machine may be taken (0: never); `stale_after`: when any other is `stale`.
    """

    after: HaltAfter = FIRST
    expire_after: timedelta = timedelta(0)
    stale_after: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How long a machine has to prove itself healthy after its reboot, and which units must be active then."""

    limit: timedelta = timedelta(minutes=10)
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """How long each hook may run, and each check."""

    hook_limit: timedelta = timedelta(minutes=15)
    check_limit: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Config:
    """All that is configured; without a window a machine may reboot at any time.

    `origins` tells for each key that was set which file, variable or flag set it; `cautions` are sentences about files
    with a secret that other users can read.
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
    triggers: TriggerSettings = field(default_factory=TriggerSettings)
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    cautions: tuple[str, ...] = field(default=(), compare=False)
