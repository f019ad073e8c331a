"""Servers for FleetLock clients, and the wire to them: a call goes to any server, to two, late, or nowhere."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from locksmith.server.hooks import PRE_REBOOT as PRE_REBOOT_HOOKS
from locksmith.server.ports import FleetLock
from tests.sim.client_rules import ClientRules
from tests.sim.clients import ANSWERING, PRE_REBOOT, Request
from tests.sim.daemon import GROUP, KilledError
from tests.sim.plan import Faults
from tests.sim.story import Story

PATIENCE = 1800.0
"""Seconds that a client waits for an answer."""
LATEST = 60.0
"""Seconds after which a call that was lost reaches a server at the latest."""


@dataclass(eq=False)
class Run:
    """One run of a server. Every await of the store is a moment to die, or to stand still."""

    server: "DeskServer"
    alive: bool = True

    async def pause(self, where: str) -> None:
        """Let it die here, or stand still for a while, if it is its time."""
        server, faults = self.server, self.server.faults()
        if server.rng.random() < faults.frozen:
            seconds = server.rng.uniform(1, 200)
            server.story.tell(server.name, f"stands still for {seconds:.1f} s {where}")
            await asyncio.sleep(seconds)
        if self.alive and server.rng.random() < faults.crash:
            server.kill(where)
        if not self.alive:
            raise KilledError


@dataclass(eq=False)
class DeskServer:
    """A server, which is started again whenever it has died. It knows nothing of earlier runs."""

    name: str
    rng: Random
    story: Story
    faults: Callable[[], Faults]
    make: Callable[[Run], FleetLock]
    rules: ClientRules
    run: Run | None = None
    desk: FleetLock | None = None
    tasks: "dict[asyncio.Task[bool], None]" = field(default_factory=dict)
    """In the order of their beginning, so that a seed always gives the same run."""

    def start(self) -> None:
        """Start it."""
        self.run = Run(self)
        self.desk = self.make(self.run)

    def kill(self, why: str) -> None:
        """End it as `kill -9` does."""
        if self.run is None:
            return
        self.story.tell(self.name, f"dies {why}")
        self.run.alive, self.run, self.desk = False, None, None
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
            self.rules.answered(self.name, request, refusal)
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
