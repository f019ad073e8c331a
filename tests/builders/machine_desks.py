"""Servers for machines without etcd, without their HTTP: desks on one store in memory, and daemons' strategies."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from locksmith.agent.fleet_server import API, FleetServerSettings
from locksmith.agent.strategy import StrategyContext
from locksmith.config.model import Config
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.errors import LocksmithError, OutcomeUnknownError, StoreUnavailableError
from locksmith.host.http_server import HttpAnswer
from locksmith.host.paths import Paths
from locksmith.host.server_client import ServerClient
from locksmith.host.server_store import ServerStore
from locksmith.host.watermark import SeenRevision
from locksmith.lock import successor
from locksmith.lock.guarded import Guarded
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records import keys
from locksmith.server.identity import Identity, Role
from locksmith.server.machine_calls import answered, failed
from locksmith.server.machine_desk import MachineDesk
from locksmith.store.memory import Faults, MemoryServer, MemoryStore
from locksmith.store.protocol import Expecting
from locksmith_strategies.server import Server
from tests.sim.virtual_time import run

G = "workers"
START = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)


def no_lock() -> QueuedLock:
    """Give no lock: the strategy has none of its own."""
    raise NotImplementedError


class DeskDoor:
    """One server, as a client sees it. `down`: no connection; it does the calls in
    `lost_calls`, and sends no answer.

    Calls of the kinds in `frozen` lie in its socket; `thaw` has them answered, though no client waits any more.
    """

    path = ""

    def __init__(self, url: str, desk: MachineDesk, machine: str) -> None:
        self.url, self.desk, self.machine = url, desk, machine
        self.down = False
        self.frozen: frozenset[str] = frozenset()
        self.lost_calls: frozenset[str] = frozenset()
        self.calls: list[str] = []
        self.late: list[tuple[str, str, bytes]] = []
        self.instead: dict[str, HttpAnswer] = {}

    def says(self, problem: str) -> str:
        return f"the server {self.url} {problem}"

    def close(self) -> None:
        """It keeps no connection."""

    async def exchange(self, request, limit, before=lambda: None, **_more) -> HttpAnswer:
        """Answer a request."""
        if self.down:
            raise StoreUnavailableError(self.says("cannot be reached"))
        before()
        _, _, _, group, call = request.path.split("/")
        self.calls.append(call)
        if call in self.frozen:
            self.late.append((group, call, request.body))
            await asyncio.sleep(limit)
            raise OutcomeUnknownError(self.says(f"gave no answer within {limit:g} s"))
        status, said = await self.answer(group, call, request.body)
        if call in self.lost_calls:
            raise OutcomeUnknownError(self.says("gave no answer"))
        return self.instead.get(call) or HttpAnswer(status, {}, json.dumps(said).encode(), whole=True)

    async def answer(self, group: str, call: str, body: bytes):
        """Have the desk answer."""
        try:
            return answered(await self.desk.call(group, Identity(Role.MACHINE, self.machine), call, json.loads(body)))
        except LocksmithError as error:
            return failed(error)

    async def thaw(self):
        """Answer what has come meanwhile."""
        self.frozen = frozenset()
        return [await self.answer(*one) for one in self.late]


class Servers:
    """One store, any number of servers on it, and machines that ask them, in virtual time."""

    def __init__(self, loop, folder: Path, kind: type[MemoryStore] = MemoryStore) -> None:
        self.loop, self.folder, self.kind = loop, folder, kind
        self.server = MemoryServer()
        self.orders = OperatorOrders(self.store(), G, clock=self.now)
        self.admin = self.orders.admin
        self.guarded = Guarded(self.store(), G)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time())

    def store(self, faults: Faults | None = None) -> MemoryStore:
        return self.kind(self.server, faults)

    def desk(self, faults: Faults | None = None) -> MachineDesk:
        """Start a server."""
        observer = Expecting(str)
        store = self.kind(self.server, faults, observer)
        config = Config(server=ServerSettings(groups={G: ServedGroup()}))
        return MachineDesk(config, store=store, observer=observer, clock=self.now)

    def doors(self, machine: str, *desks: MachineDesk) -> list[DeskDoor]:
        """Give a machine's way to servers."""
        return [DeskDoor(f"https://s{number}", desk, machine) for number, desk in enumerate(desks, 1)]

    def mark(self, machine: str) -> SeenRevision:
        """Give what a machine has seen of the store, from its disk."""
        return SeenRevision(Paths(self.folder / machine), API, (), self.now)

    def strategy(self, machine: str, *doors: DeskDoor) -> Server:
        """Start a daemon's strategy."""
        settings = FleetServerSettings(urls=tuple(door.url for door in doors))
        mark, by_url = self.mark(machine), {door.url: door for door in doors}
        client = ServerClient(settings, G, mark, by_url.__getitem__)

        def connect(observer):
            return ServerStore(ServerClient(settings, G, observer, by_url.__getitem__))

        mark.clusters.successor = partial(successor.observe, connect, G, mark)
        return Server(StrategyContext(G, no_lock, fleet_server=settings, mark=lambda: mark), client)

    async def holders(self) -> tuple[str, ...]:
        return (await self.guarded.semaphore())[0].holders

    @property
    def keys(self) -> list[str]:
        """Everything of the group but its history and what it remembers."""
        prefix = keys.group_prefix(G)
        past = (keys.history_prefix(G), f"{prefix}reboots/", f"{prefix}ended/", keys.semaphore_key(G))
        return sorted(key.removeprefix(prefix) for key in self.server._entries if not key.startswith(past))


def play(story, folder: Path, kind: type[MemoryStore] = MemoryStore):
    return run(lambda loop: story(Servers(loop, folder, kind)))
