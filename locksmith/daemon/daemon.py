"""locksmithd: the loop with the real machine, bus, store and reporters around it, from its start to its signals.

Above 300 lines, in one piece: it is the only place that knows all the parts, and makes what no other program needs.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Protocol

from locksmith.agent.facts import TriggerResult
from locksmith.agent.identity import Member
from locksmith.agent.loop import Agent
from locksmith.agent.ports import HEARTBEAT, Ports, Reporter
from locksmith.agent.settings import Settings
from locksmith.agent.strategy import Strategy, has_slots
from locksmith.config.model import Config
from locksmith.daemon.assembly import (
    make_gates,
    make_mark,
    make_stages,
    make_strategy,
    make_windows,
    open_group_store,
    silence_of,
    target_of,
)
from locksmith.daemon.bus_service import SHIELD, BusService, Orders
from locksmith.daemon.checked_presence import CheckedPresence
from locksmith.daemon.group_sight import GroupSight
from locksmith.daemon.own_record import OwnRecord
from locksmith.daemon.reporters import CoordinatorReporter, LogReporter, SystemdReporter
from locksmith.errors import LocksmithError
from locksmith.gates.inhibitors import Inhibitors
from locksmith.host.boot import read_boot_id, read_machine_id
from locksmith.host.clock import local_clock
from locksmith.host.coordinator import Coordinator
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.hardware import read_hardware
from locksmith.host.hostname import read_hostname
from locksmith.host.instance import read_instance
from locksmith.host.journal import JournalFile
from locksmith.host.known_runs import ShownRuns
from locksmith.host.last_group import LastGroup
from locksmith.host.machine import RealMachine
from locksmith.host.notify import Notifier
from locksmith.host.operator_lock import OperatorLock
from locksmith.host.paths import Paths
from locksmith.host.runfiles import AdoptMark, only_daemon
from locksmith.host.sessions import Sessions
from locksmith.host.watermark import SeenRevision
from locksmith.lock.group_size import GroupSize
from locksmith.lock.membership import Membership
from locksmith.lock.presence import Presence
from locksmith.lock.records import keys
from locksmith.store.meter import Meter
from locksmith.triggers.operator_request import OperatorRequest
from locksmith.triggers.plugin import TriggerContext, TriggerPlugin, listen, make_triggers
from locksmith.util.signals import heard
from locksmith.window.splay import Splay

if TYPE_CHECKING:
    from locksmith.daemon.group_metrics import GroupMetrics

log = logging.getLogger(__name__)

LOCKLESS_SPLAY = 0.5
"""The share of a window over which machines spread that have no slot to wait for."""


async def run(config: Config, paths: Paths) -> None:
    """Run until SIGTERM or SIGINT, or until a strategy that never reboots has nothing left to release.

    SIGHUP checks everything again now. `UsageError`: the strategy is not installed; `HostError`: this machine has
    no id, or another locksmithd runs on it.
    """
    member = _member(paths)
    strategy = make_strategy(config, target_of(config), paths)
    with contextlib.ExitStack() as stack:
        # At first: a process that finds the pid sends it signals, and a signal without a handler ends the process.
        stack.enter_context(heard({signal.SIGHUP: lambda: None, signal.SIGUSR1: _end_for_a_restart}))
        stack.enter_context(only_daemon(paths))
        await Daemon(config, paths, member, strategy, stack).run()


class Daemon:
    """The parts of locksmithd, and what people and signals may ask of it. What `stack` holds ends after it."""

    def __init__(
        self, config: Config, paths: Paths, member: Member, strategy: Strategy, stack: contextlib.ExitStack
    ) -> None:
        self._paths = paths
        # What other users can send comes in on a connection of its own, which may be flooded, or lost, at no cost.
        self._bus, self._public = SystemBus(), SystemBus(what="the connection to the system bus that others call")
        self._bus.take_name(SHIELD)
        self._machine, self._operator = RealMachine(self._bus, paths), OperatorRequest(paths)
        self._clock = local_clock()
        notifier = Notifier.from_environment()
        meter, metrics, group = _metrics(config, stack, shared=strategy.present)
        mark, self._journal = _memory(config, paths, member, meter)
        self._windows = make_windows(config, meter, mark)
        context = TriggerContext(paths, self._bus, config.triggers, self.note, self._public)
        found, self._unused = make_triggers(context)
        self._triggers: list[TriggerPlugin] = [*found, self._operator]
        orders = Orders(self.request, self.cancel, self.recheck)
        own = OwnRecord(member, target_of(config), self._clock)
        self._service = BusService(self._public, orders, config, self.results, record=own.read)
        self._inhibitors, self._sessions = Inhibitors(self._bus), Sessions(self._bus, config.sessions, paths)
        self._presence = _presence(config, member, paths, meter, mark, metrics=group) if strategy.present else None
        reporters = [
            LogReporter(dry_run=config.dry_run),
            *_reporters(config, paths, notifier, stack),
            *metrics,
            own,
            self._service,
        ]
        ports = self._ports(config, meter, mark, reporters, notifier.watchdog_interval)
        self._agent = Agent(member, target_of(config), _settings(config, strategy, member), ports)

    async def run(self) -> None:
        """Run the loop until a signal ends it, or until it has nothing left to do."""
        wake = self._agent.wake
        self._service.listen()
        listen(self._triggers, wake)
        _listen(wake, self._machine, self._inhibitors, self._sessions, self._presence)
        running = asyncio.ensure_future(self._run())
        ended_by = dict.fromkeys((signal.SIGTERM, signal.SIGINT), running.cancel)
        with heard({**ended_by, signal.SIGHUP: self.poll_now, signal.SIGUSR1: _end_for_a_restart}):
            try:
                await running
            except asyncio.CancelledError:
                log.info("%s", self._agent.leave())

    async def note(self, version: str, reason: str = "") -> None:
        """Write down that a reboot is asked for."""
        self._operator.note(version, self._clock(), await self._machine.boot(), reason)
        self._agent.wake()

    async def request(self, reason: str) -> None:
        """Write down that a reboot is asked for over the bus."""
        log.info("a reboot is asked for over the bus: %s", reason or "no reason given")
        await self.note("", reason)

    def cancel(self) -> bool:
        """Take a request for a reboot back, unless the reboot is committed; True: there was a request."""
        done = self._journal.unless_committed(read_boot_id(self._paths), self._operator.cancel)
        self._agent.wake()
        return done

    def recheck(self) -> None:
        """Forget that this machine has rebooted for the same version, and check everything now."""
        self._journal.forgive(self._clock())
        self.poll_now()

    def poll_now(self) -> None:
        """Check everything now."""
        self._windows.forget()
        self._agent.recheck()

    def results(self) -> dict[str, TriggerResult | None]:
        """Give the last result of each trigger; None: the trigger is not used."""
        return {**self._agent.results(), **self._unused}

    def _ports(
        self, config: Config, meter: Meter, mark: SeenRevision, reporters: list[Reporter], watchdog: float | None
    ) -> Ports:
        marker, presence = AdoptMark(self._paths, wanted=config.adopt), self._presence
        return Ports(
            machine=self._machine,
            triggers=self._triggers,
            journal=self._journal,
            strategy=partial(
                make_strategy, config, paths=self._paths, meter=meter, mark=mark, asking=self._journal.asking
            ),
            clock=self._clock,
            reporters=reporters,
            operator=OperatorLock(self._paths).is_held,
            adopts=marker.missing,
            adopted=marker.leave,
            presence=presence,
            machines=lambda: presence.machines if presence else 0,
            windows=self._windows,
            gates=make_gates(config, self._machine, self._bus, self._inhibitors),
            stages=make_stages(config, self._paths, self._bus),
            users=self._sessions,
            heartbeat=min(HEARTBEAT, watchdog or HEARTBEAT),
        )

    async def _run(self) -> None:
        try:
            await asyncio.gather(self._bus.start(), self._public.start())
            await self._agent.run()
        finally:
            await asyncio.gather(self._bus.close(), self._public.close())
            await asyncio.gather(*(trigger.close() for trigger in self._triggers), return_exceptions=True)


class _Listens(Protocol):
    def listen(self, wake: Callable[[], None]) -> None: ...


def _listen(wake: Callable[[], None], *parts: _Listens | None) -> None:
    """Have `wake` called when one of them has news."""
    for part in parts:
        if part is not None:
            part.listen(wake)


def _end_for_a_restart() -> None:
    """End at once, as in a crash: the next daemon finds the place in the queue, the claim and the stages again.

    The unit's RestartKillSignal= sends it. After an upgrade a machine keeps its place among those that wait. By
    the exit status the unit starts the next daemon after a stray signal, too, when no restart is under way.
    """
    log.info("restarting: the next daemon resumes from the reboot journal, with this machine's place in the queue")
    logging.shutdown()
    os._exit(os.EX_TEMPFAIL)


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
    journal = JournalFile(paths, member.machine_id, cluster=mark.cluster_of, silent=silence_of(config.strategy, mark))
    mark.asks = lambda: journal.asking(mark.is_of)
    mark.clusters.expects = partial(_claimed_cluster, journal, mark)
    return mark, journal


def _claimed_cluster(journal: JournalFile, mark: SeenRevision) -> str:
    """Name the cluster of the claim in the reboot journal, if the machine has lost what it had seen of the store."""
    with contextlib.suppress(LocksmithError):
        entry = journal.read().entry
        return entry.cluster if entry is not None and mark.is_of(entry.api, entry.endpoints) else ""
    return ""


def _presence(
    config: Config, member: Member, paths: Paths, meter: Meter, mark: SeenRevision, *, metrics: "GroupMetrics | None"
) -> CheckedPresence:
    store = open_group_store(config, meter, mark, keys.semaphore_key(config.group))
    size = GroupSize(store, config.group, Random())  # noqa: S311 - when to count, no secret
    presence = Presence(store, config.group, member.machine_id, ShownRuns(paths), meter, mark=mark, spread=size.spread)
    membership = Membership(store, config.group, member.machine_id, presence, LastGroup(paths))
    sight = None
    if metrics is not None:
        halt, limit = config.halt.after, config.reboot.limit
        sight = GroupSight(config.group, halt, lambda: size.machines, limit, metrics.show)
    return CheckedPresence(presence, store, config.group, mark, size, sight=sight, membership=membership)


def _settings(config: Config, strategy: Strategy, member: Member) -> Settings:
    splay = config.window.splay
    if splay is None:
        splay = 0.0 if has_slots(strategy) else LOCKLESS_SPLAY
    return Settings(
        strategy=config.strategy,
        reboots=strategy.reboots,
        dry_run=config.dry_run,
        limit=config.reboot.limit,
        settle=config.reboot.settle,
        retry=config.reboot.retry,
        tries=config.reboot.tries,
        repeat=config.reboot.repeat,
        max_per_day=config.reboot.max_per_day,
        health=config.health.limit,
        halts=not config.halt.after.off,
        grace=config.grace,
        sessions=config.sessions_limit,
        min_remaining=config.window.least,
        splay=Splay(splay, member.machine_id),
    )


def _metrics(
    config: Config, stack: contextlib.ExitStack, *, shared: bool
) -> "tuple[Meter, list[Reporter], GroupMetrics | None]":
    """Serve the metrics, and give who counts; without them nothing is counted, and their library is not loaded.

    The figures of the group are there if its machines share a store.
    """
    if not config.metrics.enabled:
        return Meter(), [], None
    from prometheus_client import CollectorRegistry, disable_created_metrics  # noqa: PLC0415

    from locksmith.daemon.group_metrics import GroupMetrics  # noqa: PLC0415
    from locksmith.daemon.lock_metrics import LockMetrics  # noqa: PLC0415
    from locksmith.daemon.metrics import Identity, Metrics  # noqa: PLC0415

    disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no types there
    registry = CollectorRegistry()
    group = GroupMetrics(registry, config.group) if shared else None
    metrics = Metrics(registry, Identity(config.group, config.strategy, dry_run=config.dry_run))
    stack.enter_context(metrics.serve(config.metrics))
    return LockMetrics(registry, group), [metrics], group


def _reporters(config: Config, paths: Paths, notifier: Notifier, stack: contextlib.ExitStack) -> list[Reporter]:
    stack.callback(notifier.stopping)
    coordinator = stack.enter_context(contextlib.closing(Coordinator(paths.coordinator)))
    system = SystemdReporter(notifier, config.group, dry_run=config.dry_run)
    return [system, CoordinatorReporter(coordinator, config.strategy)]
