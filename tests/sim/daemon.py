"""A daemon as a process of a simulated machine: the real loop and strategy, and a death that nothing outlives."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any, cast

from locksmith.agent import fleet_server
from locksmith.agent.facts import Blocker, Boot, RebootNeed, ShutdownState, Stage, TriggerResult
from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import Hooks, JournalEntry, PreRebootState
from locksmith.agent.loop import Agent
from locksmith.agent.observe import Observer
from locksmith.agent.perform import Performer
from locksmith.agent.permit import Permit
from locksmith.agent.ports import Ports
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Step, Wait
from locksmith.agent.strategy import Strategy, StrategyContext, StrategyFactory
from locksmith.config.model import WindowSettings
from locksmith.daemon.checked_presence import CheckedPresence
from locksmith.daemon.windows import ConfiguredWindows
from locksmith.errors import HostError, StoreUnavailableError
from locksmith.lock import successor
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import GroupRules
from locksmith.lock.group_size import GroupSize
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.presence import Presence
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.server.hub import Hub
from locksmith.server.ports import FleetLock, MachineDesk
from locksmith.store.protocol import Observer as StoreObserver
from locksmith.store.protocol import Store
from locksmith.store.remembering import RememberingStore
from locksmith.window.splay import Splay
from locksmith_strategies.etcd_lock import EtcdLock
from locksmith_strategies.server import Server
from tests.sim.machine import SimJournal, SimMachine, SimSeen
from tests.sim.machine_wire import WayToServers
from tests.sim.network import Answer
from tests.sim.older_records import TranslatedStore, Translation
from tests.sim.sim_desk import SimDesk, SimMachineDesk, Surroundings
from tests.sim.story import Story

LIMIT, SETTLE, RETRY = timedelta(seconds=60), timedelta(seconds=15), timedelta(seconds=90)
HEALTH = timedelta(seconds=60)
GRACE, SESSIONS = timedelta(seconds=10), timedelta(seconds=60)
GROUP = ""
TARGET = Target("etcd-lock", GROUP, 3, ("memory",))


class KilledError(BaseException):
    """This process is dead: nothing that it still tries has an effect. No part handles this error."""


@dataclass(frozen=True)
class Parts:
    """What a daemon is made of; a test puts a broken part in to see whether the rules see it."""

    agent: type[Agent] = Agent
    observer: type[Observer] = Observer
    performer: type[Performer] = Performer
    strategy: StrategyFactory = EtcdLock
    queue: type[Queue] = Queue
    presence: type[Presence] = Presence
    lock: type[RebootLock] = RebootLock
    orders: type[OperatorOrders] = OperatorOrders
    script: type[LockAdmin] = LockAdmin
    seen: type[SimSeen] = SimSeen
    windows: type[ConfiguredWindows] = ConfiguredWindows
    queued: type[QueuedLock] = QueuedLock
    journal: type[SimJournal] = SimJournal
    desk: Callable[[Surroundings], FleetLock] = SimDesk
    machine_desk: Callable[[Surroundings], MachineDesk] = SimMachineDesk
    hub: type[Hub] = Hub
    """What servers are made of."""
    server: type[Server] = Server
    """The strategy of machines without etcd."""
    names: Translation | None = None
    """Other names for the fields of records; None: those of this version."""


@dataclass
class Process:
    """One run of the daemon. Every await of the outside, and every write of the journal, is a moment to die."""

    machine: SimMachine
    parts: Parts
    rng: Random
    story: Story
    store: Callable[["Process"], Store]
    asked: Callable[[SimMachine], None]
    """Told of each order to reboot, at the moment it is given."""
    began: Callable[[SimMachine], None]
    """Told when the hooks before a reboot begin."""
    told: Callable[[SimMachine, Answer[Any]], None]
    """Told of each answer of the store that has arrived."""
    windows: WindowSettings = field(default_factory=WindowSettings)
    dry_run: bool = False
    hooks: bool = False
    spacing: float = 0.0
    most_per_day: int = 0
    expire_after: float = 0.0
    stalls: Random = field(default_factory=Random)
    look: "Callable[[Process, StoreObserver], Store] | None" = None
    """Opens its way to the store to look for an operator's word of another cluster; None: it never looks."""
    servers: "Callable[[Process], WayToServers] | None" = None
    """What makes its way to servers; None: it has etcd."""
    way: WayToServers | None = None
    alive: bool = True
    task: asyncio.Task[None] | None = None
    agent: Agent | None = None
    seen: SimSeen = field(init=False)
    target: Target = TARGET
    shown: str = ""
    name: str = "update_engine"

    def start(self) -> None:
        """Start the loop."""
        machine = self.machine
        machine.runs, machine.saw = machine.runs + 1, 0
        self.target = replace(TARGET, endpoints=machine.endpoints)
        if self.servers is not None:
            self.target = fleet_server.target(GROUP)
            self.way = self.servers(self)
        self.seen = self.parts.seen(machine.disk, machine.clock, self.target.endpoints, self.target.api)
        if self.look is not None:
            self.seen.clusters.successor = partial(successor.observe, partial(self.look, self), GROUP, self.seen)
        settings = Settings(
            self.target.strategy,
            min_remaining=self.windows.least,
            splay=Splay(self.windows.splay or 0.0, machine.name),
            dry_run=self.dry_run,
            limit=LIMIT,
            settle=SETTLE,
            retry=RETRY,
            tries=0,
            health=HEALTH,
            grace=GRACE,
            sessions=SESSIONS,
            max_per_day=self.most_per_day,
        )
        presence = self._presence()
        ports = Ports(
            machine=self,
            triggers=(self, _Packages(self), _Insatiable(self)),
            journal=self.parts.journal(machine.name, machine.disk, self.moment, machine.hardware, self.seen),
            strategy=self._strategy,
            clock=machine.clock,
            reporters=(self,),
            windows=self.parts.windows(self.windows, self._open, asyncio.get_running_loop().time),
            gates=(_Gate(self),),
            stages=_Stages(self),
            users=_Users(self) if machine.faults().logins or machine.users else None,
            presence=presence,
            machines=lambda: presence.machines,
        )
        boot = machine.boot
        member = Member(machine.name, machine.host or machine.name, boot.boot_id, hardware=machine.hardware)
        self.agent = self.parts.agent(
            member, self.target, settings, ports, observer=self.parts.observer, performer=self.parts.performer
        )
        presence.listen(self.agent.wake)
        self.task = asyncio.ensure_future(self._run(self.agent))

    def kill(self, why: str) -> None:
        """End it as `kill -9` or a lost power does: no `finally` of it does anything outside any more."""
        if self.alive:
            self.alive = False
            self.story.tell(self.machine.name, f"its daemon dies {why}")
            if self.task is not None:
                self.task.cancel()

    async def stop(self) -> None:
        """End it as SIGTERM does."""
        if self.task is None or self.agent is None or not self.alive:
            return
        self.task.cancel()
        await asyncio.wait([self.task])
        if self.alive:
            with contextlib.suppress(KilledError):
                self.story.tell(self.machine.name, self.agent.leave())
            self.alive = False

    async def pause(self, where: str) -> None:
        """Let the process die here, or stand still for a while, if it is its time."""
        faults = self.machine.faults()
        if self.rng.random() < faults.frozen:
            seconds = self.rng.uniform(1, 200)
            self.story.tell(self.machine.name, f"its daemon stands still for {seconds:.1f} s {where}")
            await asyncio.sleep(seconds)
        self._may_die(where)

    async def _stall(self, where: str) -> None:
        """Stand still, or have no bus, right when it counts."""
        chance, machine = self.stalls, self.machine
        if chance.random() >= machine.faults().stalled:
            return
        seconds = chance.uniform(1, 200)
        if chance.random() < 0.5:
            self.story.tell(machine.name, f"its daemon stands still for {seconds:.1f} s {where}")
            await asyncio.sleep(seconds)
        else:
            self.story.tell(machine.name, f"has no bus for {seconds:.1f} s {where}")
            machine.silent_until = asyncio.get_running_loop().time() + seconds

    def _may_die(self, where: str) -> None:
        if not self.alive or self.rng.random() < self.machine.faults().crash:
            self.kill(where)
            raise KilledError

    def moment(self, where: str) -> None:
        """Let the process die between two writes, or the disk fail."""
        self._may_die(where)
        if where.startswith("before"):
            self.machine.keep_a_snapshot()
            if asyncio.get_running_loop().time() < self.machine.full_until:
                raise HostError("the journal cannot be written: no space left on device")
        if where.startswith("before") and self.rng.random() < self.machine.faults().bad_disk:
            raise HostError("the journal cannot be written: no space left on device")

    def lost_an_answer(self) -> None:
        """Perhaps lose the power as well."""
        if self.alive and self.rng.random() < self.machine.faults().rack_failure:
            self.machine.cut_power()

    async def boot(self) -> Boot:
        """Say which boot this is."""
        await self.pause("while it asks for the boot")
        if asyncio.get_running_loop().time() < self.machine.no_bus_until:
            raise HostError("the system bus does not answer")
        return self.machine.boot

    async def shutdown_state(self) -> ShutdownState:
        """Ask logind."""
        if self.machine.is_committed:
            await self._stall("after its commit")
        if self.machine.claims and self.rng.random() < self.machine.faults().cancelled:
            with contextlib.suppress(HostError):
                if self.machine.cancel():
                    self.story.tell(self.machine.name, "has its reboot cancelled")
        await self.take_time("while it asks logind")
        return self.machine.shutdown_state()

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        """Say how it is."""
        return PreRebootState(need.trigger if need else "")

    def system(self) -> str:
        """Say what runs."""
        return ""

    async def reboot(self, permit: Permit) -> None:
        """Order the reboot; the reply takes a moment."""
        await self._stall("before it orders the reboot")
        self._may_die("before it orders the reboot")
        try:
            with permit():
                self.asked(self.machine)
                self.machine.order_reboot()
        finally:
            await self.take_time("while it waits for logind's reply")

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Ask the engine."""
        await self.take_time("while it asks the engine")
        return self.machine.check()

    def show(self, step: Step, snapshot: Snapshot | None) -> None:  # noqa: ARG002 - part of the interface
        """Tell each new step."""
        words = f"{step.code}: {step.text}" if isinstance(step, Wait) else type(step).__name__
        if words != self.shown and self.alive:
            self.shown = words
            self.story.tell(self.machine.name, f"- {words}")

    def performed(self, step: Step) -> None:
        """Need no telling."""

    async def take_time(self, where: str) -> None:
        """Let a moment pass, in which the process may die."""
        await asyncio.sleep(self.rng.uniform(0.0005, 0.005))
        await self.pause(where)

    async def _run(self, agent: Agent) -> None:
        try:
            await agent.run()
        except (KilledError, asyncio.CancelledError):
            return
        except Exception as error:  # noqa: BLE001 - the loop must never end by itself, in whatever way
            self.story.breaks(f"the loop of {self.machine.name} ended by itself: {error!r}")

    def saw(self, answer: Answer[Any], version: int) -> None:
        """Take note of an answer of the store, unless its process is gone."""
        if self.alive:
            self.told(self.machine, answer)
            self.machine.saw = max(self.machine.saw, version)

    def _open(self, endpoints: tuple[str, ...] = ()) -> Store:
        if self.way is not None:
            served = self.way.store(GROUP, self.seen)
            return cast("Store", RememberingStore(served, self.seen, keys.semaphore_key(GROUP)))
        store, names = self.store(self), self.parts.names
        if TARGET.endpoints[0] not in (endpoints or self.target.endpoints):
            store = cast("Store", _Misdirected(self.machine, store))
        return store if names is None else cast("Store", TranslatedStore(store, names))

    def _presence(self) -> CheckedPresence:
        store, name, disk = self._open(), self.machine.name, self.machine.disk
        size = GroupSize(store, GROUP, Random(f"{name} {self.machine.runs}"))
        presence = self.parts.presence(store, GROUP, name, disk, mark=self.seen, spread=size.spread)
        return CheckedPresence(presence, store, GROUP, self.seen, size)

    def _strategy(self, target: Target) -> Strategy:
        if self.way is not None:
            settings = FleetServerSettings(self.way.urls)
            context = StrategyContext(target.group, _no_lock, fleet_server=settings, mark=lambda: self.seen)
            return self.way.attach(self.parts.server(context), target.group, self.seen)

        def open_lock() -> QueuedLock:
            store = self._open(target.endpoints_with(self.target.endpoints))
            rules = GroupRules(
                self.machine.halt_after,
                self.spacing,
                self.expire_after,
                repeat=Settings().repeat.total_seconds(),
                max_per_day=self.most_per_day,
            )
            return self.parts.queued(
                self.parts.lock(
                    store,
                    target.group,
                    rng=self.rng,
                    clock=self.machine.clock,
                    guard=self.machine.look_at_other_keyspace,
                    rules=rules,
                    mark=self.seen,
                ),
                self.parts.queue(store, target.group, rng=self.rng, halt_after=rules.halt_after),
                rng=self.rng,
            )

        return self.parts.strategy(StrategyContext(target.group, open_lock))


def _no_lock() -> QueuedLock:
    raise NotImplementedError("a machine without etcd has no lock of its own")


@dataclass
class _Misdirected:
    """A store at an endpoint that is wrong: no call is answered there, until the endpoint leads to the store."""

    machine: SimMachine
    store: Store

    def __getattr__(self, name: str) -> Any:
        """Give a method of the store."""
        method = getattr(self.store, name)

        async def call(*args: Any, **more: Any) -> Any:
            await asyncio.sleep(0.01)
            if name != "close" and asyncio.get_running_loop().time() < self.machine.wrong_until:
                raise StoreUnavailableError("no endpoint answers: it is wrong")
            return await method(*args, **more)

        return call if asyncio.iscoroutinefunction(method) else method


@dataclass
class _Packages:
    """The second trigger."""

    process: Process
    name: str = "reboot-required"

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Ask the machine."""
        return self.process.machine.look_at_packages()


