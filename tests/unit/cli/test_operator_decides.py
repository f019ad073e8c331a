"""`locksmithctl reboot` stops at every fact at which the daemon stops, but for a named list of differences.

The loop obeys `decide`. Both reach the same ports here, and note the steps towards a reboot.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from locksmith.agent.facts import Blocker, Boot, RebootNeed, ShutdownState, Stage, TriggerResult, WindowSight
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import FailedAttempt, JournalEntry, PreRebootState, entry_for
from locksmith.agent.loop import Agent
from locksmith.agent.permit import Permit
from locksmith.agent.ports import Ports
from locksmith.agent.settings import Settings
from locksmith.cli.reboot import operator
from locksmith.cli.reboot.claim import PROGRAM
from locksmith.cli.reboot.operator import OperatorReboot
from locksmith.cli.reboot.preparation import Preparation
from locksmith.cli.reboot.wait import QueueWait
from locksmith.errors import LocksmithError
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.past import LastReboot
from locksmith.window.splay import Splay
from tests.harness.examples import times
from tests.harness.windows import original
from tests.sim.machine import Disk, SimJournal
from tests.sim.virtual_time import run

START = datetime(2026, 5, 1, 2, 0, 1, tzinfo=UTC)
OPEN, CLOSED, SHORT = (
    WindowSight(original(*window)) for window in (("02:00", "1h"), ("03:00", "1h"), ("01:00", "62m"))
)
NO_SET = WindowSight(error="there is no set of windows")
RUNNING, DOWN, UNKNOWN = ShutdownState.RUNNING, ShutdownState.GOING_DOWN, ShutdownState.UNKNOWN
INHIBITED, ALERT = (Blocker("inhibitor", "backup runs"),), (Blocker("alerts", "an alert fires"),)
GRANTED, DENIED, TAKEN_AWAY = Granted(), Denied("slot", "held by n2"), Denied("lost", "unlocked", lost=True)
TARGET = Target("etcd-lock", "", 3, ("memory",))
SECONDS = 240
"""Longer than hooks, warning and a slow commit take together."""


@dataclass(frozen=True)
class Facts:
    """What both programs can observe at one time."""

    window: WindowSight = OPEN
    gate: tuple[Blocker, ...] = ()
    checks: tuple[Blocker, ...] = ()
    shutdown: ShutdownState = RUNNING
    answer: Answer = GRANTED
    users: frozenset[str] = frozenset()
    clone: str = ""


@dataclass
class World:
    """One machine: the facts before the hooks have run, after they have, and after the commit."""

    early: Facts = field(default_factory=Facts)
    late: Facts = field(default_factory=Facts)
    last: Facts | None = None
    hooks: tuple[Blocker, ...] = ()
    commit_answer: Answer = GRANTED
    commit_takes: float = 0.0
    order_takes: float = 0.0
    daemon: Settings = field(default_factory=lambda: Settings("etcd-lock", grace=timedelta(seconds=60)))
    needed: bool = True
    skips: bool = False
    waits: bool = False
    journal: Callable[[SimJournal], None] = lambda _journal: None
    steps: set[str] = field(default_factory=set)
    warned_until: datetime | None = None
    name = "world"
    reboots = present = True

    @property
    def now(self) -> Facts:
        if "commit" in self.steps and self.last is not None:
            return self.last
        return self.late if "hooks" in self.steps else self.early

    @property
    def clone(self) -> str:
        return self.now.clone

    def clock(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    # The machine
    async def boot(self) -> Boot:
        return Boot("boot-1")

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        return PreRebootState(need.trigger if need else "")

    def system(self) -> str:
        return ""

    async def shutdown_state(self) -> ShutdownState:
        return self.now.shutdown

    async def reboot(self, permit: Permit) -> None:
        await asyncio.sleep(self.order_takes)
        with permit():
            self.steps.add("order")

    # The strategy
    async def request(self, _claim) -> Answer:
        self.steps.add("request")
        return self.now.answer

    async def changed(self, limit: float) -> bool:
        await asyncio.sleep(limit)
        return True

    async def commit(self, _claim) -> Answer:
        self.steps.add("commit")
        if self.now.users and (self.warned_until is None or self.clock() < self.warned_until):
            self.steps.add("commit before the users' time is over")
        await asyncio.sleep(self.commit_takes)
        return self.commit_answer

    async def abort(self, _claim, _reason) -> None:
        pass

    async def close(self) -> None:
        pass

    # The hooks and the expensive gates
    def wanted(self, _stage: Stage) -> bool:
        return True

    async def run(self, stage: Stage, _entry: JournalEntry | None) -> Sequence[Blocker]:
        if stage is Stage.CHECKS:
            return self.now.checks
        if stage is Stage.PREPARE:
            await asyncio.sleep(15)  # so long that whatever was asked before has to be asked again
            self.steps.add("hooks")
            return self.hooks
        return ()

    async def stop(self, stage: Stage, entry: JournalEntry) -> None:
        pass

    # The users, the group
    async def warn(self, at: datetime, _reason: str) -> None:
        self.steps.add("warning")
        self.warned_until = at

    async def call_off(self) -> None:
        pass

    async def show(self, _node) -> None:
        pass

    async def confirm(self, _node, _longer: float) -> None:
        pass


@dataclass
class Around:
    """The ports whose methods have the names of others."""

    world: World
    name: str = "update-engine"

    async def check(self, *asked: Any, wanted: bool | None = None) -> Any:
        if len(asked) == 2:
            return TriggerResult(RebootNeed(self.name, "1.2.3", START) if self.world.needed else None)
        return self.world.now.gate if wanted is None else self.world.now.window

    async def present(self) -> frozenset[str]:
        return self.world.now.users

    async def warn(self, at: datetime, reason: str) -> None:
        await self.world.warn(at, reason)

    async def call_off(self) -> None:
        pass

    async def close(self) -> None:
        pass


def as_daemon(world: World, journal: SimJournal) -> Agent:
    around: Any = Around(world)
    port: Any = world
    ports = Ports(
        port,
        [around],
        journal,
        lambda _target: port,
        world.clock,
        presence=port,
        windows=around,
        gates=[around],
        stages=port,
        users=around,
    )
    return Agent(Member("n1", "n1"), TARGET, world.daemon, ports)


def as_tool(world: World, journal: SimJournal) -> OperatorReboot:
    around: Any = Around(world)
    port: Any = world
    preparation = Preparation(
        journal,
        world.clock,
        lambda _words: None,
        windows=None if world.skips else around,
        gates=[] if world.skips else [around],
        stages=port,
        users=around,
        grace=world.daemon.grace,
        limit=world.daemon.sessions,
        least=world.daemon.min_remaining,
    )
    queue_wait = QueueWait(None if world.waits else 0, lambda _words: None)
    return OperatorReboot(port, journal, lambda _target: port, 1.0, lambda _words: None, queue_wait, preparation)


def steps_of(program: str, world: World) -> set[str]:
    """Let one program do what it does in this world, and give the steps that it has taken."""
    world = replace(world, steps=set(), warned_until=None)

    async def main(_loop) -> None:
        journal = SimJournal("n1", Disk(), lambda _moment: None)
        world.journal(journal)
        if program == "tool":
            journal._by = PROGRAM
            claim = Claim("n1", REBOOT, "nonce", START, who="alice")
            work: Any = as_tool(world, journal).run(TARGET, claim)
        else:
            work = as_daemon(world, journal).run()
        task = asyncio.ensure_future(work)
        await asyncio.wait([task], timeout=SECONDS)
        task.cancel()
        with contextlib.suppress(LocksmithError, asyncio.CancelledError):
            await task

    run(main)
    return world.steps


facts = st.builds(
    Facts,
    window=st.sampled_from([OPEN, OPEN, OPEN, WindowSight(), CLOSED, SHORT, NO_SET]),
    gate=st.sampled_from([(), (), (), INHIBITED]),
    checks=st.sampled_from([(), (), (), ALERT]),
    shutdown=st.sampled_from([RUNNING, RUNNING, RUNNING, DOWN, UNKNOWN]),
    answer=st.sampled_from([GRANTED, GRANTED, GRANTED, DENIED, TAKEN_AWAY]),
    users=st.sampled_from([frozenset(), frozenset(), frozenset({"alice"})]),
)
worlds = st.builds(
    World,
    early=facts,
    # The state of the shutdown is the tool's question before it begins: see DIFFERENCES.
    late=facts.map(lambda late: replace(late, shutdown=RUNNING)),
    hooks=st.sampled_from([(), (), (), (Blocker("hooks", "drain: no"),)]),
    commit_answer=st.sampled_from([GRANTED, GRANTED, DENIED]),
    commit_takes=st.sampled_from([0.0, 0.0, 11.0]),
    order_takes=st.sampled_from([0.0, 0.0, 11.0]),
    daemon=st.builds(
        Settings,
        st.just("etcd-lock"),
        grace=st.sampled_from([timedelta(0), timedelta(seconds=60)]),
        sessions=st.sampled_from([timedelta(0), timedelta(seconds=30)]),
        min_remaining=st.sampled_from([timedelta(0), timedelta(minutes=5)]),
    ),
    waits=st.booleans(),
)


@settings(max_examples=times(1), deadline=None)
@given(worlds)
@example(World())
@example(World(late=Facts(users=frozenset({"alice"}))))
def test_the_tool_takes_no_step_towards_a_reboot_that_the_daemon_would_not_take(world):
    assert steps_of("tool", world) - {"warning"} <= steps_of("daemon", world)


def test_the_tool_warns_users_before_it_finds_what_has_come_during_the_hooks():
    """A difference too: the daemon asks again before the warning. Neither reboots."""
    world = World(late=Facts(gate=INHIBITED, users=frozenset({"alice"})))
    assert steps_of("tool", world) == {"request", "hooks", "warning"}
    assert steps_of("daemon", world) == {"request", "hooks"}


@pytest.mark.parametrize("program", ["daemon", "tool"])
def test_where_nothing_is_in_the_way_both_reboot(program):
    world = World(early=Facts(users=frozenset({"alice"})), late=Facts(users=frozenset({"alice"})))
    assert steps_of(program, world) == {"request", "hooks", "warning", "commit", "order"}


def failed_lately(journal: SimJournal) -> None:
    leave(journal)
    journal.fail("before", FailedAttempt(START, "inhibited", "1.2.3"))
    journal.clear("before")


def rebooted_lately(journal: SimJournal) -> None:
    leave(journal)
    journal.clear("before", done=LastReboot("1.2.3", START))


def leave(journal: SimJournal) -> None:
    claim = Claim("n1", REBOOT, "before", START, who=DAEMON)
    journal.begin(entry_for(claim, TARGET, Boot("boot-1"), by=DAEMON, before=PreRebootState()))


def configured(**more: Any) -> Settings:
    return replace(World().daemon, **more)


DIFFERENCES = {
    "nothing needs the reboot but the operator": World(needed=False),
    "the daemon is in a dry run": World(daemon=configured(dry_run=True)),
    "the daemon's strategy never reboots": World(daemon=configured(reboots=False)),
    "the daemon's last reboot failed a moment ago": World(journal=failed_lately),
    "the daemon has rebooted for the same version a moment ago": World(journal=rebooted_lately),
    "the daemon waits for its own moment in the window": World(daemon=configured(splay=Splay(1.0, "n1"))),
    "the operator skips the window and a gate": World(Facts(CLOSED, INHIBITED), Facts(CLOSED, INHIBITED), skips=True),
    "a copy of the machine was seen, which only presence shows": World(Facts(clone="copy"), Facts(clone="copy")),
    "a shutdown began after the tool had begun": World(late=Facts(shutdown=DOWN)),
    "a blocker comes during the commit": World(last=Facts(gate=INHIBITED)),
}
"""Where the tool continues and the daemon does not. docs/decisions/0041-the-tool-has-its-own-sequence.md says why."""


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_named_difference_is_one(name):
    world = DIFFERENCES[name]
    assert "order" in steps_of("tool", world)
    assert "order" not in steps_of("daemon", world)


async def nothing(*_args: object) -> None:
    """Leave it out."""


async def granted(*_args: object) -> Answer:
    return GRANTED


def only_early(asked: Any) -> Any:
    """Ask before the hooks, and not again after them."""

    async def early(self: Preparation, *args: object) -> Any:
        around: Any = self.users
        return GRANTED if "hooks" in around.world.steps else await asked(self, *args)

    return early


ALICE = Facts(users=frozenset({"alice"}))
LEFT_OUT = {
    "the state of the machine": (OperatorReboot, "must_stay_up", nothing, World(Facts(shutdown=UNKNOWN))),
    "the window": (Preparation, "_window", nothing, World(Facts(CLOSED), Facts(CLOSED))),
    "the cheap gates": (Preparation, "ask", granted, World(Facts(gate=INHIBITED), Facts(gate=INHIBITED))),
    "the expensive gates": (Preparation, "_check", nothing, World(Facts(checks=ALERT), Facts(checks=ALERT))),
    "the cheap gates after the hooks": (Preparation, "ask", only_early(Preparation.ask), World(late=Facts(CLOSED))),
    "the expensive gates after the hooks": (
        Preparation,
        "_check",
        only_early(Preparation._check),
        World(late=Facts(checks=ALERT)),
    ),
    "the lock after the hooks": (
        OperatorReboot,
        "request",
        granted,
        World(late=Facts(answer=TAKEN_AWAY)),
    ),
    "the users": (Preparation, "_warn", nothing, World(ALICE, ALICE)),
    "the age of the commit": (operator, "FRESH", 1000.0, World(order_takes=11.0)),
}


@pytest.mark.parametrize("rule", LEFT_OUT)
def test_a_tool_that_leaves_a_rule_out_goes_further_than_the_daemon(rule, monkeypatch):
    where, name, instead, world = LEFT_OUT[rule]
    assert steps_of("tool", world) <= steps_of("daemon", world)
    monkeypatch.setattr(where, name, instead)
    assert not steps_of("tool", world) <= steps_of("daemon", world)
