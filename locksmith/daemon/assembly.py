"""The parts of this machine that the daemon and the tool put together from a configuration."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from locksmith.agent import fleet_lock, fleet_server
from locksmith.agent.fleet_lock import FLEET_LOCK
from locksmith.agent.fleet_server import SERVER
from locksmith.agent.identity import Target
from locksmith.agent.ports import Gate
from locksmith.agent.strategy import Strategy, StrategyContext, make
from locksmith.config.keys import FLEET_SERVER_URLS
from locksmith.config.model import Config
from locksmith.daemon.stages import MachineStages
from locksmith.daemon.windows import ConfiguredWindows
from locksmith.gates.inhibitors import Inhibitors
from locksmith.gates.settings import AlertSettings
from locksmith.gates.synced_clock import SyncedClock
from locksmith.gates.uptime import MinimumUptime
from locksmith.host.boot import read_machine_id
from locksmith.host.clock import local_clock
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.health import SystemdHealth
from locksmith.host.machine import RealMachine
from locksmith.host.paths import Paths
from locksmith.host.programs import Programs
from locksmith.host.watermark import SeenRevision
from locksmith.lock import successor
from locksmith.lock.admission import GroupRules
from locksmith.lock.connect import open_queued_lock
from locksmith.lock.queued_lock import QueuedLock
from locksmith.store.connect import open_store
from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from locksmith.store.protocol import NoObserver, Observer, Store
from locksmith.store.remembering import RememberingStore
from locksmith.util.boottime import boot_time


def target_of(config: Config) -> Target:
    """Give the configured target: the strategy, and the store or the server and the group of its lock."""
    if config.strategy == FLEET_LOCK:
        return fleet_lock.target(config.group, config.fleet_lock)
    if config.strategy == SERVER:
        return fleet_server.target(config.group)
    return Target(config.strategy, config.group, config.store.api, config.store.endpoints)


Asking = Callable[[Callable[[int, Sequence[str]], bool]], None]
"""Writes down that a slot may be asked for, for a claim whose API and endpoints are those of its argument."""


def make_strategy(
    config: Config,
    target: Target,
    paths: Paths,
    meter: Meter | None = None,
    mark: SeenRevision | None = None,
    *,
    asking: Asking = lambda _is_of: None,
) -> Strategy:
    """Give the strategy for a target: that of the configuration, or of the reboot journal.

    `mark` is the watermark of the configured store. A claim at another store is only released. If its cluster is known,
    it is reached at the configured endpoints too. `asking` is the reboot journal's: who makes requests has to give it.
    """
    rules = GroupRules(
        halt_after=config.halt.after,
        spacing=config.reboot.spacing.total_seconds(),
        expire_after=config.halt.expire_after.total_seconds(),
        repeat=config.reboot.repeat.total_seconds(),
        max_per_day=config.reboot.max_per_day,
    )

    def open_lock() -> QueuedLock:
        seen = mark or make_mark(config, paths)
        # Endpoints that were wrong, or are gone, do not keep a claim from its release at the cluster that has it.
        endpoints = target.endpoints_with(config.store.endpoints)
        store = replace(config.store, api=target.api, endpoints=endpoints)
        own = seen if seen.is_of(target.api, endpoints) else None
        return open_queued_lock(
            store, target.group, meter, rules, own, cluster=lambda: target.cluster or seen.clusters.own
        )

    context = StrategyContext(
        target.group,
        open_lock,
        adopt=config.adopt,
        machine_id=lambda: read_machine_id(paths),
        asking=lambda: asking(lambda api, endpoints: (api, tuple(endpoints)) == (target.api, target.endpoints)),
        fleet_lock=config.fleet_lock.at(target),
        fleet_server=config.fleet_server,
        mark=lambda: _mark_for(target, mark, config, paths),
    )
    return make(target.strategy, context)


def make_mark(config: Config, paths: Paths, meter: Meter | None = None) -> SeenRevision:
    """Give the watermark of the configured store; another cluster counts after an operator's `resume`."""
    if config.strategy == SERVER:
        return _mark_of_servers(config, paths, meter)
    mark = SeenRevision(paths, config.store.api, config.store.endpoints, meter=meter)

    def connect(observer: Observer) -> Store:
        return open_store(config.store, observer=observer)

    mark.clusters.successor = partial(successor.observe, connect, config.group, mark)
    return mark


