"""A fleet of real agents on made-up machines: built from a plan, let loose in a storm, looked after in the calm."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, cast

from locksmith.config.model import WindowSettings
from locksmith.lock.guarded import Guarded
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.incident import HaltAfter
from locksmith.lock.window_sets import WindowStore
from locksmith.server.store_marks import ServerMark
from locksmith.store.protocol import Observer, Store
from locksmith.store.remembering import RememberingStore
from locksmith.window.splay import Splay
from locksmith.window.window_set import WindowSet
from tests.sim.client_rules import CLIENTS, ClientRules
from tests.sim.daemon import GROUP, Parts, Process
from tests.sim.desks import Run
from tests.sim.hub_rules import HubRules
from tests.sim.hubs import Around, HubStore
from tests.sim.machine import INSATIABLE, MIDNIGHT, SimJournal, SimMachine
from tests.sim.machine_wire import ANY, Caller, MachineWire, WayToServers
from tests.sim.network import Network, Outages, SimServer, SimStore, StepwiseSimStore
from tests.sim.node import Node
from tests.sim.older_queue import OlderQueue
from tests.sim.older_records import TranslatedJournal, Translation
from tests.sim.people import GoNode, Operator
from tests.sim.plan import STORMY, Faults, Plan
from tests.sim.rules import KEY, OPERATOR, SCRIPT, Rules
from tests.sim.served import Served
from tests.sim.storm import Storm
from tests.sim.story import Story
from tests.sim.virtual_time import VirtualLoop, run

CALM = 3600.0
"""Seconds after the storm in which everything has to come to its end."""
LOOK = 15.0
"""Seconds between two looks at how things stand, and between an operator's visits once it is calm."""
CALM_OF_CLIENTS = 7200.0
"""Seconds more where there are clients: each takes its slot minutes after that is free, and is lost after 18."""
CALM_FAULTS = Faults()


@dataclass
class Astray:
    """A store whose calls go to another cluster while the machine is led astray."""

    machine: SimMachine
    own: Store
    other: Store

    def __getattr__(self, name: str) -> Any:
        """Give the method of whichever cluster answers now."""
        here = self.other if asyncio.get_running_loop().time() < self.machine.astray_until else self.own
        return getattr(here, name)


@dataclass
class Reopened:
    """A store that is opened again where another cluster answers, as each command of the tool does."""

    server: SimServer
    make: Callable[[], Store]
    cluster: str = ""
    store: Store | None = None

    def __getattr__(self, name: str) -> Any:
        """Give the method of the store."""
        if self.store is None or self.cluster != self.server.cluster:
            self.store, self.cluster = self.make(), self.server.cluster
        return getattr(self.store, name)


