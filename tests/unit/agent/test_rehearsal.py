"""What a dry run asks and runs in place of a reboot, how often, and what it says afterwards."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.agent.decide import decide
from locksmith.agent.facts import UNREHEARSED, Blocker, Checks, Report, Stage
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Run, Wait
from tests.builders.snapshots import ALERT, CLOSED, NEEDING, SECOND, configured

HOUR = timedelta(hours=1)
DRY = configured(replace(NEEDING, checks=Checks(SECOND), rehearsed=Checks(SECOND)), dry_run=True)
WOULD = "would ask the strategy reboot now,"
UNDER_WAY = "the checks and the hooks are rehearsed"


def step(snapshot: Snapshot, **changes):
    return decide(replace(snapshot, **changes))


def running(stage: Stage, *, over: bool = False) -> Report:
    return Report(stage, SECOND, over=over)


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"checks": None, "rehearsed": None}, Stage.CHECKS),
        ({"rehearsed": None}, Stage.REHEARSAL),
        ({"rehearsed": None, "stage": running(Stage.CHECKS, over=True)}, Stage.REHEARSAL),
        ({"checks": Checks(HOUR)}, Stage.CHECKS),
        ({"rehearsed": Checks(HOUR)}, Stage.REHEARSAL),
    ],
    ids=["at first the checks", "then the hooks", "after the checks", "the checks each hour", "the hooks each hour"],
)
def test_what_was_not_rehearsed_for_an_hour_is_rehearsed(changes, stage):
    assert step(DRY, **changes) == Run(stage)


@pytest.mark.parametrize("stage", [Stage.CHECKS, Stage.REHEARSAL])
def test_a_rehearsal_that_runs_is_not_begun_again(stage):
    assert step(DRY, checks=None, rehearsed=None, stage=running(stage)) == Wait("dry_run", UNDER_WAY)


def test_a_gate_that_blocks_is_the_reason_as_in_earnest():
    blocked = step(DRY, checks=Checks(SECOND, (ALERT,)))
    assert isinstance(blocked, Wait)
    assert (blocked.code, blocked.text) == ("alerts", ALERT.text)


def test_outside_its_window_nothing_is_rehearsed():
    outside = decide(configured(replace(DRY, checks=None), window=CLOSED))
    assert isinstance(outside, Wait)
    assert outside.code == "window"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, f"{WOULD} and reboot"),
        (
            {"rehearsed": Checks(SECOND, (Blocker("hooks", "pre-reboot.d/10-drain: no kubectl"),))},
            f"{WOULD} but its reboot would fail: pre-reboot.d/10-drain: no kubectl",
        ),
        (
            {"rehearsed": Checks(SECOND, (Blocker(UNREHEARSED, "pre-reboot.d/10-drain"),))},
            f"{WOULD} and reboot; not rehearsed, as it has no `locksmith: dry-run`: pre-reboot.d/10-drain",
        ),
        ({"users": frozenset({"bob", "alice"})}, f"{WOULD} and reboot; would warn alice and bob 5m before"),
    ],
    ids=["all passes", "a hook fails", "a hook that is not run", "users"],
)
def test_it_says_what_would_happen_and_what_it_did_not_try(changes, says):
    assert step(DRY, **changes) == Wait("dry_run", says)
