"""The way from machines without etcd to the servers: their calls are lost, late, brought to two servers, or reordered.

Strategy, client, routes and rules are the real ones; what is made up is HTTP's connection between them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request as HttpRequest

from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.host.http_server import HttpAnswer
from locksmith.host.server_client import ServerClient, _Server
from locksmith.host.server_store import ServerStore
from locksmith.lock import machine_wire as wire
from locksmith.server.connection import Guest
from locksmith.server.identity import Identity, Role
from locksmith.server.machine_calls import _Calls
from locksmith.server.ports import Identifies, MachineDesk
from locksmith.store.link import Request
from locksmith.store.protocol import Observer
from locksmith.util.jsonread import load_object
from locksmith_strategies.server import Server
from tests.sim.behalf import ACTS_FOR, Behalf
from tests.sim.network import LATEST, Answer, Outages
from tests.sim.plan import Faults

if TYPE_CHECKING:
    from tests.sim.desks import DeskServer

ANY = "balancer"
"""The address behind which any of the servers may be."""
SOON = 5.0
"""Seconds after which the connection of a call that is lost is broken, at most."""


@dataclass(frozen=True)
class _Believes:
    """Takes each caller for the machine that it says it is: credentials are not the subject here."""

    machine: str

    async def identify(self, _request: HttpRequest) -> Identity:
        return Identity(Role.MACHINE, self.machine)


def _stands_by(*, parked: bool) -> None:
    """Do nothing: here is no door that counts those who wait."""


class Routes:
    """The HTTP side of one run of a server, for machines."""

    def __init__(self, desk: MachineDesk, group: str) -> None:
        self.desk, self._group = desk, group

    def kill(self) -> None:
        """Need nothing: nothing goes on here by itself."""

    def stop(self) -> None:
        """Answer all who wait, at once."""
        self.desk.drain()

    async def answer(self, behalf: Behalf, body: bytes, gone: asyncio.Event) -> HttpAnswer:
        """Answer a call as the real routes do; `gone`: the machine waits no more."""
        ACTS_FOR.set(behalf)
        sent = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Mapping[str, Any]:
            if (part := next(sent, None)) is not None:
                return part
            await gone.wait()
            return {"type": "http.disconnect"}

        path = {"group": self._group, "call": behalf.call}
        guest = Guest(behalf.machine)
        left = asyncio.ensure_future(_leave(guest, gone))
        state = {"guest": guest}
        scope = {"type": "http", "method": "POST", "headers": [], "path_params": path, "state": state}
        calls = _Calls(self.desk, cast("Identifies", _Believes(behalf.machine)), {self._group})
        try:
            answer = await calls.answer(HttpRequest(scope, cast("Any", receive)))
        finally:
            left.cancel()
        return HttpAnswer(answer.status_code, dict(answer.headers), bytes(answer.body), whole=True)


async def _leave(guest: Guest, gone: asyncio.Event) -> None:
    await gone.wait()
    guest.leave()


@dataclass
class Caller:
    """One run of a daemon: where it may die, and what hears what it has learned."""

    machine: str
    rng: Random
    pause: Callable[[str], Any]
    lost: Callable[[], None]
    saw: Callable[[Answer[Any], int], None]
    tell: Callable[[str], None]
    done: Callable[[str], None] = lambda _nonce: None
    """Told the nonce of a claim of which the machine knows now that it has ended."""


@dataclass
class MachineWire:
    """The way to the servers, of all machines; `key` is that of the semaphore."""

    servers: Sequence["DeskServer"]
    faults: Callable[[], Faults]
    outages: Outages
    key: str

    async def carry(self, caller: Caller, url: str, request: Request, limit: float, before: Callable[[], None]) -> Any:
        """Bring a call to a server, and its answer back, within `limit` seconds."""
        rng, faults, loop = caller.rng, self.faults(), asyncio.get_running_loop()
        call = request.path.rpartition("/")[2]
        await caller.pause(f"before its {call}")
        await asyncio.sleep(rng.uniform(0.001, 0.02))
        first = self._pick(url, rng)
        if self.outages.now(caller.machine) or first is None:
            raise StoreUnavailableError(f"the server {url} cannot be reached")
        before()
        sent, gone = loop.time(), asyncio.Event()
        behalf = Behalf(caller.machine, call, sent)
        if rng.random() < faults.lost_call:
            late = rng.choice((None, 0.01, rng.uniform(1, LATEST)))
            if late is not None:
                loop.call_later(late, first.serve, behalf, request.body, gone)
            caller.tell(f"an answer is lost, of its {call}")
            caller.lost()
            await asyncio.sleep(rng.uniform(0.01, min(limit, SOON)))
            gone.set()
            await caller.pause(f"after its {call}")
            raise OutcomeUnknownError(f"the server {url} gave no answer")
        answers = [first.serve(behalf, request.body, gone)]
        if rng.random() < faults.twice and (other := self._pick(ANY, rng)) is not None:
            caller.tell(f"has its {call} brought to two servers")
            answers.append(other.serve(behalf, request.body, gone))
        try:
            done, _ = await asyncio.wait(answers, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.set()
        await caller.pause(f"while it waits for an answer to its {call}")
        answer = next((one.result() for one in answers if one in done and not one.cancelled()), None)
        if answer is None:
            raise OutcomeUnknownError(f"the server {url} gave no answer within {limit:g} s")
        await asyncio.sleep(rng.uniform(0.001, 0.02))
        await caller.pause(f"after its {call}")
        self._hear(caller, call, answer, sent)
        return answer

    def _pick(self, url: str, rng: Random) -> "DeskServer | None":
        """Find a server; None: nothing listens there."""
        up = [server for server in self.servers if server.routes is not None and url in (ANY, server.name)]
        return rng.choice(up) if up else None

    def _hear(self, caller: Caller, call: str, answer: HttpAnswer, sent: float) -> None:
        said = load_object(answer.body)
        entries = [one.get("entry", {}) for one in said.get("readings", ())]
        versions = [one["version"] for one in entries if one.get("key") == self.key]
        where = said.get("store")
        if where is not None and where["revision"] > 0:  # 0: it does not say where it was given
            caller.saw(Answer(None, where["revision"], sent), max(versions, default=0))
        if call in (wire.ABORT, wire.COMPLETE, wire.LEAVE) and said.get("answer") == wire.DONE and said["ended"]:
            caller.done(said["nonce"])


@dataclass
class _Http:
    """A server as a machine reaches it."""

    url: str
    caller: Caller
    wire: MachineWire
    path: str = ""

    async def exchange(
        self, request: Request, limit: float, before: Callable[[], None] = lambda: None, **_more: Any
    ) -> HttpAnswer:
        return cast("HttpAnswer", await self.wire.carry(self.caller, self.url, request, limit, before))

    def says(self, problem: str) -> str:
        return f"the server {self.url} {problem}"

    def close(self) -> None:
        """It keeps no connection."""


class SimClient(ServerClient):
    """The real client, over a wire that is made up."""

    def __init__(
        self, urls: Sequence[str], group: str, observer: Observer, caller: Caller, between: MachineWire
    ) -> None:
        super().__init__(FleetServerSettings(), group, observer)
        self._servers = [_Server(cast("Any", _Http(url, caller, between))) for url in urls]


@dataclass(frozen=True)
class WayToServers:
    """All that one run of a daemon has of its group, and the strategy on it."""

    urls: tuple[str, ...]
    caller: Caller
    wire: MachineWire = field(repr=False)

    def client(self, group: str, observer: Observer) -> SimClient:
        """Make a client."""
        return SimClient(self.urls, group, observer, self.caller, self.wire)

    def store(self, group: str, observer: Observer) -> ServerStore:
        """Make the store of the presence and the windows."""
        return ServerStore(self.client(group, observer))

    def attach(self, strategy: Server, group: str, observer: Observer) -> Server:
        """Have a strategy ask the made-up servers."""
        vars(strategy)["_client"] = self.client(group, observer)
        strategy._rng = self.caller.rng
        return strategy
