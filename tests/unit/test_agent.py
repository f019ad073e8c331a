"""The loop, step by step: what it does between the snapshots that the diff decides on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from locksmith.agent import state
from locksmith.agent.facts import Blocker, Boot, RebootNeed, ShutdownState, Stage, TriggerResult
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import TAKEN_OVER, Phase, PreRebootState, entry_for
from locksmith.agent.journal import Hooks as Begun
from locksmith.agent.loop import Agent
from locksmith.agent.permit import Permit
from locksmith.agent.ports import Ports, Stages, WindowSource
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Step
from locksmith.errors import HostError, LocksmithError, OutcomeUnknownError, RebootRefusedError, StoreUnavailableError
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.records import states
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from tests.harness.windows import FixedWindows, original
from tests.sim.machine import Disk, SimJournal
from tests.sim.virtual_time import VirtualLoop, run

START = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)
DENIED = Denied("slot", "held by n2")
QUEUE = Denied("queue", "queued for a slot: number 2 of 2, after n2")


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

    def leave_entry(self, phase: Phase, by: str, *, endpoint: str = "memory", boot: str = "boot-1") -> None:
        """Write a claim into the journal before the agent starts."""
        claim = Claim("n1", REBOOT, "left", START, who="alice")
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

    async def look(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
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


def test_a_wish_becomes_a_reboot_that_is_asked_for_once():
    bench = Bench()
    for_a_while(bench, 10)
    assert bench.calls == ["request", "commit", "reboot"]
    assert bench.closed
    entry = bench.journal.read().entry
    assert entry is not None
    assert entry.phase is Phase.COMMITTED


def test_the_journal_says_what_was_wanted_at_the_point_of_no_return_not_what_the_claim_waited_for():
    """Else a newer update that does not last would be rebooted for once more, and halt nobody."""
    bench = Bench()

    def update_again() -> None:
        bench.version = "1.2.4"

    bench.does["request"] = update_again
    for_a_while(bench, 10)
    entry = bench.journal.read().entry
    assert entry is not None
    assert (entry.claim.version, entry.version) == ("1.2.3", "1.2.4")


def test_a_give_back_without_an_answer_leaves_no_way_to_the_reboot_but_a_new_commit():
    """The window closes during the commit, the give-back may have worked, and the clock is set back into the window."""
    bench = Bench(windows=FixedWindows(original("02:00", "2s")), slow_commit=3.0)

    def lost() -> None:
        bench.offset = timedelta(seconds=-8)
        bench.slow_commit = 0.0
        bench.does.clear()
        raise OutcomeUnknownError("the answer was lost")

    bench.does["abort"] = lost
    for_a_while(bench, 9)
    assert bench.calls == ["request", "commit", "abort", "request", "commit", "reboot"]


def test_a_commit_that_took_too_long_leads_to_no_reboot():
    bench = Bench(slow_commit=11.0)
    for_a_while(bench, 60)
    assert bench.calls == ["request", "commit", "abort"]
    assert "the point of no return was passed 11 s ago" in " ".join(bench.shown)


def test_a_commit_is_as_old_as_its_last_write_not_as_the_tries_before():
    """A strategy that says when it sent the write that counts: the eleven seconds before were lost races."""
    bench = Bench(slow_commit=11.0, sent=11.0)
    for_a_while(bench, 20)
    assert bench.calls == ["request", "commit", "reboot"]


@pytest.mark.parametrize(("stands_still", "last"), [(9.0, "reboot"), (11.0, "abort")])
def test_a_commit_that_grows_old_while_the_order_is_sent_leads_to_no_reboot(stands_still, last):
    bench = Bench(slow_order=stands_still)
    for_a_while(bench, 15)
    assert bench.calls == ["request", "commit", last]


def test_a_suspend_between_commit_and_order_leads_to_no_reboot():
    """All that tells time steps ahead by an hour, while no timer rings."""
    bench = Bench()

    async def main(loop: VirtualLoop) -> None:
        def suspend() -> None:
            if bench.calls[-1:] == ["commit"]:
                loop.now += 3600

        bench.while_asked = suspend
        task = asyncio.ensure_future(bench.agent().run())
        await asyncio.sleep(4000)
        task.cancel()
        await asyncio.wait([task])

    run(main)
    assert bench.calls[:3] == ["request", "commit", "abort"]
    assert "reboot" not in bench.calls


def test_a_refused_reboot_gives_the_slot_back_and_waits_before_the_next_try():
    bench = Bench(does={"reboot": raising(RebootRefusedError("inhibited"))})
    for_a_while(bench, 14 * 60)
    assert bench.calls == ["request", "commit", "reboot", "abort"]
    failure = bench.journal.read().failure
    assert failure is not None
    assert failure.reason == "inhibited"


def test_while_the_give_back_of_a_refused_reboot_fails_it_is_tried_again_and_nothing_else():
    bench = Bench(does={"reboot": raising(RebootRefusedError("no")), "abort": raising(OutcomeUnknownError("?"))})
    for_a_while(bench, 12)
    assert bench.calls == ["request", "commit", "reboot", "abort", "abort", "abort"]
    assert bench.journal.read().entry is not None


def test_a_claim_that_was_cleared_by_hand_leaves_nothing_behind_for_the_next():
    """A reboot was asked for; the journal is moved away; the next claim must not be taken for asked already."""
    bench = Bench()

    async def main(_loop: VirtualLoop) -> None:
        agent = bench.agent()
        task = asyncio.ensure_future(agent.run())
        await asyncio.sleep(1)
        bench.disk.raw = None
        agent.wake()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])

    run(main)
    assert bench.calls == ["request", "commit", "reboot", "request", "commit", "reboot"]


@pytest.mark.parametrize(
    ("answer", "words", "kept"),
    [(DENIED, "leaves the queue", False), (None, "keeps its claim", True)],
    ids=["queued", "rebooting"],
)
def test_a_stop_gives_up_the_place_in_line_and_keeps_what_is_held(answer, words, kept):
    bench = Bench(does={"request": lambda: answer})
    agent = for_a_while(bench, 3)
    assert words in agent.leave()
    assert (bench.journal.read().entry is not None) is kept


def test_a_stop_keeps_a_claim_whose_request_may_be_answered_late():
    """A take without an answer may win still: a claim that the journal has forgotten by then is nobody's."""
    answers: list[Callable[[], Answer | None]] = [raising(OutcomeUnknownError("?")), lambda: QUEUE]
    bench = Bench(does={"request": lambda: answers.pop(0)() if len(answers) > 1 else answers[0]()})
    agent = for_a_while(bench, 30)
    assert bench.calls[:2] == ["request", "request"]
    assert "keeps its claim" in agent.leave()
    assert bench.journal.read().entry is not None


