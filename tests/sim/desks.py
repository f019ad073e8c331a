"""Servers for FleetLock clients, and the wire to them: a call goes to any server, to two, late, or nowhere."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

from locksmith.host.http_server import HttpAnswer
from locksmith.server.hooks import PRE_REBOOT as PRE_REBOOT_HOOKS
from locksmith.server.ports import FleetLock
from tests.sim.behalf import Behalf
from tests.sim.client_rules import ClientRules
from tests.sim.clients import ANSWERING, PRE_REBOOT, Request
from tests.sim.daemon import GROUP, KilledError
from tests.sim.network import LATEST
from tests.sim.plan import Faults
from tests.sim.story import Story

PATIENCE = 1800.0
"""Seconds that a client waits for an answer."""
FAILED = 500
"""The status of an answer that no rule gave: the server has a defect."""
SENDING = 0.021
"""Seconds from the end of a standstill to the moment at which a request that was ready is on its way."""


class Answers(Protocol):
    """The HTTP side of one run of a server, for machines."""

    async def answer(self, behalf: Behalf, body: bytes, gone: asyncio.Event) -> HttpAnswer:
        """Answer a call; `gone`: its machine waits no more."""
        ...

    def stop(self) -> None:
        """Answer all who wait, at once."""
        ...

    def kill(self) -> None:
        """End whatever goes on by itself."""
        ...


@dataclass(eq=False)
class Run:
    """One run of a server. Every await of the store is a moment to die, or to stand still."""

    server: "DeskServer"
    alive: bool = True
    tasks: "list[asyncio.Task[None]]" = field(default_factory=list)

    def begin(self, what: Coroutine[Any, Any, None]) -> None:
        """Let something go on beside the calls. It dies with this run, at its next call."""
        self.tasks.append(asyncio.ensure_future(what))

    async def pause(self, where: str) -> None:
        """Let it die here, or stand still for a while, if it is its time."""
        server, faults = self.server, self.server.faults()
        if server.rng.random() < faults.frozen:
            seconds = server.rng.uniform(1, 200)
            server.story.tell(server.name, f"stands still for {seconds:.1f} s {where}")
            await asyncio.sleep(seconds)
        await self._stand_still(server.frozen_until)
        if self.alive and server.rng.random() < faults.crash:
            server.kill(where)
        if not self.alive:
            raise KilledError

    async def _stand_still(self, until: float) -> None:
        """Stand still with the whole server. Whose limit is over by then still sends what it had ready."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        cut_off = False
        while (left := until - loop.time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                if not self.alive or task is None:
                    raise
                task.uncancel()
                cut_off = True
        if cut_off and task is not None:
            loop.call_later(SENDING, task.cancel)


@dataclass(eq=False)
class DeskServer:
    """A server, which is started again whenever it has died. It knows nothing of earlier runs."""

    name: str
    rng: Random
    story: Story
    faults: Callable[[], Faults]
    make: Callable[[Run], tuple[FleetLock, Answers]]
    rules: ClientRules
    run: Run | None = None
    desk: FleetLock | None = None
    routes: Answers | None = None
    frozen_until: float = 0.0
    older: "tuple[Run, FleetLock, Answers] | None" = None
    """An earlier run that goes on beside this one, and gets half of the calls."""
    tasks: "dict[asyncio.Task[Any], None]" = field(default_factory=dict)
    """In the order of their beginning, so that a seed always gives the same run."""

    def start(self) -> None:
        """Start it."""
        self.run = Run(self)
        self.desk, self.routes = self.make(self.run)

    def freeze(self, seconds: float) -> None:
        """Stand still, as a virtual machine that is moved: what comes meanwhile lies in its sockets."""
        self.story.tell(self.name, f"freezes for {seconds:.1f} s")
        self.frozen_until = asyncio.get_running_loop().time() + seconds

    async def stand_still(self) -> None:
        """Come back when it does not stand still any more."""
        while (left := self.frozen_until - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 - it may be frozen again
            await asyncio.sleep(left)

    def double(self) -> None:
        """Start once more, beside the run that there is."""
        if self.run is not None and self.desk is not None and self.routes is not None:
            self.story.tell(self.name, "runs twice")
            if self.older is not None:
                self.older[2].kill()
            self.older = (self.run, self.desk, self.routes)
            self.start()

    def restart(self) -> None:
        """Stop as SIGTERM does: who waits is answered; what is under way has a few seconds. Start again."""
        if self.routes is None or self.run is None:
            return
        self.story.tell(self.name, "is restarted")
        self.routes.stop()
        asyncio.get_running_loop().call_later(self.rng.uniform(0.1, 8), self._end, self.run)

    def _end(self, run: Run) -> None:
        if self.run is run:
            self.kill("at the end of its stop")

    def kill(self, why: str) -> None:
        """End it as `kill -9` does."""
        if self.run is None:
            return
        self.story.tell(self.name, f"dies {why}")
        for routes in (self.routes, self.older[2] if self.older is not None else None):
            if routes is not None:
                routes.kill()
        if self.older is not None:
            self.older[0].alive, self.older = False, None
        self.run.alive, self.run, self.desk, self.routes = False, None, None, None
        for task in [*self.tasks]:
            task.cancel()
        asyncio.get_running_loop().call_later(self.rng.uniform(1, 20), self.start)

    def answer(self, request: Request) -> "asyncio.Task[bool] | None":
        """Begin to answer a call; None: nothing listens."""
        if self.desk is None:
            return None
        # Where a call reaches two servers, each has its own.
        task = asyncio.ensure_future(self._answer(self.desk, replace(request)))
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)
        return task

    def serve(self, behalf: Behalf, body: bytes, gone: asyncio.Event) -> "asyncio.Task[HttpAnswer | None]":
        """Begin to answer a call of a machine; None comes of it where nothing listens, or this server dies."""
        routes = self.older[2] if self.older is not None and self.rng.random() < 0.5 else self.routes
        task = asyncio.ensure_future(self._serve(routes, behalf, body, gone))
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)
        return task

    async def _serve(
        self, routes: Answers | None, behalf: Behalf, body: bytes, gone: asyncio.Event
    ) -> HttpAnswer | None:
        await asyncio.sleep(max(0.0, self.frozen_until - asyncio.get_running_loop().time()))
        if routes is None:
            return None
        try:
            answer = await routes.answer(behalf, body, gone)
        except KilledError:
            return None
        if answer.status == FAILED:
            self.story.breaks(f"{self.name} fails at the {behalf.call} of {behalf.machine}")
        return answer

    async def _answer(self, desk: FleetLock, request: Request) -> bool:
        ANSWERING.set(request)
        self.rules.begins(request)
        call = desk.pre_reboot if request.kind == PRE_REBOOT else desk.steady_state
        try:
            refusal = await call(GROUP, request.client)
        except KilledError:
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, it should have been a refusal
            self.story.breaks(f"{self.name} has no answer to a call: {error!r}")
            return False
        else:
            words = f"{refusal.kind}: {refusal.sentence}" if refusal else "yes"
            self.story.tell(self.name, f"answers {request.kind} of {request.client}: {words}")
            self.rules.answered(self.name, request, refusal, desk)
            return refusal is None
        finally:
            self.rules.ends(request)


