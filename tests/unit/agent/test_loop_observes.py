"""What the loop sees: its surroundings and its own progress, as one snapshot."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from locksmith.agent.facts import (
    Aborting,
    Blocker,
    Checks,
    RebootCall,
    RebootNeed,
    Report,
    ShutdownState,
    Stage,
    StoredFailure,
    TriggerResult,
    Warned,
    WindowSight,
)
from locksmith.agent.journal import Hooks, Phase
from locksmith.agent.memory import Asked, Running
from locksmith.errors import HostError
from locksmith.lock.answer import Granted
from tests.builders.loops import START, Bench
from tests.harness.windows import original
from tests.sim.virtual_time import run

ALERT = Blocker("alerts", "an alert fires")
OPEN = original("02:00", "30m")


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


class PortsOf:
    """A gate, users, windows and a presence in one; `asked` is what they were asked."""

    name = "around"
    clone = "copy (boot b2)"

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def check(self, _now, *, wanted: bool | None = None):
        if wanted is None:
            self.asked.append("gate")
            return (ALERT,)
        self.asked.append(("windows", wanted))
        return WindowSight(OPEN)

    async def present(self) -> frozenset[str]:
        self.asked.append("users")
        return frozenset({"alice"})


def play(bench: Bench, story, **ports):
    """Tell a story of an agent that has run for a hundred seconds."""

    async def main(_loop):
        await asyncio.sleep(100)
        asked = PortsOf()
        around = {"gates": [asked], "users": asked, "windows": asked, "presence": asked, **ports}
        return await story(bench.agent(**around), asked)

    return run(main)


def test_a_machine_that_has_just_started_sees_what_is_around_it():
    async def story(agent, ports):
        seen = await agent._observer.observe()
        assert ports.asked == ["gate", ("windows", True)]
        assert (seen.now, seen.boot.boot_id, seen.settings) == (START + seconds(100), "boot-1", agent._settings)
        assert seen.needs == (RebootNeed("update_engine", "1.2.3", START + seconds(100)),)
        assert (seen.blockers, seen.clone, seen.window) == ((ALERT,), "copy (boot b2)", WindowSight(OPEN))
        assert (seen.adopts, seen.operator, seen.users) == (True, False, frozenset())
        assert (seen.shutdown, seen.shutting_down_for) == (ShutdownState.RUNNING, seconds(0))
        assert (seen.answer, seen.call, seen.checks, seen.stage) == (None, None, None, None)
        assert (seen.prepared, seen.finished, seen.released, seen.target_changed) == (False, False, False, False)
        assert (seen.commit_age, seen.warned_for, seen.verifying) == (seconds(0), seconds(0), seconds(0))
        assert seen.observed_ago == seconds(0)

    play(Bench(), story, adopts=lambda: True)


def test_without_gates_users_windows_or_presence_there_is_nothing_to_see_of_them():
    async def story(agent, _ports):
        seen = await agent._observer.observe()
        assert (seen.blockers, seen.clone, seen.window, seen.users) == ((), "", WindowSight(), frozenset())
        assert not seen.adopts

    play(Bench(), story, gates=[], users=None, windows=None, presence=None)


def test_what_the_loop_remembers_of_its_claim_is_as_old_as_it_is():
    bench = Bench()
    bench.leave_entry(Phase.COMMITTED, "locksmithd")

    async def story(agent, ports):
        agent._observer.read_journal()
        progress = agent._memory.claim
        done = asyncio.get_running_loop().create_future()
        done.set_result(())
        progress.answer, progress.committed, progress.commit_sent = Granted(), True, 95.0
        progress.call, progress.called, progress.looked = RebootCall(timedelta(), "no"), 90.0, 80.0
        progress.results = [
            TriggerResult(RebootNeed("kernel", "6.1", START)),
            TriggerResult(error="it does not answer"),
            TriggerResult(not_applied="6.0"),
        ]
        progress.asked, progress.running = Asked(60.0, (ALERT,), 59.0), Running(Stage.HEALTH, 50.0, done, over=True)
        progress.warned, progress.warned_since = Warned(frozenset({"alice"}), START), 70.0
        progress.prepared = progress.finished = progress.acknowledged = True
        progress.aborting, progress.stored = Aborting("why", failed=True), StoredFailure("failed", "rolled back")
        agent._memory.released = "left"
        seen = await agent._observer.observe()
        assert ports.asked == [("windows", False)]  # a reboot was asked for: nobody else is asked any more
        assert (seen.answer, seen.committed_by_this_process, seen.commit_age) == (Granted(), True, seconds(5))
        assert (seen.call, seen.observed_ago) == (RebootCall(seconds(10), "no"), seconds(20))
        assert seen.needs == (RebootNeed("kernel", "6.1", START),)
        assert (seen.errors, seen.not_applied) == (("it does not answer",), ("6.0",))
        assert (seen.checks, seen.stage) == (
            Checks(seconds(40), (ALERT,)),
            Report(Stage.HEALTH, seconds(50), over=True),
        )
        assert (seen.warned, seen.warned_for) == (Warned(frozenset({"alice"}), START), seconds(30))
        assert (seen.prepared, seen.finished, seen.acknowledged, seen.released) == (True, True, True, True)
        assert (seen.aborting, seen.stored) == (Aborting("why", failed=True), StoredFailure("failed", "rolled back"))

    play(bench, story)


@pytest.mark.parametrize(
    ("hooks", "prepared", "finished"),
    [(Hooks.BEGUN, False, False), (Hooks.PREPARED, True, False), (Hooks.FINISHED, False, True)],
)
def test_how_far_the_hooks_have_come_is_known_from_the_journal_too(hooks, prepared, finished):
    bench = Bench()
    bench.leave_entry(Phase.REQUESTED, "locksmithd")
    bench.journal.hooks("left", hooks)

    async def story(agent, _ports):
        seen = await agent._observer.observe()
        assert (seen.prepared, seen.finished) == (prepared, finished)

    play(bench, story)


@pytest.mark.parametrize(
    ("phase", "by", "operator", "orphaned_for"),
    [
        (Phase.COMMITTED, "locksmithd", False, 7),
        (Phase.COMMITTED, "locksmithd", True, 0),
        (Phase.COMMITTED, "taken over", True, 7),
        (Phase.REQUESTED, "locksmithd", False, 0),
    ],
)
def test_how_long_nobody_cares_for_a_committed_claim_counts_from_the_first_look(phase, by, operator, orphaned_for):
    bench = Bench()
    bench.leave_entry(phase, "locksmithd")
    if by == "taken over":
        bench.journal.take_over("left", lambda: False)

    async def story(agent, _ports):
        await agent._observer.observe()
        await asyncio.sleep(7)
        assert (await agent._observer.observe()).orphaned_for == seconds(orphaned_for)

    play(bench, story, operator=lambda: operator)


@pytest.mark.parametrize(("boot", "verifying"), [("boot-0", 7), ("boot-1", 0)])
def test_the_time_to_verify_counts_from_the_first_look_after_the_reboot(boot, verifying):
    bench = Bench(shutdown=ShutdownState.UNKNOWN)
    bench.leave_entry(Phase.REQUESTED, "locksmithd", boot=boot)

    async def story(agent, ports):
        await agent._observer.observe()
        await asyncio.sleep(7)
        seen = await agent._observer.observe()
        assert (seen.verifying, seen.shutting_down_for) == (seconds(verifying), seconds(7))
        assert ports.asked[-1] == ("windows", boot == "boot-1")

    play(bench, story)


def test_users_are_asked_for_once_permission_is_granted_and_never_after_the_commit():
    bench = Bench()
    bench.leave_entry(Phase.REQUESTED, "locksmithd")

    async def story(agent, _ports):
        assert (await agent._observer.observe()).users == frozenset()
        agent._memory.claim.answer = Granted()
        assert (await agent._observer.observe()).users == {"alice"}
        agent._memory.claim.committed = True
        assert (await agent._observer.observe()).users == frozenset()

    play(bench, story)


def test_where_nothing_is_wanted_no_gate_is_asked():
    async def story(agent, ports):
        await agent._observer.observe()
        assert ports.asked == [("windows", False)]

    play(Bench(need=False), story)


def test_a_claim_of_another_configuration_is_seen_as_such():
    bench = Bench()
    bench.leave_entry(Phase.REQUESTED, "locksmithd", endpoint="moved")

    async def story(agent, _ports):
        assert (await agent._observer.observe()).target_changed

    play(bench, story)


def test_a_trigger_that_hangs_or_fails_is_a_doubt_of_its_own():
    class Hanging:
        name = "hanging"

        async def check(self, _now, _boot):
            await asyncio.Event().wait()

    class Failing:
        name = "failing"

        async def check(self, _now, _boot):
            raise HostError("the bus is gone")

    async def story(agent, _ports):
        seen = await agent._observer.observe()
        assert seen.errors == (
            "hanging: it does not answer within 20 s",
            "failing: HostError: the bus is gone",
        )
        assert len(seen.needs) == 1
        assert {sight.looked for sight in agent.results().values()} == {START + seconds(100)}

    bench = Bench()
    play(bench, story, triggers=[Hanging(), Failing(), bench])


@pytest.mark.parametrize(
    ("moved", "begins"),
    [(30, 0), (-30, 0), (-60, 0), (-90, -90)],
    ids=["it says now each time", "its clock drifts", "by a minute", "it has found an earlier beginning"],
)
def test_a_need_that_stays_has_one_beginning(moved, begins):
    """Each other moment would be news, which the machine writes to the store."""

    class Moving:
        name = "moving"
        since = START

        async def check(self, _now, _boot):
            return TriggerResult(RebootNeed("moving", "1", self.since))

    trigger = Moving()

    async def story(agent, _ports):
        await agent._observer.observe()
        trigger.since += seconds(moved)
        [need] = (await agent._observer.observe()).needs
        assert need.since == START + seconds(begins)

    play(Bench(), story, triggers=[trigger])


def test_a_trigger_that_says_when_it_looked_is_believed():
    class Watching:
        name = "watching"

        async def check(self, _now, _boot):
            return TriggerResult(looked=START)

    async def story(agent, _ports):
        await agent._observer.observe()
        assert agent.results()["watching"].looked == START

    play(Bench(), story, triggers=[Watching()])


def test_the_errand_of_another_claim_is_ended_and_what_the_gates_said_is_kept():
    async def story(agent, _ports):
        task: Any = asyncio.ensure_future(asyncio.sleep(60, ()))
        agent._memory.claim.running = Running(Stage.PREPARE, 0.0, task)
        agent._memory.claim.asked = Asked(60.0, (ALERT,), 59.0)
        agent._memory.forget("another")
        await asyncio.wait([task], timeout=1)
        assert task.cancelled()
        assert (agent._memory.claim.nonce, agent._memory.claim.asked) == ("another", Asked(60.0, (ALERT,), 59.0))

    play(Bench(), story)