def test_a_stop_keeps_a_claim_of_an_earlier_run_that_waits_in_line():
    bench = Bench(does={"request": lambda: QUEUE})
    bench.leave_entry(Phase.REQUESTED, DAEMON)
    assert "keeps its claim" in for_a_while(bench, 3).leave()


@pytest.mark.parametrize("hooks", [Begun.NONE, Begun.BEGUN])
def test_a_daemon_that_cannot_look_at_its_machine_leaves_a_running_tool_alone(hooks):
    bench = Bench(operators=[True] * 1000, while_asked=raising(HostError("the bus is away")))
    bench.leave_entry(Phase.REQUESTED, "locksmithctl")
    bench.journal.hooks("left", hooks)
    for_a_while(bench, 1300)
    assert bench.calls == []


def test_a_tool_that_stands_still_cannot_go_on_with_a_claim_that_is_released_blindly():
    bench = Bench(while_asked=raising(HostError("the bus is away")))
    bench.leave_entry(Phase.REQUESTED, "locksmithctl")
    for_a_while(bench, 60)
    assert bench.calls == ["abort"]
    entry = bench.journal.read().entry
    assert entry is not None
    assert entry.by == TAKEN_OVER


def test_a_stop_of_an_idle_machine_says_that_it_holds_nothing():
    assert "holds nothing" in for_a_while(Bench(need=False), 3).leave()


