"""What limits a rollout, and what would help: that it is true, and how it is said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from locksmith.fleet.forecast import sentences
from locksmith.fleet.forecast.advice import WORTH, advise
from locksmith.fleet.forecast.answer import forecast
from locksmith.fleet.forecast.changes import small, whole
from locksmith.fleet.forecast.limit import Limit
from locksmith.fleet.forecast.plan import GroupPlan, RolloutPlan
from locksmith.fleet.forecast.spread import Spread
from locksmith.lock.records.incident import HaltAfter
from tests.harness.windows import plan as windows

START = datetime(2026, 5, 4, 12, tzinfo=UTC)  # a Monday
TEN_MINUTES = Spread(600.0, 600.0)
NIGHTS = windows("02:00 for 3h")


def group(name="db", machines=4, slots=1, **changes):
    return GroupPlan(name, machines, slots, reboot=changes.pop("reboot", TEN_MINUTES), **changes)


def answer(*groups, runs=5):
    return forecast(RolloutPlan(START, groups), runs, 1)


def said(*groups):
    advice = advise(answer(*groups))
    return [sentences.limit(advice), *map(sentences.help_with, advice.savings)]


@pytest.mark.parametrize(
    ("groups", "sentence", "helps"),
    [
        (
            [group(machines=200, windows=NIGHTS), group("web", 5)],
            "the window of group db limits it: nothing is open for 9 d 8 h of 10 d 15 h",
            ["two more slots would save 7 d", "a window of 6 h instead of 3 h would save 4 d 23 h"],
        ),
        (
            [group(machines=10, windows=NIGHTS)],
            "the window of group db limits it: nothing is open for 14 h of 15 h 40 min",
            ["two more slots would save 60 min"],
        ),
        (
            [group(machines=2, slots=2, windows=NIGHTS)],
            "the window of group db limits it: nothing is open for 14 h of 14 h 10 min",
            ["windows that are always open would save 14 h"],
        ),
        (
            [group(machines=10, windows=windows(but=["2026-05-04..2026-05-10"]))],
            "the window of group db limits it: nothing is open for 6 d 12 h of 6 d 13 h",
            ["no blackouts would save 6 d 12 h"],
        ),
        (
            [group(machines=90)],
            "the one slot of group db limits it: it is in use for 14 h 50 min of 15 h",
            ["two more slots would save 10 h"],
        ),
        (
            [group(machines=3, slots=2)],
            "the slots of group db limit it: all 2 are in use for 10 min of 20 min",
            ["one more slot would save 10 min"],
        ),
        (
            [group(machines=3, slots=3)],
            "the length of a reboot of group db limits it: the last ones reboot for 10 min of 10 min",
            [],
        ),
        (
            [group(machines=100, slots=10, share=Decimal(10))],
            "the slots of group db limit it: all 10 are in use for 90 min of 100 min",
            ["slots for 12% instead of 10% would save 10 min"],
        ),
        (
            [group(machines=20, slots=4, spacing=1200.0)],
            "the spacing of group db limits it: only the pause is in the way for 6 h 20 min of 6 h 30 min",
            ["a spacing of 10 min instead of 20 min would save 3 h 10 min"],
        ),
        (
            [group(machines=20, slots=20, arrives=86400.0)],
            "the slow arrival of group db limits it: no machine needs a reboot yet for 23 h 27 min of 23 h 37 min",
            ["machines that all want it at once would save 23 h 27 min"],
        ),
        (
            [group(machines=40, slots=4, failure=1.0, repair=Spread(28800.0, 28800.0))],
            "the failures of group db limit it: machines that failed wait for their repair for 3 d 8 h of 3 d 9 h",
            [
                "repairs within 4 h instead of 8 h would save 40 h",
                "two more slots would save 24 h 30 min",
            ],
        ),
        (
            [group(machines=20, slots=1, spacing=600.0)],
            "the one slot of group db limits it: it is in use for 3 h 10 min of 3 h 20 min",
            ["two more slots and a spacing of 5 min instead of 10 min would save 95 min"],
        ),
        (
            [group(machines=90), group("web", 80, 1)],
            "the one slot of group db limits it: it is in use for 14 h 50 min of 15 h",
            ["two more slots would save 100 min, until group web ends last"],
        ),
        (
            [group(machines=90), group("web", 90, 1)],
            "the slots of groups db and web limit it: any of them may end last",
            ["two more slots in each of db and web would save 10 h"],
        ),
        (
            [group(machines=90), group("web", 900, 20, spacing=60.0, reboot=Spread(60.0, 60.0))],
            "the one slot of group db and the spacing of group web limit it: any of them may end last",
            ["two more slots in db and a spacing of 30 s instead of 60 s in web would save 7 h 29 min"],
        ),
    ],
)
def test_what_limits_it_and_what_would_help(groups, sentence, helps):
    assert said(*groups) == [sentence, *helps]


GROUPS = st.builds(
    group,
    st.sampled_from(["db", "web"]),
    machines=st.integers(1, 40),
    slots=st.integers(1, 6),
    failure=st.sampled_from([0.0, 0.0, 0.1]),
    spacing=st.sampled_from([0.0, 30.0, 1200.0]),
    arrives=st.sampled_from([0.0, 0.0, 7200.0]),
    halt_after=st.sampled_from([HaltAfter(0), HaltAfter(1)]),
    windows=st.sampled_from([None, NIGHTS, windows("Sat 22:00 for 8h", but=["*-05-09..*-05-09"])]),
    least=st.sampled_from([timedelta(0), timedelta(minutes=30)]),
    reboot=st.sampled_from([TEN_MINUTES, Spread(60.0, 600.0)]),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(GROUPS, min_size=1, max_size=2, unique_by=lambda group: group.name))
def test_a_change_that_is_made_saves_what_was_said(groups):
    before = answer(*groups, runs=3)
    advice = advise(before)
    assert advice.groups[0] is before.last
    for saving in advice.savings:
        after = forecast(saving.plan, 3, 1)
        assert before.p50 - after.p50 == pytest.approx(saving.seconds)
        assert saving.seconds > WORTH * (before.p50 - START.timestamp())
        assert sentences.help_with(saving)
        if saving.then:
            assert saving.then not in {group.plan.name for group in advice.groups}
    assert sentences.limit(advice)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(GROUPS)
def test_without_its_limit_a_group_has_back_what_it_spent_on_it(plan):
    """Where one thing takes nearly all of the time: without it, at least a part of that is saved.

    Not all of it: behind a limit stands the next one, and while a window is closed the slots become free. Machines
    that come later are left out: what they wait for is in the way of no other. All reboots take as long: one that takes
    much longer than the others ends last, whenever it begins.
    """
    plan = replace(plan, arrives=0.0, reboot=TEN_MINUTES)
    [found] = answer(plan, runs=1).groups
    others = [seconds for limit, seconds in found.spent.items() if limit not in {found.limit, Limit.REBOOT}]
    assume(found.limit is not Limit.REBOOT and sum(others) < found.spent[found.limit] / 4)
    [change] = [change for change in whole(plan) if change.limit is found.limit]
    saved = found.p50 - answer(change.plan, runs=1).groups[0].p50
    assert saved > found.spent[found.limit] / 4


@settings(deadline=None)
@given(GROUPS)
def test_no_change_is_a_change_for_the_worse_or_none(plan):
    for change in [*small(plan), *whole(plan)]:
        assert change.plan != plan
        assert change.plan.name == plan.name
        assert change.words


def test_groups_that_have_slots_and_no_machines_are_no_error():
    """A group has a semaphore before its first machine is present, and after its last."""
    assert advise(answer(group("a", 0, windows=NIGHTS), group("b", 0, spacing=60.0))).savings == ()
