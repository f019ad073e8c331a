"""Servers for machines without etcd, without their HTTP: desks on one store in memory, and daemons' strategies."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

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
from locksmith.lock import machine_wire as wire
from locksmith.lock import successor
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records.claim import Claim
from locksmith.server.identity import Identity, Role
from locksmith.server.machine_calls import answered, failed
from locksmith.server.machine_desk import MachineDesk
from locksmith.store.memory import Faults, MemoryStore
from locksmith.store.protocol import Expecting
from locksmith_strategies.server import Server
from tests.builders.one_store import G, OneStore
from tests.sim.virtual_time import run


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


@dataclass(frozen=True)
class LateRequest:
    """A request that lies in the socket of the first server, which stands still; its daemon waits no more for it."""

    strategy: Server
    doors: Sequence[DeskDoor]

    async def arrive(self):
        """Let the server go on; give the status and the body of its answer."""
        [answer] = await self.doors[0].thaw()
        return answer


class Servers(OneStore):
    """One store, any number of servers on it, and machines that ask them, in virtual time."""

    remembered = (*OneStore.remembered, "ended/")

    def __init__(self, loop, folder: Path, kind: type[MemoryStore] = MemoryStore) -> None:
        super().__init__(loop, kind)
        self.folder = folder

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

    async def late_request(self, claim: Claim) -> LateRequest:
        """Have the daemon of a claim request a slot of two servers, of which the first stands still."""
        doors = self.doors(claim.holder, self.desk(), self.desk())
        strategy = self.strategy(claim.holder, *doors)
        doors[0].frozen = frozenset({wire.REQUEST})
        with pytest.raises(OutcomeUnknownError):
            await strategy.request(claim)
        return LateRequest(strategy, doors)


def play(story, folder: Path, kind: type[MemoryStore] = MemoryStore):
    return run(lambda loop: story(Servers(loop, folder, kind)))
