"""The machine's state in one word, and the step in one sentence."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from locksmith.agent import state
from locksmith.agent.facts import Stage
from locksmith.agent.steps import (
    Abort,
    Adopt,
    Commit,
    Finish,
    Idle,
    Reboot,
    Release,
    ReportFailure,
    Request,
    Run,
    Step,
    TakeOver,
    Undo,
    Wait,
    Warn,
)
from locksmith.lock.records import states

UNTIL = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)

STORIES = [
    (Idle(), "idle", "idle: nothing wants a reboot"),
    (Wait("slot", "held by n2"), "waiting", "waiting (slot): held by n2"),
    (Wait("rebooting", "the machine is going down"), "rebooting", "waiting (rebooting): the machine is going down"),
    (Wait("stuck", "stuck in shutdown"), "stuck", "waiting (stuck): stuck in shutdown"),
    (Wait("hooks", "drain runs"), "preparing", "waiting (hooks): drain runs"),
    (Wait("verifying", "not healthy yet"), "verifying", "waiting (verifying): not healthy yet"),
    (Wait("failed", "rolled back"), "failed", "waiting (failed): rolled back"),
    (Run(Stage.CHECKS), "preparing", "running the checks before the reboot"),
    (Run(Stage.HEALTH), "verifying", "checking this machine's health"),
    (Warn(UNTIL), "preparing", f"warning the users: reboot at {UNTIL.astimezone():%H:%M:%S %Z}"),
    (ReportFailure("unhealthy", "x has failed"), "unhealthy", "unhealthy: x has failed"),
    (Undo("frozen"), "aborting", "undoing the hooks: frozen"),
    (Adopt(), "releasing", "looking for a slot from before this machine had a reboot journal"),
    (Request(), "requesting", "asking for permission to reboot"),
    (Commit(), "rebooting", "permission given: passing the point of no return"),
    (Reboot(), "rebooting", "rebooting"),
    (Release(), "releasing", "rebooted and healthy: releasing the slot"),
    (
        TakeOver(),
        "aborting",
        "the operator's reboot has ended, or stands still: taking its claim over, to release it",
    ),
    (Abort("the window closed"), "aborting", "aborting the reboot and releasing its slot: the window closed"),
    (Finish(), "finished", "nothing to do: this strategy never reboots"),
]


@pytest.mark.parametrize(("step", "word", "sentence"), STORIES, ids=lambda value: str(value)[:30])
def test_each_step_has_a_word_and_a_sentence(step, word, sentence):
    assert state.state_of(step) == word
    assert state.sentence(step) == sentence


def test_every_step_has_its_story_and_every_word_is_used():
    assert {type(step) for step, _, _ in STORIES} == set(get_args(Step))
    assert {word for _, word, _ in STORIES} == set(states.ALL)


def test_a_wait_says_until_when_in_local_time():
    local = UNTIL.astimezone()
    text = state.sentence(Wait("window", "outside the reboot window", UNTIL))
    assert text == f"waiting (window): outside the reboot window, until {local:%a %Y-%m-%d %H:%M:%S %Z}"