def _mark_of_servers(config: Config, paths: Paths, meter: Meter | None = None, *, keeps: bool = True) -> SeenRevision:
    """Give the watermark of the store that the servers act on; if another strategy is configured, it is not kept."""
    target = fleet_server.target(config.group)
    mark = SeenRevision(paths, target.api, target.endpoints, meter=meter, keeps=keeps)
    mark.clusters.setting = FLEET_SERVER_URLS.name
    mark.clusters.successor = partial(successor.observe, partial(_store_of_servers, config), config.group, mark)
    return mark


def _mark_for(target: Target, mark: SeenRevision | None, config: Config, paths: Paths) -> SeenRevision:
    if mark is not None and mark.is_of(target.api, target.endpoints):
        return mark
    return _mark_of_servers(config, paths, keeps=config.strategy == SERVER)


def open_group_store(config: Config, meter: Meter | None, mark: SeenRevision | None, key: str = "") -> Store:
    """Give the store of the presence and the windows: etcd's, or what a machine without etcd has of it."""
    if config.strategy != SERVER:
        return open_store(config.store, meter, mark, key)
    store = _store_of_servers(config, mark or NoObserver())
    if meter is not None:
        store = ObservedStore(store, meter)
    return RememberingStore(store, mark, key) if mark is not None else store


def _store_of_servers(config: Config, observer: Observer) -> Store:
    # Only machines that ask locksmith-servers load their client.
    from locksmith.host.server_client import ServerClient  # noqa: PLC0415
    from locksmith.host.server_store import ServerStore  # noqa: PLC0415

    return ServerStore(ServerClient(config.fleet_server, config.group, observer))


def silence_of(strategy: str, mark: SeenRevision) -> Callable[[int, Sequence[str]], bool]:
    """Tell the reboot journal whether a new claim was sent to no store, and no server, yet.

    The strategy `fleet-lock` says itself when it sends the first request. A strategy of another package may have
    another store, of which the mark knows nothing.
    """
    if strategy == FLEET_LOCK:
        return lambda api, _endpoints: api == fleet_lock.API
    return mark.is_silent if strategy in {"etcd-lock", SERVER} else lambda _api, _endpoints: False


def make_stages(config: Config, paths: Paths, bus: SystemBus, skip: frozenset[str] = frozenset()) -> MachineStages:
    """Give the stages of this machine; `skip` names gates that are left out."""
    hooks = Programs(paths, bus, config.programs.hook_limit.total_seconds())
    checks = Programs(paths, bus, config.programs.check_limit.total_seconds())
    health = SystemdHealth(bus, paths, config.health.units)
    return MachineStages(hooks, checks, health, _alerts(config.alerts), skip)


def _alerts(settings: AlertSettings) -> Gate | None:
    if not settings.wanted:
        return None
    from locksmith.gates.alerts import Alerts  # noqa: PLC0415 - its HTTP client is loaded only if it is used

    return Alerts(settings)


def make_gates(
    config: Config, machine: RealMachine, bus: SystemBus, inhibitors: Inhibitors, skip: frozenset[str] = frozenset()
) -> list[Gate]:
    """Give the gates that cost next to nothing; `skip` names gates that are left out."""
    uptime = MinimumUptime(config.reboot.min_uptime, lambda: machine.last_boot, local_clock())
    gates: list[Gate] = [inhibitors, uptime, *([SyncedClock(bus)] if config.window.synced else [])]
    return [gate for gate in gates if gate.name not in skip]


def make_windows(config: Config, meter: Meter | None = None, mark: SeenRevision | None = None) -> ConfiguredWindows:
    """Give the windows of this machine."""
    return ConfiguredWindows(config.window, lambda: open_group_store(config, meter, mark), boot_time)