def test_a_machine_that_goes_down_by_somebodys_order_keeps_its_claim():
    bench = Bench(does={"request": lambda: DENIED})

    async def main(_loop: VirtualLoop) -> None:
        agent = bench.agent()
        task = asyncio.ensure_future(agent.run())
        await asyncio.sleep(1)
        bench.shutdown = ShutdownState.GOING_DOWN
        agent.wake()
        await asyncio.sleep(60)
        task.cancel()
        await asyncio.wait([task])

    run(main)
    assert bench.calls == ["request"]
    assert bench.journal.read().entry is not None


def test_a_tool_that_ended_while_the_loop_looked_may_have_committed_its_claim_is_looked_at_again():
    bench = Bench(need=False, operators=[True, False, True, True])
    bench.leave_entry(Phase.REQUESTED, "locksmithctl")
    for_a_while(bench, 1)
    assert bench.calls == []


def test_a_tool_that_died_after_its_commit_leaves_a_claim_that_is_kept_until_the_machine_proves_to_stay_up():
    """However long this daemon has run: it counts from when it first saw that nobody cares for the claim."""
    bench = Bench(need=False)

    async def main(_loop: VirtualLoop) -> list[str]:
        agent = bench.agent()
        task = asyncio.ensure_future(agent.run())
        await asyncio.sleep(3600)
        bench.leave_entry(Phase.COMMITTED, "locksmithctl")
        agent.wake()
        await asyncio.sleep(14)
        early = [*bench.calls]
        await asyncio.sleep(2)
        task.cancel()
        await asyncio.wait([task])
        return early

    assert run(main) == []
    assert bench.calls == ["abort"]


def test_a_stop_during_a_commit_ends_the_loop_though_the_journal_cannot_be_written(monkeypatch):
    bench = Bench(slow_commit=30.0)

    def full(_journal: SimJournal, _nonce: str) -> None:
        raise HostError("no space left on device")

    monkeypatch.setattr(SimJournal, "reopen", full)

    async def main(_loop: VirtualLoop) -> None:
        task = asyncio.ensure_future(bench.agent().run())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()

    run(main)
    assert bench.calls == ["request"]


def test_a_strategy_that_cries_wolf_does_not_make_the_loop_spin():
    bench = Bench(does={"request": lambda: DENIED}, change=0.0)
    for_a_while(bench, 60)
    assert 60 < len(bench.calls) < 60 * 10 + 30


@pytest.mark.parametrize(("endpoint", "pointed_out"), [("memory", False), ("moved", True)])
def test_a_claim_whose_store_was_replaced_names_the_way_out(endpoint, pointed_out):
    bench = Bench(need=False, does={"complete": raising(StoreUnavailableError("no endpoint answered"))})
    bench.leave_entry(Phase.COMMITTED, "locksmithd", endpoint=endpoint, boot="boot-0")
    for_a_while(bench, 1)
    assert "no endpoint answered" in bench.shown[-1]
    assert ("remove its journal" in bench.shown[-1]) is pointed_out
    assert bench.journal.read().entry is not None


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

    async def close(self) -> None:
        self.states.append("closed")


def with_presence(bench: Bench, presence: Shown, seconds: float) -> None:
    async def main(_loop: VirtualLoop) -> None:
        task = asyncio.ensure_future(bench.agent(presence=presence).run())
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        await asyncio.wait([task])

    run(main)


