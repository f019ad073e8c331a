"""The diff at the very moment at which a time is over, and until when it says that it waits."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.agent.decide import decide
from locksmith.agent.facts import Aborting, Blocker, Checks, RebootNeed, Report, ShutdownState, Stage, Warned
from locksmith.agent.journal import TAKEN_OVER, FailedAttempt, Hooks, Journal, Phase
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Abort, Commit, Reboot, Release, ReportFailure, Request, Run, Step, Wait
from locksmith.lock.records import states
from locksmith.lock.records.claim import COMMAND
from locksmith.lock.records.past import LastReboot
from tests.builders.snapshots import (
    ALERT,
    BOOTED,
    BY_HAND,
    COMMITTED,
    FOR_UPDATE,
    GRANTS,
    MINUTE,
    NEEDING,
    NOW,
    REBOOTED,
    REBOOTING,
    SECOND,
    SICK,
    TAKEN_COMMITTED,
    called,
    configured,
    entry,
)
from tests.harness.windows import original

HOUR, INSTANT = 60 * MINUTE, timedelta(microseconds=1)
DOWN = ShutdownState.GOING_DOWN
SETTLE, RETRY, REPEAT, HEALTH, LIMIT, FRESH = 15 * SECOND, 15 * MINUTE, 24 * HOUR, 10 * MINUTE, 10 * MINUTE, 10 * SECOND


def failed(ago: timedelta, tries: int = 1, **more) -> Journal:
    return Journal(failure=FailedAttempt(NOW - ago, "no", tries=tries, **more))


def done(ago: timedelta) -> Journal:
    return Journal(done=LastReboot("1.2.3", NOW - ago))


NAMELESS = replace(entry(by="locksmithctl"), claim=replace(entry().claim, who=""))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (replace(COMMITTED, orphaned_for=SETTLE - INSTANT), replace(COMMITTED, orphaned_for=SETTLE)),
        (replace(TAKEN_COMMITTED, orphaned_for=SETTLE - INSTANT), replace(TAKEN_COMMITTED, orphaned_for=SETTLE)),
        (called(SETTLE - INSTANT), called(SETTLE)),
    ],
    ids=["a restarted daemon", "a tool that crashed", "logind was asked"],
)
def test_a_reboot_that_has_not_come_for_that_long_does_not_come(before, after):
    assert isinstance(decide(before), Wait)
    assert isinstance(decide(after), Abort)


def test_a_shutdown_that_takes_as_long_as_the_limit_is_stuck():
    assert code(called(LIMIT, shutdown=DOWN, shutting_down_for=LIMIT - INSTANT)) == "rebooting"
    assert code(called(LIMIT, shutdown=DOWN, shutting_down_for=LIMIT)) == "stuck"


def test_a_machine_is_unhealthy_from_the_end_of_its_time_on():
    assert code(replace(BOOTED, stage=SICK, verifying=HEALTH - INSTANT)) == "verifying"
    assert isinstance(decide(replace(BOOTED, stage=SICK, verifying=HEALTH)), ReportFailure)


def test_at_the_last_moment_a_look_may_be_ten_seconds_old_and_no_more():
    assert decide(replace(REBOOTING, observed_ago=FRESH)) == Reboot()
    assert decide(replace(REBOOTING, observed_ago=FRESH + INSTANT)) == Abort(
        "the last observation is 10 s old: everything is observed again"
    )


def test_before_the_commit_the_checks_may_be_ten_seconds_old_and_no_more():
    assert decide(replace(GRANTS, checks=Checks(FRESH))) == Commit()
    assert decide(replace(GRANTS, checks=Checks(FRESH + INSTANT))) == Run(Stage.CHECKS)


def test_before_the_hooks_the_checks_may_be_a_minute_old_and_no_more():
    ready = replace(GRANTS, prepared=False)
    assert decide(replace(ready, checks=Checks(MINUTE))) == Run(Stage.PREPARE)
    assert decide(replace(ready, checks=Checks(MINUTE + INSTANT))) == Run(Stage.CHECKS)


def test_behind_the_hooks_old_checks_are_no_reason_to_undo_them():
    prepared = replace(GRANTS, journal=Journal(entry(hooks=Hooks.PREPARED)), checks=Checks(HOUR))
    assert decide(prepared) == Run(Stage.CHECKS)


def test_what_a_gate_has_objected_stands_for_a_minute():
    assert code(replace(NEEDING, checks=Checks(MINUTE - INSTANT, (ALERT,)))) == "alerts"
    assert decide(replace(NEEDING, checks=Checks(MINUTE, (ALERT,)))) == Run(Stage.CHECKS)


def test_a_failed_try_is_made_again_after_its_pause():
    assert code(replace(NEEDING, journal=failed(RETRY - INSTANT))) == "retry"
    assert decide(replace(NEEDING, journal=failed(RETRY))) == Request()


def test_a_version_is_wanted_again_after_a_day():
    assert code(replace(NEEDING, journal=done(REPEAT - INSTANT))) == "repeated"
    assert decide(replace(NEEDING, journal=done(REPEAT))) == Request()


def test_tries_without_a_limit_are_never_given_up():
    endless = configured(replace(NEEDING, journal=failed(SECOND, tries=99)), tries=0)
    assert code(endless) == "retry"
    assert code(configured(endless, tries=99)) == "given_up"
    assert code(configured(endless, tries=100)) == "retry"


@pytest.mark.parametrize(
    ("snapshot", "ends"),
    [
        (replace(COMMITTED, orphaned_for=5 * SECOND), 10 * SECOND),
        (replace(TAKEN_COMMITTED, orphaned_for=5 * SECOND), 10 * SECOND),
        (called(5 * SECOND), 10 * SECOND),
        (called(MINUTE, shutdown=DOWN, shutting_down_for=MINUTE), 9 * MINUTE),
        (replace(BOOTED, stage=SICK, verifying=3 * MINUTE), 7 * MINUTE),
        (replace(NEEDING, checks=Checks(20 * SECOND, (ALERT,))), 40 * SECOND),
        (replace(NEEDING, journal=done(HOUR)), 23 * HOUR),
        (replace(NEEDING, journal=failed(MINUTE)), 14 * MINUTE),
        (replace(NEEDING, journal=failed(MINUTE, tries=2)), 29 * MINUTE),
        (replace(NEEDING, journal=failed(MINUTE, tries=3)), 59 * MINUTE),
        (configured(replace(NEEDING, journal=failed(HOUR, tries=12)), tries=0), 3 * HOUR),
        (configured(replace(NEEDING, journal=failed(HOUR, tries=500)), tries=0), 3 * HOUR),
        (configured(replace(NEEDING, journal=failed(HOUR)), retry=6 * HOUR), 5 * HOUR),
        (replace(NEEDING, blockers=(Blocker("uptime", "too young", NOW + HOUR),)), HOUR),
    ],
    ids=[
        "a restarted daemon, after the commit",
        "a tool that crashed after its commit",
        "logind was asked",
        "the machine goes down",
        "not healthy yet",
        "an alert",
        "the version was rebooted for",
        "a try failed",
        "two tries failed",
        "three tries failed",
        "twelve tries failed: four hours at most",
        "five hundred tries failed",
        "a pause of six hours is configured",
        "a gate that says when",
    ],
)
def test_a_wait_says_its_end_to_the_second(snapshot, ends):
    step = decide(snapshot)
    assert isinstance(step, Wait)
    assert step.until == NOW + ends


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (replace(BY_HAND, operator=True), "a reboot by alice is under way"),
        (
            replace(BY_HAND, operator=True, journal=Journal(NAMELESS)),
            "a reboot by an operator is under way",
        ),
    ],
    ids=["by its name", "without one"],
)
def test_an_operator_whose_reboot_is_under_way_is_named(snapshot, says):
    step = decide(snapshot)
    assert isinstance(step, Wait)
    assert step.text == says


def code(snapshot) -> str:
    step: Step = decide(snapshot)
    assert isinstance(step, Wait)
    return step.code


@pytest.mark.parametrize(
    ("tries", "retry", "pause"),
    [
        (1, RETRY, RETRY),
        (2, RETRY, 2 * RETRY),
        (3, RETRY, 4 * RETRY),
        (6, RETRY, 4 * HOUR),
        (99, RETRY, 4 * HOUR),
        (1, 6 * HOUR, 6 * HOUR),
        (2, 6 * HOUR, 6 * HOUR),
        (9, 2 * HOUR, 4 * HOUR),
        (17, SECOND / 8000, 2**16 * SECOND / 8000),
        (99, SECOND / 8000, 2**16 * SECOND / 8000),
    ],
)
def test_each_failed_try_doubles_the_pause_up_to_four_hours_or_the_first_pause(tries, retry, pause):
    just_before = configured(replace(NEEDING, journal=failed(pause - INSTANT, tries)), tries=0, retry=retry)
    waits = decide(just_before)
    assert isinstance(waits, Wait)
    assert (waits.code, waits.until) == ("retry", NOW + INSTANT)
    assert decide(configured(replace(NEEDING, journal=failed(pause, tries)), tries=0, retry=retry)) == Request()


def test_a_failure_from_far_ahead_delays_nothing():
    assert decide(replace(NEEDING, journal=failed(-RETRY))) == Request()


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        (Report(Stage.CHECKS, SECOND), Wait("checks", "the checks before the reboot run")),
        (Report(Stage.CHECKS, SECOND, over=True), Run(Stage.CHECKS)),
        (Report(Stage.PREPARE, SECOND), Run(Stage.CHECKS)),
        (None, Run(Stage.CHECKS)),
    ],
)
def test_the_checks_are_begun_once_and_waited_for(stage, step):
    assert decide(replace(GRANTS, checks=None, stage=stage)) == step


def test_at_the_last_moment_a_commit_may_be_ten_seconds_old_and_no_more():
    assert decide(replace(REBOOTING, commit_age=FRESH)) == Reboot()
    assert isinstance(decide(replace(REBOOTING, commit_age=FRESH + INSTANT)), Abort)


@pytest.mark.parametrize(("sessions", "until"), [(0, 5), (60, 5), (12, 2)])
def test_users_are_waited_for_until_their_time_or_the_time_of_all_is_over(sessions, until):
    """All of them may hold the slot for `sessions` minutes, of which ten are over; 0: for as long as they come."""
    alice = frozenset({"alice"})
    warned = replace(GRANTS, users=alice, warned=Warned(alice, NOW + 5 * MINUTE), warned_for=10 * MINUTE)
    waits = decide(configured(warned, sessions=sessions * MINUTE))
    assert isinstance(waits, Wait)
    assert (waits.code, waits.until) == ("sessions", NOW + until * MINUTE)


@pytest.mark.parametrize(
    "claimed",
    [
        replace(FOR_UPDATE, phase=Phase.REQUESTED),
        replace(FOR_UPDATE, claim=replace(FOR_UPDATE.claim, version="")),
    ],
    ids=["not past its point of no return", "for no version that is known"],
)
def test_only_a_reboot_for_a_version_can_have_come_up_without_it(claimed):
    same = RebootNeed("update-engine", claimed.version, NOW)
    assert decide(replace(REBOOTED, journal=Journal(claimed), needs=(same,))) == Release()


def test_while_hooks_are_undone_the_reason_is_said():
    undone = replace(
        GRANTS,
        journal=Journal(entry(hooks=Hooks.BEGUN)),
        aborting=Aborting("the window closed", failed=True),
        stage=Report(Stage.UNDO, SECOND),
    )
    assert decide(undone) == Wait("hooks", "undoing the hooks: the window closed")
    over = replace(undone, stage=Report(Stage.UNDO, SECOND, over=True))
    assert decide(over) == Abort("the window closed", failed=True)


@pytest.mark.parametrize(
    ("shutdown", "words"),
    [
        (DOWN, "the machine is going down"),
        (ShutdownState.UNKNOWN, "the machine may be going down, logind or systemd does not say"),
    ],
)
def test_a_machine_that_is_still_up_says_what_it_waits_for(shutdown, words):
    waits = decide(called(SECOND, shutdown=shutdown))
    assert waits == Wait("rebooting", words, NOW + LIMIT)


def commanded(**more) -> Snapshot:
    """Give the claim of a `locksmithctl` that runs a command with a slot."""
    return replace(
        BY_HAND, journal=Journal(replace(entry(by="locksmithctl"), claim=replace(entry().claim, kind=COMMAND), **more))
    )


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (replace(commanded(), operator=True), "a command by alice is under way"),
        (commanded(by=TAKEN_OVER), "the locksmithctl that ran a command has ended"),
        (replace(BY_HAND, journal=Journal(entry(by=TAKEN_OVER))), "the operator's reboot did not happen"),
        (
            replace(BY_HAND, operator=True, journal=Journal(entry(Phase.COMMITTED, by="locksmithctl"))),
            "a reboot was asked for by alice",
        ),
        (
            replace(BY_HAND, operator=True, journal=Journal(replace(NAMELESS, phase=Phase.COMMITTED))),
            "a reboot was asked for by an operator",
        ),
    ],
)
def test_what_an_operator_does_or_did_is_named_for_what_it_is(snapshot, says):
    step = decide(snapshot)
    assert says == (step.reason if isinstance(step, Abort) else step.text if isinstance(step, Wait) else None)


def test_a_machine_of_a_large_group_says_when_its_moment_to_ask_comes():
    step = decide(replace(NEEDING, arrival=MINUTE))
    assert isinstance(step, Wait)
    assert (step.code, step.until) == ("arrival", NOW + MINUTE)
    assert decide(replace(NEEDING, arrival=timedelta(0))) == Request()


TOO_LITTLE = "too little of the reboot window is left: a reboot begins with {} at least"


@pytest.mark.parametrize(
    ("window", "least", "text", "opens"),
    [
        (original("03:00", "30m"), 5, "outside the reboot window", True),
        (
            original("02:00", "30m"),
            31,
            TOO_LITTLE.format("31m"),
            False,
        ),
        (
            original("02:00", "30m"),
            25,
            TOO_LITTLE.format("25m"),
            True,
        ),
    ],
)
def test_a_machine_outside_its_window_says_whether_and_when_the_next_one_comes(window, least, text, opens):
    step = decide(configured(NEEDING, window=window, min_remaining=least * MINUTE))
    assert isinstance(step, Wait)
    assert step.text == (text if opens else f"{text}, and none is to come")
    assert (step.until is not None) == opens


def test_a_machine_that_tries_once_gives_up_and_one_without_a_limit_never():
    once = replace(NEEDING, journal=failed(HOUR, tries=1, version="1.2.3"))
    assert [decide(configured(once, tries=tries)) == Request() for tries in (0, 1, 2)] == [True, False, True]


@pytest.mark.parametrize(
    ("stage", "says"),
    [(Stage.HEALTH, "its health is checked"), (Stage.FINISH, "the hooks after the reboot run")],
)
def test_a_machine_that_came_up_says_what_it_waits_for(stage, says):
    step = decide(replace(BOOTED, stage=Report(stage, SECOND, over=False)))
    assert isinstance(step, Wait)
    assert (step.code, step.text) == ("verifying", f"{states.REBOOTED}{says}")
