"""The FleetLock clients of a fleet and their servers: built from a plan, in the storm, and in the calm."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from random import Random
from typing import Any

from locksmith.config.model import WindowSettings
from locksmith.lock import successor
from locksmith.lock.records.node import TTL
from locksmith.server.cluster import following_by
from locksmith.server.hub import Hub
from locksmith.server.ports import FleetLock, MachineDesk
from locksmith.server.store_marks import ServerMark, check_all
from locksmith.store.protocol import Observer, Store
from locksmith.store.remembering import RememberingStore
from locksmith.store.settings import StoreSettings
from locksmith.util.zincati import zincati_id
from locksmith.window.window_set import WindowSet
from tests.sim.client_rules import IN_CALM, ClientRules
from tests.sim.clients import Client
from tests.sim.daemon import GROUP
from tests.sim.desks import Answers, DeskServer, Run, SimPrograms, Wire
from tests.sim.hub_rules import HubRules
from tests.sim.hubs import Around, HubRoutes, HubStore
from tests.sim.machine import MIDNIGHT
from tests.sim.machine_wire import Routes
from tests.sim.memory_rules import KEY
from tests.sim.network import Outages
from tests.sim.plan import STORMY, Faults, Plan
from tests.sim.sim_desk import Surroundings
from tests.sim.story import Story

LIMIT = timedelta(seconds=180)
"""How long a reboot of a client may take."""
AWAY = LIMIT.total_seconds() + TTL + 60.0
"""Seconds after which a client is lost, and an operator who was told so frees its slot."""


@dataclass
class Served:
    """Clients and servers of one plan. `store` opens a server's own way to the store."""

    plan: Plan
    story: Story
    faults: Callable[[], Faults]
    rules: ClientRules
    make: Callable[[Surroundings], FleetLock]
    make_machines: Callable[[Surroundings], MachineDesk]
    store: Callable[[Run, Observer], Store]
    hub_rules: HubRules
    make_hub: type[Hub]
    hub_store: Callable[[Around, Observer], HubStore]
    look: Callable[[Run, Observer], Store]
    """Opens a server's way to the store beside those: to look for an operator's word, and how the store stands."""
    clients: dict[str, Client] = field(default_factory=dict)
    machine_ids: dict[str, str] = field(default_factory=dict)
    """For each client that has one the machine-id."""
    servers: list[DeskServer] = field(default_factory=list)
    offsets: dict[str, timedelta] = field(default_factory=dict)
    """What the servers' clocks are off."""
    windows: WindowSettings = field(default_factory=WindowSettings)

    def build(self) -> None:
        """Make them."""
        drawn, plan = self.plan.clients, self.plan
        self.windows = WindowSettings(
            own=WindowSet.parse([drawn.window] if drawn.window else [], []),
            sets=("fleet",) if drawn.fleet_set and plan.calendars.fleet_set else (),
        )
        for number in range(drawn.servers):
            name = f"s{number + 1}"
            rng = plan.draw(name)
            self.offsets[name] = timedelta(seconds=rng.uniform(-1, 1) * plan.faults.clocks_off)
            # With a clock that is a day ahead it takes the `resume` after a restore for an older one, for a day.
            if not plan.faults.restores and plan.draw(f"{name} day").random() < plan.faults.days_off:
                self.offsets[name] += timedelta(days=rng.choice((-1, 1)))
            self.servers.append(DeskServer(name, rng, self.story, self.faults, self._serve, self.rules))
        wire = Wire(self.servers, plan.draw("wire"), self.faults, self.story)
        for number in range(drawn.number):
            name = f"c{number + 1}"
            rng = plan.draw(name)
            if drawn.zincati:
                machine_id = f"{number + 1:032x}"
                name = zincati_id(machine_id)
                self.machine_ids[name] = machine_id
            client = Client(name, rng, self.story, self.faults, wire.call, drawn.poll, careful=rng.random() < 0.5)
            client.hasty = plan.draw(f"{name} hasty").random() < plan.faults.hasty
            self.clients[name] = client
        rules = self.rules
        rules.clients, rules.servers, rules.clock = self.clients, [one.name for one in self.servers], self.clock
        rules.machine_ids, rules.stands_still = self.machine_ids, self._stands_still
        rules.hooks, rules.limit = plan.hooks, LIMIT.total_seconds()
        rules.halts = not drawn.expire_after
        bad = plan.faults
        if bad == Faults():
            rules.look_holds = IN_CALM
        rules.leases_hold = not (bad.expiries or bad.elections or bad.copies or bad.older or bad.restores)

    def cut_off(self, outages: Outages) -> None:
        """Draw when one server does not reach the store."""
        rng = self.plan.draw("server partitions")
        for _ in range(self.plan.faults.server_partitions):
            start = rng.uniform(0, STORMY - 150)
            outages.times.append((start, start + rng.uniform(2, 150), rng.choice(self.servers).name))

    def clock(self, server: str) -> datetime:
        """Tell what a server takes for the time."""
        return MIDNIGHT + timedelta(seconds=asyncio.get_running_loop().time()) + self.offsets[server]

    def _stands_still(self, name: str) -> bool:
        now = asyncio.get_running_loop().time()
        return any(server.frozen_until > now for server in self.servers if server.name == name)

    def _serve(self, run: Run) -> tuple[FleetLock, Answers]:
        """Make what answers clients, and what answers machines. Both share a hub, where there is one."""
        observer = following_by(partial(self.look, run), [GROUP])
        mark = ServerMark(StoreSettings(endpoints=("memory",)), GROUP, partial(self.clock, run.server.name))
        mark.clusters.successor = partial(successor.observe, partial(self.look, run), GROUP, mark)
        of_clients = replace(self._around(run, "desk", mark), mark=mark)
        of_machines = replace(self._around(run, "machines", observer), observer=observer)
        if self.plan.faults.restores or self.plan.faults.switches:
            run.begin(check_all({GROUP: RememberingStore(self.look(run, mark), mark, KEY)}, {GROUP: mark}))
        if not self.plan.clients.hub:
            return self.make(of_clients), Routes(self.make_machines(of_machines), GROUP)
        rng = self.plan.draw(f"{run.server.name} hub {asyncio.get_running_loop().time()}")
        store = self.hub_store(Around(run, rng, self.faults), observer)
        hub = self.make_hub(store, [GROUP])
        machines = self.make_machines(replace(of_machines, store=store, hub=hub))
        return self.make(replace(of_clients, hub=hub)), HubRoutes(machines, hub, run, self.hub_rules)

    def _around(self, run: Run, what: str, observer: Observer) -> Surroundings:
        name, now = run.server.name, asyncio.get_running_loop().time()
        return Surroundings(
            group=GROUP,
            store=self.store(run, observer),
            clock=partial(self.clock, name),
            rng=self.plan.draw(f"{name} {what} {now}"),
            windows=self.windows,
            limit=LIMIT,
            spacing=self.plan.spacing,
            programs=SimPrograms(run, self.plan.hooks),
            most_per_day=self.plan.most_per_day,
            expire_after=self.plan.clients.expire_after,
        )

    def let_loose(self, begin: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Start everything, and begin the storm."""
        for server in self.servers:
            server.start()
        for client in self.clients.values():
            client.start()
            begin(self._updates(client))
        faults = self.plan.faults
        self._at_times(begin, "server kills", faults.server_kills, self._kill_a_server)
        for name, times, act in (
            ("freezes", faults.server_freezes, lambda server, rng: server.freeze(rng.uniform(1, 200))),
            ("doubles", faults.server_doubles, lambda server, _rng: server.double()),
            ("restarts", faults.server_restarts, lambda server, _rng: server.restart()),
        ):
            self._at_times(begin, f"server {name}", times, partial(self._to_a_server, act))
        if self.clients:
            self._at_times(begin, "client kills", faults.client_kills, lambda rng: self._pick(rng).kill())
            self._at_times(begin, "client power", faults.client_power_cuts, lambda rng: self._pick(rng).cut_power())

    def _at_times(
        self,
        begin: Callable[[Coroutine[Any, Any, None]], None],
        name: str,
        times: int,
        act: Callable[[Random], None],
    ) -> None:
        async def later(seconds: float, rng: Random) -> None:
            await asyncio.sleep(seconds)
            act(rng)

        for number in range(times):
            rng = self.plan.draw(f"{name} {number}")
            begin(later(rng.uniform(0, STORMY), rng))

    def _to_a_server(self, act: Callable[[DeskServer, Random], None], rng: Random) -> None:
        act(rng.choice(self.servers), rng)

    def _kill_a_server(self, rng: Random) -> None:
        rng.choice(self.servers).kill("by an operator")

    def _pick(self, rng: Random) -> Client:
        return rng.choice([*self.clients.values()])

    async def _updates(self, client: Client) -> None:
        """Let updates come, and sometimes go again."""
        rng, loop = self.plan.draw(f"{client.name} updates"), asyncio.get_running_loop()
        plan, until = self.plan, STORMY + self.plan.clients.unattended
        for version in count() if plan.busy or plan.clients.unattended else range(rng.randint(1, 2)):
            await asyncio.sleep(rng.uniform(0, plan.busy or STORMY / 3))
            if loop.time() > until:
                return
            if client.wanted is None and not client.gone:
                client.wants(f"{version + 1}.0.0")
            if rng.random() < self.faults().withdrawn:
                await asyncio.sleep(rng.uniform(0, 300))
                client.drop()

    def open_ends(self) -> list[str]:
        """Say what has not come to its end."""
        waiting = [f"{name} still waits" for name, client in self.clients.items() if client.waits]
        unsteady = [
            f"{name} is still not steady" for name, one in self.clients.items() if not one.gone and not one.is_steady
        ]
        drained = [f"{name} is still drained" for name, client in self.clients.items() if client.drained]
        return [*waiting, *unsteady, *drained]

    def to_unlock(self) -> list[str]:
        """Name the clients whose slot only an operator can free by now."""
        now = asyncio.get_running_loop().time()
        away = [name for name, client in self.clients.items() if client.gone and now - client.went_at > AWAY]
        return [*away, *(name for name, client in self.clients.items() if client.ghost and client.is_idle)]
