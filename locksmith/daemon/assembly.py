"""The daemon, assembled: the loop and the real machine, bus, store and reporters around it."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from locksmith.agent.facts import TriggerResult
from locksmith.agent.identity import Member, Target
from locksmith.agent.loop import Agent
from locksmith.agent.ports import HEARTBEAT, Gate, Ports, Reporter
from locksmith.agent.settings import Settings
from locksmith.agent.strategy import Strategy, StrategyContext, make
from locksmith.config.model import Config, MetricsSettings
from locksmith.daemon.bus_service import SHIELD, BusService, Orders
from locksmith.daemon.checked_presence import CheckedPresence
from locksmith.daemon.reporters import CoordinatorReporter, LogReporter, SystemdReporter
from locksmith.daemon.stages import MachineStages
from locksmith.daemon.windows import ConfiguredWindows
from locksmith.errors import LocksmithError
from locksmith.gates.inhibitors import Inhibitors
from locksmith.gates.settings import AlertSettings
from locksmith.gates.synced_clock import SyncedClock
from locksmith.gates.uptime import MinimumUptime
from locksmith.host.boot import read_boot_id, read_machine_id
from locksmith.host.clock import local_clock
from locksmith.host.coordinator import Coordinator
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.hardware import read_hardware
from locksmith.host.health import SystemdHealth
from locksmith.host.hostname import read_hostname
from locksmith.host.instance import read_instance
from locksmith.host.journal import JournalFile
from locksmith.host.known_runs import ShownRuns
from locksmith.host.machine import RealMachine
from locksmith.host.notify import Notifier
from locksmith.host.operator_lock import OperatorLock
from locksmith.host.paths import Paths
from locksmith.host.programs import Programs
from locksmith.host.runfiles import AdoptMark, only_daemon
from locksmith.host.sessions import Sessions
from locksmith.host.watermark import SeenRevision
from locksmith.lock import successor
from locksmith.lock.admission import GroupRules
from locksmith.lock.connect import open_queued_lock
from locksmith.lock.presence import Presence
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records import keys
from locksmith.store.connect import open_store
from locksmith.store.meter import Meter
from locksmith.store.protocol import Observer, Store
from locksmith.triggers.operator_request import OperatorRequest
from locksmith.triggers.plugin import TriggerContext, TriggerPlugin, listen, make_triggers
from locksmith.util.boottime import boot_time
from locksmith.window.splay import Splay

log = logging.getLogger(__name__)

LOCKLESS_SPLAY = 0.5
"""The share of a window over which machines spread that have no line to stand in."""


def target_of(config: Config) -> Target:
    """Name whose permission the configuration wants asked for."""
    return Target(config.strategy, config.group, config.store.api, config.store.endpoints)


def make_strategy(
    config: Config, target: Target, paths: Paths, meter: Meter | None = None, mark: SeenRevision | None = None
) -> Strategy:
    """Make the strategy for a target: the configured one, or the one that the journal names.

    `mark` is what was seen of the configured store. A claim at another store is only given back.
    """
    store = replace(config.store, api=target.api, endpoints=target.endpoints)
    rules = GroupRules(
        halt_after=config.halt.after,
        spacing=config.reboot.spacing.total_seconds(),
        expire_after=config.halt.expire_after.total_seconds(),
        repeat=config.reboot.repeat.total_seconds(),
    )

    def open_lock() -> QueuedLock:
        seen = mark or make_mark(config, paths)
        own = seen if seen.is_of(target.api, target.endpoints) else None
        return open_queued_lock(
            store, target.group, meter, rules, own, cluster=lambda: target.cluster or seen.clusters.own
        )

    return make(target.strategy, StrategyContext(target.group, open_lock, adopt=config.adopt))


def make_mark(config: Config, paths: Paths, meter: Meter | None = None) -> SeenRevision:
    """Read what this machine has seen of the configured store; another cluster counts when an operator has said so."""
    mark = SeenRevision(paths, config.store.api, config.store.endpoints, meter=meter)

    def connect(observer: Observer) -> Store:
        return open_store(config.store, observer=observer)

    mark.clusters.successor = partial(successor.look, connect, config.group, mark)
    return mark


def make_stages(config: Config, paths: Paths, bus: SystemBus, skip: frozenset[str] = frozenset()) -> MachineStages:
    """Make what is done beside the loop on this machine; `skip` names gates that are left out."""
    hooks = Programs(paths, bus, config.programs.hook_limit.total_seconds())
    checks = Programs(paths, bus, config.programs.check_limit.total_seconds())
    health = SystemdHealth(bus, paths, config.health.units)
    return MachineStages(hooks, checks, health, _alerts(config.alerts), skip)


def _alerts(settings: AlertSettings) -> Gate | None:
    if not settings.wanted:
        return None
    from locksmith.gates.alerts import Alerts  # noqa: PLC0415 - its HTTP client is loaded only where it asks

    return Alerts(settings)


def make_gates(
    config: Config, machine: RealMachine, bus: SystemBus, inhibitors: Inhibitors, skip: frozenset[str] = frozenset()
) -> list[Gate]:
    """Make the gates that cost next to nothing; `skip` names those that are left out."""
    uptime = MinimumUptime(config.reboot.min_uptime, lambda: machine.last_boot, local_clock())
    gates: list[Gate] = [inhibitors, uptime, *([SyncedClock(bus)] if config.window.synced else [])]
    return [gate for gate in gates if gate.name not in skip]


def make_windows(config: Config, meter: Meter | None = None, mark: SeenRevision | None = None) -> ConfiguredWindows:
    """Make the windows of this machine."""
    return ConfiguredWindows(config.window, lambda: open_store(config.store, meter, mark), boot_time)


async def run(config: Config, paths: Paths) -> None:
    """Run until SIGTERM or SIGINT, or until a strategy that never reboots has nothing left to give back.

    SIGHUP looks at everything again now. `UsageError`: the strategy is not installed; `HostError`: this machine has
    no id, or another locksmithd runs on it.
    """
    member = _member(paths)
    strategy = make_strategy(config, target_of(config), paths)
    # At first, because whoever finds the pid sends it signals, and one that is not heard ends the process.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_daemon(paths))
        # What other users can send comes in on a connection of its own, which may be flooded, or lost, at no cost.
        bus, public = SystemBus(), SystemBus(what="the connection to the system bus that others call")
        bus.take_name(SHIELD)
        machine, operator = RealMachine(bus, paths), OperatorRequest(paths)
        inhibitors, sessions = Inhibitors(bus), Sessions(bus, config.sessions, paths)
        clock, marker = local_clock(), AdoptMark(paths, wanted=config.adopt)
        notifier = Notifier.from_environment()
        meter, metrics = _metrics(config.metrics, stack)
        mark, journal = _memory(config, paths, member, meter)
        windows = make_windows(config, meter, mark)
        agent: Agent

        async def note(version: str, reason: str = "") -> None:
            operator.note(version, clock(), await machine.boot(), reason)
            agent.wake()

        def cancel() -> bool:
            done = journal.unless_committed(read_boot_id(paths), operator.cancel)
            agent.wake()
            return done

        def look_anew() -> None:
            windows.forget()
            agent.recheck()

        def recheck() -> None:
            journal.forgive(clock())
            look_anew()

        async def request(reason: str) -> None:
            log.info("a reboot is asked for over the bus: %s", reason or "no reason given")
            await note("", reason)

        def results() -> dict[str, TriggerResult | None]:
            return {**agent.results(), **others}

        found, others = make_triggers(TriggerContext(paths, bus, config.triggers, note, public))
        triggers: list[TriggerPlugin] = [*found, operator]
        service = BusService(public, Orders(request, cancel, recheck), config.group, config.strategy, results)
        ports = Ports(
            machine=machine,
            triggers=triggers,
            journal=journal,
            strategy=partial(make_strategy, config, paths=paths, meter=meter, mark=mark),
            clock=clock,
            reporters=[LogReporter(), *_reporters(config, paths, notifier, stack), *metrics, service],
            operator=OperatorLock(paths).is_held,
            adopts=marker.missing,
            adopted=marker.leave,
            presence=_presence(config, member, paths, meter, mark) if strategy.present else None,
            windows=windows,
            gates=make_gates(config, machine, bus, inhibitors),
            stages=make_stages(config, paths, bus),
            users=sessions,
            heartbeat=min(HEARTBEAT, notifier.watchdog_interval or HEARTBEAT),
        )
        agent = Agent(member, target_of(config), _settings(config, strategy, member), ports)
        service.listen()
        listen(triggers, agent.wake)
        machine.listen(agent.wake)
        inhibitors.listen(agent.wake)
        sessions.listen(agent.wake)
        running = asyncio.ensure_future(_run(agent, bus, public, triggers))
        with _signals(look_anew, running):
            try:
                await running
            except asyncio.CancelledError:
                log.info("%s", agent.leave())


async def _run(agent: Agent, bus: SystemBus, public: SystemBus, triggers: Sequence[TriggerPlugin]) -> None:
    try:
        await asyncio.gather(bus.start(), public.start())
        await agent.run()
    finally:
        await asyncio.gather(bus.close(), public.close())
        await asyncio.gather(*(trigger.close() for trigger in triggers), return_exceptions=True)


@contextlib.contextmanager
def _signals(look_anew: Callable[[], None], running: asyncio.Future[None]) -> Iterator[None]:
    """Hear them; and ignore them afterwards, when it is ending already and a loop that closes can hear none."""
    loop = asyncio.get_running_loop()
    handlers: dict[signal.Signals, Callable[[], object]] = {
        signal.SIGTERM: running.cancel,
        signal.SIGINT: running.cancel,
        signal.SIGHUP: look_anew,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _member(paths: Paths) -> Member:
    machine_id = read_machine_id(paths)
    return Member(
        machine_id,
        read_hostname(paths),
        boot_id=read_boot_id(paths),
        instance=read_instance(paths),
        hardware=read_hardware(paths, machine_id),
    )


def _memory(config: Config, paths: Paths, member: Member, meter: Meter) -> tuple[SeenRevision, JournalFile]:
    """Give what this machine remembers of the store, and of its own reboot; each knows the cluster of the other."""
    mark = make_mark(config, paths, meter)
    journal = JournalFile(paths, member.machine_id, cluster=mark.cluster_of)
    mark.clusters.expects = partial(_claimed_cluster, journal, mark)
    return mark, journal


def _claimed_cluster(journal: JournalFile, mark: SeenRevision) -> str:
    """Name the cluster of the claim in the journal, for a machine that has lost what it had seen of the store."""
    with contextlib.suppress(LocksmithError):
        entry = journal.read().entry
        return entry.cluster if entry is not None and mark.is_of(entry.api, entry.endpoints) else ""
    return ""


def _presence(config: Config, member: Member, paths: Paths, meter: Meter, mark: SeenRevision) -> CheckedPresence:
    store = open_store(config.store, meter, mark, keys.semaphore_key(config.group))
    presence = Presence(store, config.group, member.machine_id, ShownRuns(paths), meter, mark=mark)
    return CheckedPresence(presence, store, config.group, mark)


def _settings(config: Config, strategy: Strategy, member: Member) -> Settings:
    splay = config.window.splay
    if splay is None:
        splay = 0.0 if strategy.present else LOCKLESS_SPLAY
    return Settings(
        strategy=config.strategy,
        reboots=strategy.reboots,
        dry_run=config.dry_run,
        limit=config.reboot.limit,
        settle=config.reboot.settle,
        retry=config.reboot.retry,
        tries=config.reboot.tries,
        repeat=config.reboot.repeat,
        health=config.health.limit,
        halts=not config.halt.after.off,
        grace=config.grace,
        sessions=config.sessions_limit,
        min_remaining=config.window.least,
        splay=Splay(splay, member.machine_id),
    )


def _metrics(settings: MetricsSettings, stack: contextlib.ExitStack) -> tuple[Meter, list[Reporter]]:
    """Serve the metrics, and give who counts; without them nothing is counted, and their library is not loaded."""
    if not settings.enabled:
        return Meter(), []
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from locksmith.daemon.lock_metrics import LockMetrics  # noqa: PLC0415
    from locksmith.daemon.metrics import Metrics  # noqa: PLC0415

    registry = CollectorRegistry()
    meter, metrics = LockMetrics(registry), Metrics(registry)
    stack.enter_context(metrics.serve(settings))
    return meter, [metrics]


def _reporters(config: Config, paths: Paths, notifier: Notifier, stack: contextlib.ExitStack) -> list[Reporter]:
    stack.callback(notifier.stopping)
    coordinator = stack.enter_context(contextlib.closing(Coordinator(paths.coordinator)))
    return [SystemdReporter(notifier), CoordinatorReporter(coordinator, config.strategy)]