@dataclass(frozen=True)
class SimPrograms:
    """The hooks of a server: they drain a client and bring it back, take their time, and may fail.

    They end with their server.
    """

    run_of: Run
    hooks: bool

    def of(self, stage: str) -> list[Path]:
        """Name the programs of a folder."""
        return [Path(stage)] if self.hooks else []

    async def run(self, stage: str, name: str, environ: Mapping[str, str], *, every: bool = False) -> list[str]:
        """Run them, and give their failures."""
        del name, every
        run, server, client = self.run_of, self.run_of.server, environ["LOCKSMITH_CLIENT_ID"]
        server.rules.hooks_begin(server.name, client, drain=stage == PRE_REBOOT_HOOKS)
        try:
            await asyncio.sleep(server.rng.choice((server.rng.uniform(0.1, 10), server.rng.uniform(10, 90))))
            await run.pause(f"while the hooks of {client} run")
        finally:
            server.rules.hooks_end(client)
        if server.rng.random() < server.faults().bad_hook:
            server.story.tell(server.name, f"has failed hooks for {client}: {stage}")
            return ["drain: no"]
        if stage == PRE_REBOOT_HOOKS:
            server.rules.drained(client)
        else:
            server.rules.brought_back(server.name, client)
        return []

    async def stop(self, stage: str, name: str) -> None:
        """Need nothing: what is cancelled does no more."""

    def forget(self, stage: str, name: str) -> None:
        """Need nothing."""

    async def close(self) -> None:
        """Need nothing."""


@dataclass
class Wire:
    """The way from clients to servers, and back."""

    servers: Sequence[DeskServer]
    rng: Random
    faults: Callable[[], Faults]
    story: Story

    async def call(self, request: Request) -> bool:
        """Bring a call to a server, and tell whether its success came back."""
        rng, faults, loop = self.rng, self.faults(), asyncio.get_running_loop()
        await asyncio.sleep(rng.uniform(0.001, 0.02))
        first = self._pick()
        if rng.random() < faults.lost_call:
            late = rng.choice((None, 0.01, rng.uniform(1, LATEST)))
            self.story.tell(request.client, f"has no answer to its {request.kind}")
            if late is not None:
                loop.call_later(late, self._arrives, first, request)
            await asyncio.sleep(rng.uniform(0.01, 5))
            return False
        answers = [first.answer(request)]
        if rng.random() < faults.twice:
            self.story.tell(request.client, f"has its {request.kind} brought to two servers")
            answers.append(self._pick().answer(request))
        done, _ = await asyncio.wait(
            {answer for answer in answers if answer is not None} or {asyncio.ensure_future(asyncio.sleep(0.01))},
            timeout=PATIENCE,
            return_when=asyncio.FIRST_COMPLETED,
        )
        await asyncio.sleep(rng.uniform(0.001, 0.02))
        return any(not answer.cancelled() and bool(answer.result()) for answer in done)

    def _pick(self) -> DeskServer:
        up = [server for server in self.servers if server.desk is not None]
        return self.rng.choice(up or self.servers)

    def _arrives(self, server: DeskServer, request: Request) -> None:
        self.story.tell(request.client, f"has a lost {request.kind} arrive at {server.name}")
        server.answer(request)
