"""What the loop ends when it calls a reboot off, and when it stops: hooks under way, warnings, connections."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from locksmith.agent.facts import Blocker, Stage, TriggerResult, WindowSight
from locksmith.agent.journal import Hooks, Journal, Phase
from locksmith.agent.loop import Agent
from locksmith.errors import HostError, OutcomeUnknownError, StoreUnavailableError
from tests.builders.loops import DENIED, Bench, Shown, Users, nothing, play, raising
from tests.harness.windows import FixedWindows, original
from tests.sim.machine import Disk, SimJournal


@dataclass
class Endless:
    """Hooks before the reboot that never end by themselves; `told` is what becomes of them, in its order."""

    told: list[str] = field(default_factory=list)

    def wanted(self, stage: Stage) -> bool:
        return stage in {Stage.PREPARE, Stage.UNDO}

    async def run(self, stage: Stage, _entry) -> tuple[Blocker, ...]:
        if stage is Stage.PREPARE:
            self.told.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                self.told.append("let go")
        if stage is Stage.UNDO:
            self.told.append("undone")
        return ()

    async def stop(self, stage: Stage, _entry) -> None:
        self.told.append(f"{stage.name.lower()} stopped")


@dataclass
class ToAdopt:
    """Whether a bare id is to be given back still; a loop that asks for ever without doing so is told no in the end."""

    left: bool = True
    asked: int = 0

    def adopts(self) -> bool:
        self.asked += 1
        return self.left and self.asked < 100

    def adopted(self) -> None:
        self.left = False


@dataclass
class Windows:
    """A source of windows that leaves every time free."""

    closed: bool = False

    async def check(self, _now: datetime, *, wanted: bool) -> WindowSight:  # noqa: ARG002 - part of the interface
        return WindowSight()

    async def close(self) -> None:
        self.closed = True


def test_a_reboot_that_is_called_off_stops_the_hooks_that_run_and_then_undoes_them():
    """A drain that went on would take down a machine that stays up."""
    hooks = Endless()
    bench = Bench(stages=hooks)

    def update_is_reset(agent: Agent) -> None:
        assert hooks.told == ["begun"]
        bench.need = False
        agent.wake()

    play(bench, update_is_reset)
    assert sorted(hooks.told[1:3]) == ["let go", "prepare stopped"]
    assert hooks.told[3:] == ["undone"]
    assert bench.calls == ["request", "abort"]


def test_a_daemon_that_stops_lets_go_of_the_hooks_that_run_and_does_not_stop_them():
    """The next start waits for them: they go on in a unit of their own."""
    hooks = Endless()
    bench = Bench(stages=hooks)
    play(bench, nothing)
    assert hooks.told == ["begun", "let go"]
    assert bench.closed


def test_a_machine_that_adopts_gives_back_its_bare_id_once():
    asked: list[str] = []
    to_adopt = ToAdopt()

    class Adopting(Bench):
        async def adopt(self, holder: str) -> bool:
            asked.append(holder)
            return True

    play(Adopting(need=False), Agent.wake, adopts=to_adopt.adopts, adopted=to_adopt.adopted)
    assert asked == ["n1"]
    assert not to_adopt.left


def test_an_adoption_that_fails_is_tried_again():
    to_adopt = ToAdopt()

    class Failing(Bench):
        async def adopt(self, _holder: str) -> bool:
            raising(StoreUnavailableError("no endpoint answers"))()
            return False

    bench = Failing(need=False)
    play(bench, nothing, adopts=to_adopt.adopts, adopted=to_adopt.adopted)
    assert to_adopt.left
    assert "no endpoint answers" in bench.shown[-1]


def test_users_who_were_warned_are_told_when_the_daemon_stops_before_the_reboot():
    users = Users()
    play(Bench(), nothing, users=users)
    assert users.told == ["warned", "called off"]


def test_users_who_were_not_warned_are_told_nothing():
    users = Users()
    play(Bench(does={"request": lambda: DENIED}), nothing, users=users)
    assert users.told == []


def test_a_stop_past_the_point_of_no_return_leaves_the_warning_in_force():
    class Nobody(Users):
        """Warned, and gone before the reboot."""

        async def present(self) -> frozenset[str]:
            return frozenset() if self.told else frozenset({"alice"})

    users, bench = Nobody(), Bench()
    play(bench, Agent.wake, users=users)
    assert "reboot" in bench.calls
    assert users.told == ["warned"]


@pytest.mark.parametrize("with_presence", [True, False])
def test_a_daemon_that_stops_lets_go_of_everything_that_it_reached(with_presence):
    windows, presence = Windows(), Shown() if with_presence else None
    bench = Bench(does={"request": lambda: DENIED})
    play(bench, nothing, windows=windows, presence=presence)
    assert bench.closed
    assert windows.closed
    assert presence is None or presence.states[-1] == "closed"


@pytest.mark.parametrize(
    ("bench", "leaves"),
    [
        ({"need": False}, True),
        ({"does": {"request": lambda: DENIED}}, True),
        ({"does": {"request": raising(OutcomeUnknownError("no answer"))}}, False),
        ({}, False),
    ],
    ids=["idle", "queued", "perhaps with a slot", "rebooting"],
)
def test_only_a_machine_that_holds_nothing_ends_its_presence_when_its_daemon_stops(bench, leaves):
    presence = Shown()
    play(Bench(**bench), nothing, presence=presence)
    assert ("left" in presence.states) == leaves
    assert presence.states[-1] == "closed"


def test_a_journal_that_cannot_be_read_ends_no_presence():
    class Unreadable(SimJournal):
        def read(self) -> Journal:
            raise HostError("the disk is broken")

    presence = Shown()
    play(Bench(), nothing, presence=presence, journal=Unreadable("n1", Disk(), lambda _moment: None))
    assert "left" not in presence.states


def test_a_part_that_cannot_be_closed_keeps_no_other_open():
    class Broken(Shown):
        async def close(self) -> None:
            raise RuntimeError

    windows, bench = Windows(), Bench(does={"request": lambda: DENIED})
    play(bench, nothing, windows=windows, presence=Broken())
    assert windows.closed


def test_hooks_that_have_failed_are_undone_and_not_stopped():
    class Failing(Endless):
        async def run(self, stage: Stage, entry) -> tuple[Blocker, ...]:
            if stage is Stage.PREPARE:
                return (Blocker("hooks", "drain: no"),)
            return await super().run(stage, entry)

    hooks = Failing()
    bench = Bench(stages=hooks)
    play(bench, nothing)
    assert hooks.told == ["undone"]
    assert bench.calls == ["request", "abort"]


def test_a_restarted_daemon_undoes_the_hooks_that_an_earlier_run_began():
    hooks = Endless()
    bench = Bench(stages=hooks, need=False)
    bench.leave_entry(Phase.REQUESTED, "locksmithd")
    bench.journal.hooks("left", Hooks.BEGUN)
    play(bench, nothing)
    assert hooks.told == ["undone"]
    assert bench.calls == ["abort"]
    assert bench.journal.read().entry is None


def test_a_stop_while_a_reboot_is_undone_tells_the_users_that_nothing_comes_of_it():
    """The window closed during the commit: the machine stays up, whatever the undoing takes."""

    class Undoing(Endless):
        async def run(self, stage: Stage, entry) -> tuple[Blocker, ...]:
            if stage is Stage.UNDO:
                await asyncio.Event().wait()
            return () if stage is Stage.PREPARE else await super().run(stage, entry)

    class Leaving(Users):
        async def present(self) -> frozenset[str]:
            return frozenset() if self.told else frozenset({"alice"})

    users = Leaving()
    bench = Bench(stages=Undoing(), windows=FixedWindows(original("02:00", "2s")), slow_commit=3.0)
    play(bench, Agent.wake, seconds=4, users=users)
    assert bench.calls == ["request", "commit"]
    assert users.told == ["warned", "called off"]


def test_what_the_triggers_said_is_there_from_the_first_look_on():
    said: list[dict[str, TriggerResult]] = []
    bench = Bench(does={"request": lambda: DENIED})
    assert bench.agent().results() == {}
    play(bench, lambda agent: said.append(agent.results()))
    assert said[0]["bench"].need is not None
