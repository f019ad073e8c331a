"""A machine that cannot look at itself, or cannot write: what becomes of its claim."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from locksmith.agent.facts import ShutdownState
from locksmith.agent.journal import Phase
from locksmith.agent.settings import Settings
from locksmith.errors import HostError, OlderJournalError
from locksmith.lock.answer import Denied
from locksmith.lock.records.claim import COMMAND, DAEMON
from locksmith.lock.records.past import LastReboot
from tests.builders.loops import DENIED, START, Bench, for_a_while, raising

HOUR = 3600.0
NO_BUS = HostError("the system bus does not answer")
QUICK = Settings(health=timedelta(minutes=1))


def fails_while(is_so: Callable[[], bool]) -> Callable[[], None]:
    def act() -> None:
        if is_so():
            raise NO_BUS

    return act


def test_a_slot_is_released_by_a_machine_that_cannot_look_at_itself_any_more():
    bench = Bench()
    bench.while_asked = fails_while(lambda: "request" in bench.calls)
    for_a_while(bench, 60)
    assert bench.calls == ["request", "abort"]
    assert bench.journal.read().entry is not None


def test_released_so_the_claim_is_forgotten_and_asked_for_again_when_the_bus_is_back():
    bench = Bench()
    away = [True]
    bench.while_asked = fails_while(lambda: "request" in bench.calls and away[0])
    bench.does["abort"] = lambda: away.__setitem__(0, False)
    for_a_while(bench, 60)
    assert bench.calls[:4] == ["request", "abort", "request", "commit"]


@pytest.mark.slow
def test_two_failures_hours_apart_are_no_failure_that_lasts():
    bench = Bench(settings=QUICK)
    bench.does["request"] = lambda: DENIED
    seconds = iter([1, 0, *[0] * 200, 1, *[0] * 10_000])
    bench.while_asked = fails_while(lambda: bool(next(seconds)))
    for_a_while(bench, 3 * HOUR)
    assert {*bench.calls} == {"request"}


@pytest.mark.parametrize(("runs", "calls"), [(True, []), (False, ["abort"])], ids=["it runs", "it crashed"])
def test_a_claim_of_the_tool_is_left_to_the_tool_while_that_runs(runs, calls):
    bench = Bench(settings=QUICK)
    bench.leave_entry(Phase.REQUESTED, "locksmithctl")
    bench.operators = [runs] * 10_000
    bench.while_asked = raising(NO_BUS)
    for_a_while(bench, HOUR)
    assert bench.calls == calls


def test_the_slot_of_a_command_stays_if_the_bus_ends_before_the_daemon():
    """`locksmithctl run` has ended, and its command may have ordered the reboot."""
    bench = Bench(settings=QUICK)
    bench.leave_entry(Phase.REQUESTED, "locksmithctl", kind=COMMAND)
    bench.while_asked = raising(NO_BUS)
    for_a_while(bench, HOUR)
    assert bench.calls == ["report_failure"]


def test_a_machine_that_goes_down_by_another_order_keeps_its_slot_without_its_bus():
    bench = Bench(settings=QUICK)
    looks = iter(range(10_000))

    def goes_down_and_ends_the_bus() -> None:
        if "request" in bench.calls:
            bench.shutdown = ShutdownState.GOING_DOWN
            if next(looks) > 2:
                raise NO_BUS

    bench.while_asked = goes_down_and_ends_the_bus
    for_a_while(bench, HOUR)
    assert bench.calls == ["request", "report_failure"]


@pytest.mark.parametrize("phase", list(Phase))
def test_after_its_reboot_such_a_machine_is_reported_once(phase):
    bench = Bench(settings=QUICK)
    bench.leave_entry(phase, DAEMON, boot="boot-0")
    bench.while_asked = raising(NO_BUS)
    for_a_while(bench, HOUR)
    assert bench.calls == ["report_failure"]
    entry = bench.journal.read().entry
    assert entry is not None
    assert entry.claim.failure == "it cannot be examined: the system bus does not answer"


def test_a_report_that_does_not_reach_the_group_is_tried_again():
    bench = Bench(settings=QUICK)
    bench.leave_entry(Phase.COMMITTED, DAEMON, boot="boot-0")
    bench.while_asked = raising(NO_BUS)
    bench.does["report_failure"] = raising(HostError("not now"))
    for_a_while(bench, 5)
    assert bench.calls == []
    for_a_while(bench, HOUR)
    assert bench.calls.count("report_failure") >= 1


def test_the_group_remembers_a_reboot_and_the_machine_does_again():
    bench = Bench()
    done = LastReboot("1.2.3", START)
    bench.does["request"] = lambda: Denied("repeated", "it has rebooted for that", past=(done,))
    for_a_while(bench, 60)
    assert bench.calls == ["request", "abort"]
    assert bench.journal.read().done == done
    assert bench.shown[-1].startswith("waiting (repeated)")


def test_what_the_store_knows_of_a_reboot_is_reported_and_nothing_is_released():
    bench = Bench()
    bench.leave_entry(Phase.REQUESTED, DAEMON, boot="boot-0")
    bench.does["complete"] = raising(OlderJournalError("failed", "its disk is of before that"))
    for_a_while(bench, 60)
    assert bench.calls[:2] == ["complete", "report_failure"]
    assert "complete" not in bench.calls[1:]
    entry = bench.journal.read().entry
    assert entry is not None
    assert (entry.claim.state, entry.claim.failure) == ("failed", "its disk is of before that")
