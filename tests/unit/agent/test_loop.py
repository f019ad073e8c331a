"""The loop, step by step: what it does between the snapshots that the diff decides on."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from locksmith.agent.facts import Blocker, ShutdownState, Stage
from locksmith.agent.journal import TAKEN_OVER, Phase
from locksmith.agent.journal import Hooks as Begun
from locksmith.errors import HostError, OutcomeUnknownError, RebootRefusedError, StoreUnavailableError
from locksmith.lock.answer import Answer, Denied
from locksmith.lock.records.claim import DAEMON
from tests.builders.loops import DENIED, Bench, Shown, for_a_while, raising
from tests.harness.windows import FixedWindows, original
from tests.sim.machine import SimJournal
from tests.sim.virtual_time import VirtualLoop, run

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE = Denied("queue", "queued for a slot: number 2 of 2, after n2")


def test_a_wish_becomes_a_reboot_that_is_asked_for_once():
    bench = Bench()
    for_a_while(bench, 10)
    assert bench.calls == ["request", "commit", "reboot"]
    assert bench.closed
    entry = bench.journal.read().entry
    assert entry is not None
    assert entry.phase is Phase.COMMITTED


def test_the_journal_has_the_need_at_the_commit_not_the_need_of_the_request():
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


def test_while_the_release_after_a_refused_reboot_fails_only_the_release_is_repeated():
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


def test_a_machine_that_goes_down_by_another_programs_order_keeps_its_claim():
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


def test_the_claim_of_a_tool_that_ended_during_the_cycle_is_read_again():
    bench = Bench(need=False, operators=[True, False, True, True])
    bench.leave_entry(Phase.REQUESTED, "locksmithctl")
    for_a_while(bench, 1)
    assert bench.calls == []


def test_the_claim_of_a_tool_that_died_after_its_commit_is_kept_while_it_may_reboot():
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


@pytest.mark.slow
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
    assert ("run `locksmithctl forget-claim`" in bench.shown[-1]) is pointed_out
    assert bench.journal.read().entry is not None


def with_presence(bench: Bench, presence: Shown, seconds: float) -> None:
    async def main(_loop: VirtualLoop) -> None:
        task = asyncio.ensure_future(bench.agent(presence=presence).run())
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        await asyncio.wait([task])

    run(main)


def test_before_the_commit_the_state_is_shown_for_as_long_as_a_reboot_may_take():
    bench, presence = Bench(), Shown()
    with_presence(bench, presence, 10)
    assert bench.calls == ["request", "commit", "reboot"]
    assert presence.confirmed == [600]
    assert presence.states[-1] == "closed"


def test_a_twin_seen_at_the_point_of_no_return_gives_the_slot_back_at_once():
    bench, presence = Bench(), Shown(clone="copy (boot b2)")
    with_presence(bench, presence, 10)
    assert bench.calls == ["request", "abort"]
    assert presence.states == ["clone", "left", "closed"]
    assert bench.journal.read().entry is None


def test_a_group_that_cannot_be_shown_anything_stops_nothing():
    bench, presence = Bench(), Shown(failure=StoreUnavailableError("no endpoint answers"))
    bench.does["request"] = lambda: DENIED
    with_presence(bench, presence, 70)
    assert bench.calls.count("request") >= 2


def test_a_store_that_stays_away_is_asked_after_longer_and_longer_pauses():
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
