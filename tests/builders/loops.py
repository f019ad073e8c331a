"""An agent with all its ports in one place, and what is made of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from locksmith.agent import state
from locksmith.agent.facts import Boot, RebootNeed, ShutdownState, TriggerResult
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import Phase, PreRebootState, entry_for
from locksmith.agent.loop import Agent
from locksmith.agent.permit import Permit
from locksmith.agent.ports import Ports, Stages, WindowSource
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Step
from locksmith.errors import LocksmithError
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.records import states
from locksmith.lock.records.claim import REBOOT, Claim
from tests.sim.machine import Disk, SimJournal
from tests.sim.virtual_time import VirtualLoop, run

START = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)
DENIED = Denied("slot", "held by n2")
MOST_CALLS = 1000
"""More calls than a story has: a loop that spins has no end in made-up time."""


@dataclass
class Bench:
    """An agent with all its surroundings in one place. `does` overrides what a call does, by its name."""

    settings: Settings = field(default_factory=Settings)
    does: dict[str, Callable[[], Answer | None]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    need: bool = True
    version: str = "1.2.3"
    shutdown: ShutdownState = ShutdownState.RUNNING
    slow_commit: float = 0.0
    slow_order: float = 0.0
    sent: float | None = None
    offset: timedelta = timedelta()
    disk: Disk = field(default_factory=Disk)
    closed: bool = False
    operators: list[bool] = field(default_factory=list)
    change: float | None = None
    shown: list[str] = field(default_factory=list)
    stages: Stages | None = None
    windows: WindowSource | None = None
    while_asked: Callable[[], None] = lambda: None
    name = "bench"
    reboots = True
    present = False

    def agent(self, **more: Any) -> Agent:
        """Make the agent, with other ports than the bench's where they are given."""
        ports = Ports(
            self,
            [self],
            self.journal,
            lambda _target: self,
            self.clock,
            reporters=[self],
            operator=self.operator,
            stages=self.stages,
            windows=self.windows,
        )
        return Agent(Member("n1", "n1"), Target("bench", "", 3, ("memory",)), self.settings, replace(ports, **more))

    def leave_entry(
        self, phase: Phase, by: str, *, endpoint: str = "memory", boot: str = "boot-1", kind: str = REBOOT
    ) -> None:
        """Write a claim into the journal before the agent starts."""
        claim = Claim("n1", kind, "left", START, who="alice")
        entry = entry_for(claim, Target("bench", "", 3, (endpoint,)), Boot(boot), by=by, before=PreRebootState())
        self.journal.begin(entry)
        if phase is Phase.COMMITTED:
            self.journal.commit("left")

    @property
    def journal(self) -> SimJournal:
        return SimJournal("n1", self.disk, lambda _moment: None)

    def show(self, step: Step, _snapshot: Snapshot | None) -> None:
        self.shown.append(state.sentence(step))

    def performed(self, _step: Step) -> None:
        pass

    def operator(self) -> bool:
        return self.operators.pop(0) if self.operators else False

    def clock(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time()) + self.offset

    async def boot(self) -> Boot:
        return Boot("boot-1")

    async def shutdown_state(self) -> ShutdownState:
        self.while_asked()
        for _ in range(5):
            await asyncio.sleep(0)
        return self.shutdown

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        return TriggerResult(RebootNeed("update_engine", self.version, now) if self.need else None)

    async def request(self, _claim) -> Answer:
        return self._call("request") or Granted()

    async def commit(self, _claim) -> Answer:
        await asyncio.sleep(self.slow_commit)
        return self._call("commit") or Granted(self.sent)

    async def report_failure(self, _claim, _state, _error) -> bool:
        self._call("report_failure")
        return False

    async def abort(self, _claim, _reason) -> None:
        self._call("abort")

    async def complete(self, _claim) -> None:
        self._call("complete")

    async def adopt(self, _holder) -> bool:
        return False

    async def changed(self, limit: float) -> bool:
        await asyncio.sleep(limit if self.change is None else self.change)
        return self.change is not None

    async def close(self) -> None:
        self.closed = True

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        return PreRebootState(need.trigger if need else "")

    def system(self) -> str:
        return ""

    async def reboot(self, permit: Permit) -> None:
        await asyncio.sleep(self.slow_order)
        with permit():
            self._call("reboot")

    def _call(self, name: str) -> Answer | None:
        self.calls.append(name)
        if len(self.calls) > MOST_CALLS:
            raise RuntimeError("the loop spins")
        return self.does.get(name, lambda: None)()


def for_a_while(bench: Bench, seconds: float) -> Agent:
    """Let the agent run for some made-up seconds, then stop it as SIGTERM does."""

    async def main(_loop: VirtualLoop) -> Agent:
        running = bench.agent()
        task = asyncio.ensure_future(running.run())
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        await asyncio.wait([task])
        return running

    return run(main)


def raising(error: LocksmithError) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


class Shown:
    """The group's eyes: what was shown, and a twin that appears at the point of no return."""

    def __init__(self, clone: str = "", failure: LocksmithError | None = None) -> None:
        self.clone = ""
        self.states: list[str] = []
        self.confirmed: list[float] = []
        self._clone, self._error = clone, failure

    async def show(self, now) -> None:
        if self._error:
            raise self._error
        self.states.append(now.code or now.state)

    def listen(self, wake: Callable[[], None]) -> None:
        pass

    async def confirm(self, now, longer: float) -> None:
        assert now.state == states.REBOOTING
        self.confirmed.append(longer)
        self.clone = self._clone

    async def leave(self) -> None:
        self.states.append("left")

    async def close(self) -> None:
        self.states.append("closed")


@dataclass
class Users:
    """A user who is logged in."""

    told: list[str] = field(default_factory=list)

    async def present(self) -> frozenset[str]:
        return frozenset({"alice"})

    async def warn(self, _at: datetime, _reason: str) -> None:
        self.told.append("warned")

    async def call_off(self) -> None:
        self.told.append("called off")


def play(bench: Bench, story: Callable[[Agent], object], seconds: float = 1, **ports: Any) -> None:
    """Run the agent of a bench for a second, then what `story` does to it, then some more; then stop it."""

    async def main(_loop: VirtualLoop) -> None:
        agent = bench.agent(**ports)
        task = asyncio.ensure_future(agent.run())
        await asyncio.sleep(1)
        story(agent)
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main)


def nothing(_agent: Agent) -> None:
    pass