def test_before_the_point_of_no_return_the_group_is_told_for_as_long_as_a_reboot_may_take():
    bench, presence = Bench(), Shown()
    with_presence(bench, presence, 10)
    assert bench.calls == ["request", "commit", "reboot"]
    assert presence.confirmed == [600]
    assert presence.states[-1] == "closed"


def test_a_twin_seen_at_the_point_of_no_return_gives_the_slot_back_at_once():
    bench, presence = Bench(), Shown(clone="copy (boot b2)")
    with_presence(bench, presence, 10)
    assert bench.calls == ["request", "abort"]
    assert presence.states == ["clone", "closed"]
    assert bench.journal.read().entry is None


def test_a_group_that_cannot_be_shown_anything_stops_nothing():
    bench, presence = Bench(), Shown(failure=StoreUnavailableError("no endpoint answers"))
    bench.does["request"] = lambda: DENIED
    with_presence(bench, presence, 70)
    assert bench.calls.count("request") >= 2


def test_a_store_that_stays_away_is_asked_soon_at_first_and_then_more_and_more_seldom():
    bench = Bench(does={"request": raising(StoreUnavailableError("no endpoint answers"))})
    for_a_while(bench, 16)
    assert len(bench.calls) == 4  # at 0, 5, 10 and 15 s
    for_a_while(bench, 3600)
    assert 60 < len(bench.calls) - 4 < 150


class Hooks:
    """A hook that ends when it is told to."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    def wanted(self, stage: Stage) -> bool:
        return stage is Stage.PREPARE

    async def run(self, stage: Stage, _entry) -> tuple[()]:
        if stage is Stage.PREPARE:
            await self.end.wait()
        return ()

    async def stop(self, _stage, _entry) -> None:
        pass


def test_a_hook_that_ends_in_the_middle_of_a_look_has_ended_at_the_next():
    """Between two questions of one look anything may end; half of it must not be believed."""

    async def main(_loop: VirtualLoop) -> None:
        hooks = Hooks()
        bench.stages = hooks
        running = bench.agent()
        task = asyncio.ensure_future(running.run())
        await asyncio.sleep(1)
        # It ends in the look behind the one that asks for the permission again: only then its end leads to a step.
        looks: list[None] = []

        def end_at_the_second() -> None:
            looks.append(None)
            if len(looks) > 1:
                hooks.end.set()

        bench.while_asked = end_at_the_second
        running.wake()
        await asyncio.wait([task], timeout=5)
        task.cancel()
        await asyncio.wait([task])

    bench = Bench()
    run(main)
    assert bench.calls[-1] == "reboot"
    assert "abort" not in bench.calls


@pytest.mark.parametrize("denied", [Denied("spacing", "too soon"), Denied("freeze", "frozen", must_release=True)])
def test_a_stop_between_two_answers_keeps_a_claim_that_has_its_slot(denied):
    """Its slot is in hand, though the last answer was a no: without the claim nobody would give it back."""
    bench = Bench(does={"commit": lambda: denied, "abort": raising(StoreUnavailableError("no endpoint answered"))})
    agent = for_a_while(bench, 3)
    assert "this machine keeps its claim" in agent.leave()
    assert bench.journal.read().entry is not None


def test_while_a_slot_cannot_be_given_back_its_hooks_are_undone_once():
    class Drain:
        """Hooks that fail, and note that they are undone."""

        undone = 0

        def wanted(self, stage: Stage) -> bool:
            return stage in {Stage.PREPARE, Stage.UNDO}

        async def run(self, stage: Stage, _entry) -> tuple[Blocker, ...]:
            self.undone += stage is Stage.UNDO
            return (Blocker("hooks", "drain: no"),) if stage is Stage.PREPARE else ()

        async def stop(self, _stage, _entry) -> None:
            pass

    drain = Drain()
    bench = Bench(does={"abort": raising(StoreUnavailableError("no endpoint answered"))}, stages=drain)
    for_a_while(bench, 120)
    assert bench.calls.count("abort") > 3
    assert drain.undone == 1