@dataclass
class _Insatiable:
    """The third trigger, which is never content."""

    process: Process
    name: str = "insatiable"

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Ask the machine."""
        return self.process.machine.look_at_insatiable()


@dataclass
class _Gate:
    """Who blocks a shutdown."""

    process: Process
    name: str = "inhibitor"

    async def check(self, entry: JournalEntry | None) -> Sequence[Blocker]:  # noqa: ARG002 - part of the interface
        """Ask the machine."""
        await self.process.take_time("while it asks who blocks")
        return self.process.machine.blockers()


@dataclass
class _Users:
    """Who is logged in. Their warning needs no telling."""

    process: Process

    async def present(self) -> frozenset[str]:
        """Ask the machine."""
        await self.process.take_time("while it asks who is logged in")
        return self.process.machine.logged_in(self.process.stalls)

    async def warn(self, at: datetime, reason: str) -> None:
        """Warn them."""

    async def call_off(self) -> None:
        """Take that back."""


@dataclass
class _Stages:
    """Hooks that drain the machine and bring it back, and the look at its health; they take their time."""

    process: Process

    def wanted(self, stage: Stage) -> bool:
        """Whether there is anything to do."""
        return self.process.hooks or stage in {Stage.HEALTH, Stage.CHECKS}

    async def run(self, stage: Stage, entry: JournalEntry | None) -> Sequence[Blocker]:
        """Do it."""
        process, machine = self.process, self.process.machine
        if stage is Stage.HEALTH:
            await process.take_time("while it looks at its health")
            return machine.problems()
        if stage is Stage.REHEARSAL:
            await process.take_time("while its hooks are rehearsed")
            return ()
        if not self.wanted(stage) or stage is Stage.CHECKS:
            return ()
        if stage is Stage.PREPARE:
            if entry is not None and entry.hooks is Hooks.NONE:
                process.began(machine)
            machine.drained = True
            process.story.tell(machine.name, "is drained")
        await asyncio.sleep(process.rng.uniform(0.1, 20))
        await process.pause(f"while its hooks run ({stage})")
        if stage is Stage.PREPARE:
            bad = process.rng.random() < machine.faults().bad_hook
            return (Blocker("hooks", "drain: no"),) if bad else ()
        machine.drained = False
        process.story.tell(machine.name, "is not drained any more")
        return ()

    async def stop(self, stage: Stage, entry: JournalEntry) -> None:
        """Need nothing: a hook that is cancelled does no more."""