@dataclass
class Simulation:
    """One run of a plan."""

    plan: Plan
    parts: Parts
    story: Story
    faults: Faults = CALM_FAULTS
    server: SimServer = field(default_factory=SimServer)
    way: MachineWire | None = None
    """The way from machines without etcd to the servers."""
    other: SimServer = field(default_factory=lambda: SimServer(cluster="dead"))
    """Another cluster, which some machines reach for a while instead."""
    nodes: dict[str, Node] = field(default_factory=dict)
    windows: dict[str, WindowSettings] = field(default_factory=dict)
    dry: set[str] = field(default_factory=set)
    down: dict[str, SimMachine] = field(default_factory=dict)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    served: Served | None = None
    """The FleetLock clients and their servers, where there are any."""

    async def run(self, loop: VirtualLoop) -> None:
        """Let the storm rage, wait for the calm, and see that everything came to its end."""
        self.faults = self.plan.faults
        self._build()
        self.outages = Outages.drawn(self.plan, list(self.nodes))
        machines = {name: node.machine for name, node in self.nodes.items()}
        rules = Rules(
            self.story,
            self.server,
            machines,
            self.windows,
            self.dry,
            self.plan.hooks,
            calm=self.plan.is_calm,
            prompt=self.plan.is_prompt,
            orderly=self.plan.is_orderly,
            sociable=self.plan.is_sociable,
            stepwise=self.plan.stepwise,
            down=self.down,
            most_per_day=self.plan.most_per_day,
            expire_after=self.plan.clients.expire_after,
        )
        self.server.witness, self.asked, self.began = rules.wrote, rules.asked, rules.began
        self.server.refused, self.server.strayed = rules.refused, rules.clusters.strays
        self.other.witness = rules.wrote_elsewhere
        self.told, self.ended = rules.told, rules.ended_by
        if self.plan.clients.any:
            self.served = self._serve(rules)
        loop.after_turn = rules.turn
        operator = self._operator(rules)
        if len(self.nodes) > 100:
            self.story.tell("FLEET", f"is a crowd of {len(self.nodes)}")
        await operator.admin.set_max(self.plan.slots)
        await operator.open_windows()
        for node in self.nodes.values():
            node.start()
        for start, end, name in self.outages.times:
            self.story.tell("STORE", f"is not reached by {name or 'any machine'} from {start:.0f} to {end:.0f}")
        self._let_loose(operator, rules)
        await self._pass(STORMY)
        self.faults = CALM_FAULTS
        await self._pass(self.plan.clients.unattended)
        self.story.tell("CALM", "no more faults from here on")
        for task in self.tasks:
            await self._or_broken(task)
        rules.ended()
        self.story.check()
        await operator.tidy(self.plan.slots)
        await self._come_to_an_end(rules, operator)

    def _serve(self, rules: Rules) -> Served:
        """Build the clients and their servers."""
        rules.desks = ClientRules(self.story, rules)
        store = partial(self._store_of, rules.desks)
        parts = self.parts
        names = [f"s{number + 1}" for number in range(self.plan.clients.servers)]
        orderly = self.plan.clients.hub and self.plan.is_left_in_time
        rules.hubs = HubRules(self.story, self.server, rules, names, self.outages, orderly=orderly)
        served = Served(
            self.plan,
            self.story,
            lambda: self.faults,
            rules.desks,
            parts.desk,
            parts.machine_desk,
            store,
            rules.hubs,
            parts.hub,
            self._hub_store_of,
            self._look_of,
        )
        served.build()
        served.cut_off(self.outages)
        self.windows[CLIENTS] = served.windows
        self.way = MachineWire(served.servers, lambda: self.faults, self.outages, KEY)
        return served

    def _look_of(self, run: Run, observer: Observer) -> Store:
        """Open another way of a server to the store, which leaves the fate of its calls as it was."""
        name = run.server.name
        rng = self.plan.draw(f"{name} look {asyncio.get_running_loop().time()}")
        network = self._network(self.server, name, rng, run.pause, lambda: None, calm=False)
        kind = StepwiseSimStore if self.plan.stepwise else SimStore
        return kind(self.server, network, observer)

    def _store_of(self, desks: ClientRules, run: Run, observer: Observer) -> Store:
        """Open a server's own way to the store, which is compared with what the server has seen of it."""
        name = run.server.name
        rng = self.plan.draw(f"{name} network {asyncio.get_running_loop().time()}")
        network = self._network(self.server, name, rng, run.pause, lambda: None, calm=False)
        network.saw = lambda answer, _version: desks.looked(run, answer)
        kind = StepwiseSimStore if self.plan.stepwise else SimStore
        store = kind(self.server, network, observer)
        return RememberingStore(store, observer, KEY) if isinstance(observer, ServerMark) else store

    def _hub_store_of(self, around: Around, observer: Observer) -> HubStore:
        """Open the way to the store of a server that has a hub."""
        name = around.run.server.name
        network = self._network(self.server, name, around.rng, around.pause, lambda: None, calm=False)
        return HubStore(self.server, network, around, observer)

    def _operator(self, rules: Rules) -> Operator:
        def client() -> Store:
            return self._client(OPERATOR, calm=True)

        return Operator(
            RebootLock(client(), GROUP, rng=self.plan.draw("alice"), clock=lambda: MIDNIGHT),
            [node.machine for node in self.nodes.values()],
            self.plan.draw("operator"),
            self.story,
            self.parts.orders(client(), GROUP, clock=lambda: MIDNIGHT, rng=self.plan.draw("orders")),
            rules.ordered,
            WindowStore(client()) if self.plan.calendars.fleet_set else None,
            script=self.parts.script(
                Guarded(self._client(SCRIPT, calm=True), GROUP, rng=self.plan.draw("script lock"))
            ),
            only=self.plan.only,
            clients=list(self.served.clients) if self.served else [],
            machine_ids=self.served.machine_ids if self.served else {},
            holds_back=rules.holds_back,
            cluster=lambda: self.server.cluster,
            machines_forget=bool(self.plan.faults.disk_rollback or self.plan.faults.disk_lost),
        )

    async def _come_to_an_end(self, rules: Rules, operator: Operator) -> None:
        """Wait until no machine wants or holds anything; days go by for those whose window is closed."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + CALM + (CALM_OF_CLIENTS if self.plan.clients.number else 0.0)
        while open_ends := self._open_ends(rules):
            if loop.time() > ends:
                self.story.breaks(f"an hour after the storm {', '.join(open_ends)}")
            await operator.attempt(operator.replace_clusters)
            await operator.attempt(operator.look_after_a_restore)
            await operator.attempt(operator.resume)
            await self._look_after_clients(rules, operator)
            for name, node in self.nodes.items():
                if node.machine.is_wanted and not node.machine.claims:
                    self._let_try_again(node)
                self._let_days_pass(rules, name, node)
            await self._pass(LOOK)

    def _open_ends(self, rules: Rules) -> list[str]:
        wanting = [f"{name} still waits" for name, node in self.nodes.items() if self._waits(name, node.machine)]
        claiming = [f"{name} still has a claim" for name, node in self.nodes.items() if node.machine.claims]
        drained = [f"{name} is still drained" for name, node in self.nodes.items() if node.machine.drained]
        held = rules.semaphore().holders
        wanting += self.served.open_ends() if self.served else []
        return [*wanting, *claiming, *drained, *([f"{', '.join(held)} still held"] if held else [])]

    async def _look_after_clients(self, rules: Rules, operator: Operator) -> None:
        """Unlock clients that are gone for good, once they are lost; and let days pass for those that wait."""
        if self.served is None or rules.desks is None:
            return
        for name in self.served.to_unlock():
            if name in rules.semaphore().holders:
                await operator.attempt(partial(operator.unlock_client, name))
        windows = rules.windows_of(CLIENTS)[-1]
        if windows is not None and any(client.waits for client in self.served.clients.values()):
            for name, offset in self.served.offsets.items():
                now = self.served.clock(name)
                if (opens := windows.next_open(now, timedelta())) is not None and opens > now:
                    self.served.offsets[name] = offset + (opens - now)

    def _waits(self, name: str, machine: SimMachine) -> bool:
        return machine.down_by is not None or (machine.is_wanted and name not in self.dry)

    def _let_try_again(self, node: Node) -> None:
        """Forget what it has tried already, as `locksmithctl recheck` does."""
        machine = node.machine
        SimJournal(machine.name, machine.disk, lambda _moment: None).forgive(machine.clock())
        machine.forget_reboots()
        node.wake()

    def _let_days_pass(self, rules: Rules, name: str, node: Node) -> None:
        """Step the clock of one that waits for its window, or for its moment in it, to when that comes."""
        windows, machine, settings = rules.windows_of(name)[-1], node.machine, self.windows[name]
        if windows is None or not machine.is_wanted or machine.claims:
            return
        now = machine.clock()
        opens = windows.next_open(now, settings.least)
        assert opens is not None
        if opens <= now:
            opens = Splay(settings.splay or 0.0, name).asks_from(windows, now, settings.least) or now
        if opens > now:
            machine.set_clock(opens - now + timedelta(seconds=1))
            node.wake()

    def _build(self) -> None:
        rng = self.plan.draw("fleet")
        for number, window in enumerate(self.plan.windows):
            name = f"n{number + 1}"
            self.windows[name] = self._calendar([window] if window else [], number)
            if rng.random() < 0.05:
                self.dry.add(name)
            machine = SimMachine(name, self.plan.draw(name), self.story, lambda: self.faults, down=self.down)
            node = self.nodes[name] = Node(machine, self._process, self.plan.draw(f"{name} node"))
            machine.lost_power, machine.booted = node.lose_power, node.start
            machine.set_clock(timedelta(seconds=machine.rng.uniform(-1, 1) * self.plan.faults.clocks_off))
            machine.is_served = self.plan.draw(f"{name} served").random() < self.plan.clients.machines
            if not machine.is_served and self.plan.draw(f"{name} halts").random() < self.plan.faults.loose:
                machine.halt_after = HaltAfter(3)
            if self.plan.clients.expire_after:
                machine.halt_after = HaltAfter(0)
            never = self.plan.draw(f"{name} insatiable")
            if never.random() < self.plan.faults.insatiable:
                machine.insatiable = never.choice(sorted(INSATIABLE))

    def _calendar(self, opens: Sequence[str], number: int) -> WindowSettings:
        drawn, least = self.plan.calendars, timedelta(seconds=self.plan.calendars.least)
        black = [f"00:{drawn.blackout[0]:02} for {drawn.blackout[1]}m"] if drawn.blackout and number % 2 else []
        if WindowSet.parse(opens, black).resolved().next_open(MIDNIGHT, least) is None:
            black = []  # one that never opens has no end to come to
        return WindowSettings(
            own=WindowSet.parse(opens, black),
            sets=("fleet",) if drawn.fleet_set and number % 2 else (),
            least=least,
            splay=drawn.splay,
        )

    def _process(self, machine: SimMachine) -> Process:
        name = machine.name
        rng = self.plan.draw(f"{name} daemon {asyncio.get_running_loop().time()}")
        return Process(
            machine,
            self._parts_of(name),
            rng,
            self.story,
            lambda process: self._client(name, rng, process.pause, process.lost_an_answer, process=process),
            self.asked,
            self.began,
            self.told,
            self.windows[name],
            name in self.dry,
            hooks=self.plan.hooks,
            spacing=self.plan.spacing,
            most_per_day=self.plan.most_per_day,
            expire_after=self.plan.clients.expire_after,
            stalls=self.plan.draw(f"{name} stalls {asyncio.get_running_loop().time()}"),
            look=self._look,
            servers=self._servers_of if machine.is_served else None,
        )

    def _look(self, process: Process, observer: Observer) -> Store:
        """Open a machine's way to the store to look for an operator's word."""
        if process.way is not None:
            return cast("Store", process.way.store(GROUP, observer))
        name = process.machine.name
        rng = self.plan.draw(f"{name} look {asyncio.get_running_loop().time()}")

        def of(server: SimServer) -> Store:
            return kind(server, self._network(server, name, rng, process.pause, lambda: None, calm=False), observer)

        kind = StepwiseSimStore if self.plan.stepwise else SimStore
        if not self.plan.faults.astray:
            return of(self.server)
        return cast("Store", Astray(process.machine, of(self.server), of(self.other)))

    def _servers_of(self, process: Process) -> WayToServers:
        """Give a daemon's way to the servers: through a balancer, or to each, in an order of its own."""
        machine, loop = process.machine, asyncio.get_running_loop()
        if self.way is None:
            raise ValueError("a machine without etcd needs servers")
        own = self.plan.draw(f"{machine.name} servers")
        names = [server.name for server in self.way.servers]
        urls = (ANY,) if own.random() < 0.5 else tuple(own.sample(names, len(names)))
        rng = self.plan.draw(f"{machine.name} way {loop.time()}")
        tell = partial(self.story.tell, machine.name)
        ended = partial(self.ended, machine.name)
        caller = Caller(machine.name, rng, process.pause, process.lost_an_answer, process.saw, tell, ended)
        return WayToServers(urls, caller, self.way)

    def _parts_of(self, name: str) -> Parts:
        """Give what a machine's daemon is made of: those of an older version, until the machine is upgraded."""
        rng, now = self.plan.draw(f"{name} version"), asyncio.get_running_loop().time()
        older = rng.random() < self.plan.faults.older and now <= rng.uniform(0, STORMY)
        if not older or self.nodes[name].machine.is_served:
            return self.parts
        self.story.tell(name, "has an older version")
        return replace(self.parts, queue=OlderQueue, journal=TranslatedJournal, names=Translation())

    def _client(
        self,
        name: str,
        rng: Random | None = None,
        pause: Callable[[str], Coroutine[Any, Any, None]] | None = None,
        lost: Callable[[], None] = lambda: None,
        *,
        calm: bool = False,
        process: Process | None = None,
    ) -> Store:
        def of(server: SimServer) -> Store:
            network = self._network(server, name, rng, pause, lost, calm=calm)
            if process is None:
                return kind(server, network)
            network.saw = process.saw if server is self.server else network.saw
            return RememberingStore(kind(server, network, process.seen), process.seen, KEY)

        kind = StepwiseSimStore if self.plan.stepwise else SimStore
        if process is None and self.plan.faults.switches:
            return cast("Store", Reopened(self.server, partial(of, self.server)))
        if process is None or not self.plan.faults.astray:
            return of(self.server)
        return cast("Store", Astray(process.machine, of(self.server), of(self.other)))

    def _network(
        self,
        server: SimServer,
        name: str,
        rng: Random | None,
        pause: Callable[[str], Coroutine[Any, Any, None]] | None,
        lost: Callable[[], None],
        *,
        calm: bool,
    ) -> Network:
        return Network(
            server,
            name,
            rng or self.plan.draw(f"{name} network"),
            lambda: CALM_FAULTS if calm else self.faults,
            self.outages,
            pause or _never_die,
            lost,
            partial(self.story.tell, name),
            watched=KEY,
        )

    def _let_loose(self, operator: Operator, rules: Rules) -> None:
        for number in range(self.plan.go_nodes):
            name = f"go-{number + 1}"
            go = GoNode(name, self._client(name), self.plan.draw(name))
            self._begin(go.live(lambda: self.faults is not CALM_FAULTS))
        if self.served is not None:
            self.served.let_loose(self._begin)
            for minute in range(2, int((STORMY + self.plan.clients.unattended) / 60), 2):
                if not self.plan.clients.unattended:
                    self._begin(_later(minute * 60.0, partial(self._look_after_clients, rules, operator)))
        nodes = list(self.nodes.values())
        Storm(self.plan, nodes, self.server, self.story, operator, rules, self._begin, self._cut_off).let_loose()

    def _cut_off(self, since: float, until: Sequence[float]) -> None:
        """Cut all off from the store until the first of these times, and then each server and machine."""
        everyone, *each = until
        self.outages.times.append((since, everyone, ""))
        servers = [server.name for server in self.served.servers] if self.served is not None else []
        for name, end in zip((*servers, *self.nodes), each, strict=False):
            if end > since:
                self.outages.times.append((since, end, name))
                self.story.tell(name, f"does not reach the store until {end:.0f}")

    def _begin(self, what: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(what))

    async def _pass(self, seconds: float) -> None:
        await self._or_broken(asyncio.ensure_future(asyncio.sleep(seconds)))

    async def _or_broken(self, task: "asyncio.Task[None]") -> None:
        """Wait for a task, but not on after a rule is broken."""
        while not task.done():
            await asyncio.wait([task], timeout=LOOK)
            self.story.check()
        task.result()
        self.story.check()


async def _later(seconds: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await asyncio.sleep(seconds)
    await act()


async def _never_die(_where: str) -> None:
    """Be a process of no machine."""


def _unless_unheard(loop: asyncio.AbstractEventLoop, found: dict[str, Any]) -> None:
    """Log what asyncio would, apart from errors of tasks whose server, or daemon, has died."""
    if "never retrieved" not in found["message"]:
        loop.default_exception_handler(found)


def simulate(plan: Plan, parts: Parts = Parts(), left_out: Sequence[str] = ()) -> Story:  # noqa: B008 - immutable
    """Run a plan to its end; `BrokenRuleError` tells the story, and what was `left_out` of the seed's storm."""
    without = f"LOCKSMITH_SIM_WITHOUT={','.join(left_out)} " if left_out else ""
    story = Story(replay=f"LOCKSMITH_SIM_SEED={plan.seed} {without}.venv/bin/pytest tests/sim/test_fleet.py -k seed")

    async def main(loop: VirtualLoop) -> None:
        loop.set_exception_handler(_unless_unheard)
        await Simulation(plan, parts, story).run(loop)

    run(main)
    return story
