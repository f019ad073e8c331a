"""What a rollout will do: plans, and the model's arithmetic."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.errors import UsageError
from locksmith.fleet.forecast.fleet_plan import group_plan
from locksmith.fleet.forecast.model import counts, run_group
from locksmith.fleet.forecast.openings import Openings
from locksmith.fleet.forecast.plan import GroupPlan, RolloutPlan, parse_plan
from locksmith.fleet.forecast.spread import Spread
from locksmith.fleet.group import GroupView
from locksmith.lock.records.incident import HaltAfter
from locksmith.lock.records.node import Node
from locksmith.lock.records.semaphore import Semaphore
from tests.harness.windows import plan as windows

START = datetime(2026, 5, 4, 12, tzinfo=UTC)  # a Monday
TEN_MINUTES = Spread(600.0, 600.0)


def group(machines=4, slots=1, **changes):
    return GroupPlan("db", machines, slots, reboot=changes.pop("reboot", TEN_MINUTES), **changes)


def run(plan, seed=1):
    return run_group(plan, Openings(plan, START), Random(seed), keep=True)


def minutes(plan):
    return (run(plan).ended - START.timestamp()) / 60


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (group(), 40),
        (group(slots=2), 20),
        (group(slots=9), 10),
        (group(health=Spread(60.0, 60.0), hooks=Spread(120.0, 120.0)), 52),
        (group(slots=2, spacing=480.0), 34),
        (group(windows=windows("12:15 for 30m")), 15 + 40),
        (group(windows=windows("12:15 for 20m")), 15 + 24 * 60 + 10),
        (group(windows=windows("12:15 for 20m"), least=timedelta(minutes=5)), 15 + 24 * 60 + 20),
        (group(windows=windows("12:15 for 30m", but=["2026-05-04"])), 15 + 24 * 60 + 40),
        (group(failure=1.0, repair=Spread(3600.0, 3600.0)), 4 * 70),
        (group(slots=4, failure=1.0, repair=Spread(3600.0, 3600.0)), 70),
        (group(slots=2, failure=1.0, repair=Spread(3600.0, 3600.0)), 140),
        (group(slots=2, failure=1.0, repair=Spread(3600.0, 3600.0), halt_after=HaltAfter(0)), 140),
    ],
)
def test_without_chance_it_is_arithmetic(plan, expected):
    assert minutes(plan) == pytest.approx(expected)


def test_a_group_that_is_halted_waits_with_slots_free():
    one_of_two = group(machines=10, slots=5, failure=1.0, repair=Spread(3600.0, 3600.0), halt_after=HaltAfter(1))
    begun = [reboot.begin for reboot in run(one_of_two).reboots]
    assert [round((begin - START.timestamp()) / 60) for begin in begun] == [0] * 5 + [70] * 5


def test_machines_that_come_to_want_it_one_by_one_do_not_wait_for_others():
    arriving = group(machines=1000, slots=1000, arrives=86400.0)
    assert 23 * 60 < minutes(arriving) < 24 * 60 + 10


def test_what_never_opens_is_refused_with_a_sentence():
    with pytest.raises(UsageError, match="group db never comes to its end: after 2026-05-04 no window opens"):
        run(group(windows=windows("2026-05-04 10:00 for 1h")))
    with pytest.raises(UsageError, match="no window opens that is long enough"):
        run(group(windows=windows("2026-05-05 10:00 for 1h"), least=timedelta(hours=2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (group(windows=windows("02:00 for 3h", but=["00:00 for 24h"])), "no window opens that is long enough"),
        (group(windows=windows("*:0/2 for 1m", but=["00:00 for 24h"])), "no window opens that is long enough"),
        (group(windows=windows("02:00 for 1h"), least=timedelta(hours=2)), "no window opens that is long enough"),
        (group(machines=1000, windows=windows("Mon 02:00 for 5m")), "group db is not done within ten years"),
        (group(machines=1000, reboot=Spread(3e6, 3e6)), "group db is not done within ten years"),
    ],
)
def test_what_takes_for_ever_is_refused_and_not_waited_for(plan, sentence):
    with pytest.raises(UsageError, match=sentence):
        run(plan)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(["02:00 for 3h", "04:00 for 2h", "Sat 22:00 for 30h", "*:00 for 15m"]), max_size=3),
    st.lists(st.sampled_from(["03:00 for 30m", "Sun", "*-05-04..*-05-06", "01:30 for 1h"]), max_size=2),
    st.integers(0, 7 * 24 * 60),
)
def test_the_openings_are_those_of_the_windows(opens, black, minute):
    """`Windows` looks around one moment at a time; here they are gone through once."""
    plan = windows(*opens, but=black)
    at = START + timedelta(minutes=minute, seconds=30)
    opened = Openings(group(windows=plan), START).between(START.timestamp(), START.timestamp() + 8 * 86400, 10**4)
    assert plan.contains(at) == any(begin <= at.timestamp() <= end for begin, end in opened)


def test_always_open_windows_are_no_hindrance():
    assert minutes(group(machines=2000, slots=1, windows=windows("00:00 for 24h"))) == 2000 * 10


PLANS = st.builds(
    group,
    machines=st.integers(1, 12),
    slots=st.integers(1, 5),
    failure=st.sampled_from([0.0, 0.0, 0.2]),
    halt_after=st.sampled_from([HaltAfter(0), HaltAfter(1), HaltAfter(2)]),
    arrives=st.sampled_from([0.0, 0.0, 7200.0]),
    spacing=st.sampled_from([0.0, 300.0]),
    windows=st.sampled_from([None, windows("02:00 for 3h"), windows("Sat 22:00 for 8h", but=["*-05-09..*-05-09"])]),
    reboot=st.sampled_from([TEN_MINUTES, Spread(60.0, 600.0), Spread(300.0, 60.0, normal=True)]),
)


@pytest.mark.slow
@settings(max_examples=60)
@given(PLANS, st.integers(0, 99))
def test_no_run_breaks_what_the_plan_says(plan, seed):
    found = run(plan, seed)
    begun = [reboot.begin for reboot in found.reboots]
    assert len(begun) == plan.machines
    assert begun == sorted(begun)
    assert all(later - sooner >= plan.spacing for sooner, later in pairwise(begun))
    for begin in begun:
        assert sum(one.begin <= begin < one.end for one in found.reboots) <= plan.slots
        assert plan.windows is None or plan.windows.contains(datetime.fromtimestamp(begin, UTC))
    at_last, at_the_end = counts(found, [begun[-1], found.ended])
    assert at_the_end == (plan.machines, 0, 0, 0)
    assert sum(at_last) == plan.machines
    assert found.most <= plan.slots
    assert sum(found.spent.values()) == pytest.approx(found.ended - found.began)
    assert all(seconds >= 0 for seconds in found.spent.values())


HOUR = Spread(3600.0, 3600.0)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (group(), {"slots": 30, "reboot": 10}),
        (group(slots=9), {"reboot": 10}),
        (group(slots=2, spacing=480.0), {"spacing": 24, "reboot": 10}),
        (group(slots=2, spacing=1200.0), {"spacing": 60, "reboot": 10}),
        (group(slots=1, spacing=480.0), {"slots": 30, "reboot": 10}),
        (group(windows=windows("12:15 for 30m")), {"window": 15, "slots": 30, "reboot": 10}),
        # From 12:30 on it is the window, though the slot is in use until 12:35.
        (group(windows=windows("12:15 for 15m")), {"window": 15 + 24 * 60 - 15, "slots": 25, "reboot": 10}),
        (group(failure=1.0, repair=HOUR), {"slots": 30, "failures": 4 * 60, "reboot": 10}),
        (group(slots=4, failure=1.0, repair=HOUR), {"failures": 60, "reboot": 10}),
        (
            group(slots=2, failure=1.0, repair=HOUR, halt_after=HaltAfter(0)),
            {"slots": 10, "failures": 120, "reboot": 10},
        ),
        (
            group(failure=1.0, repair=HOUR, windows=windows("12:00 for 15m")),
            {"slots": 4 * 10 - 10, "failures": 3 * 5 + 60, "window": 3 * (24 * 60 - 15), "reboot": 10},
        ),
    ],
)
def test_all_time_is_put_down_to_what_was_in_the_way(plan, expected):
    spent = run(plan).spent
    assert {limit.value: round(seconds / 60) for limit, seconds in spent.items() if seconds} == expected


EXAMPLE = """
start = "2026-12-01T12:00"
[groups.db]
machines = 300
slots = "1%"
reboot = "90s..4m"
health = "3m+-30s"
failure = "0.5%"
halt-after = "off"
spacing = "1m"
[groups.db.window]
open = ["Mon..Fri 02:00 for 3h"]
blackouts = ["*-12-24"]
zone = "UTC"
min-remaining = "20m"
"""


def test_a_plan_is_read():
    [found] = parse_plan(EXAMPLE, START).groups
    assert (found.machines, found.slots, found.reboot, found.health) == (
        300, 3, Spread(90.0, 240.0), Spread(180.0, 30.0, normal=True),
    )  # fmt: skip
    assert (found.failure, found.halts_at, found.spacing, found.least) == (0.005, None, 60.0, timedelta(minutes=20))
    assert parse_plan(EXAMPLE, START).start == datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x", "the plan is not TOML"),
        (f"start = {'[' * 2000}", "the plan is not TOML that can be read: it is nested too deeply"),
        (
            "start = 9999-12-31T23:59:59-12:00\n[groups.db]",
            "start 9999-12-31 23:59:59-12:00: the year must be one from 1971 to 2198, not 9999",
        ),
        ("", "the plan has no group: write [groups.NAME]"),
        ("groups = 1", "the plan has no group"),
        ("grups = 1", "the plan has 'grups', which is no key of it: did you mean groups?"),
        ("[groups.db]\nslots = 1", "groups.db.machines is missing"),
        ("[groups.db]\nmachines = 0\nslots = 1", "groups.db.machines: must be a whole number from 1 to 1000000, not 0"),
        ("[groups.db]\nmachines = 5\nslots = 'x%'", "groups.db.slots: must be a share from 0% to 100%"),
        ("[groups.db]\nmachines = 5\nslots = 1\nreboot = 'soon'", "groups.db.reboot: 'soon' is not a duration"),
        ("[groups.db]\nmachines = 5\nslots = 1\nreboot = '4m..1m'", "groups.db.reboot: '4m..1m' ends before it begins"),
        ("[groups.db]\nmachines = 5\nslots = 1\nfailure = 2", "groups.db.failure: must be a share from 0% to 100%"),
        ("[groups.db]\nmachines = 5\nslots = 1\nwindow.open = ['x']", "groups.db.window: 'x' is not a window"),
        ("[groups.db]\nmachines = 5\nslots = 1\nwindow.opens = []", "groups.db.window has 'opens', which is no key of"),
        ("[groups.db]\nmachines = 5\nslots = '0%'", "groups.db.slots: must be more than 0%: without a slot nothing"),
        ("[groups.db]\nmachines = 5\nslots = 1\nspacing = '-5m'", "groups.db.spacing: '-5m' is less than nothing"),
        ("[groups.db]\nmachines = 5\nslots = 1\nwindow.min-remaining = '-5m'", "window: '-5m' is less than nothing"),
        ("[groups.'']\nmachines = 5\nslots = 1", "a group needs a name that can be printed, not ''"),
        ('[groups."\\u001b"]\nmachines = 5\nslots = 1', r"a group needs a name that can be printed, not '\x1b'"),
        (
            "start = 12:00:00\n[groups.db]\nmachines = 5\nslots = 1",
            "start must be a time like 2026-12-01T12:00, not '12:",
        ),
        ("start = 'x'\n[groups.db]\nmachines = 5\nslots = 1", "start must be a time like 2026-12-01T12:00, not 'x'"),
    ],
)
def test_what_is_no_plan_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(UsageError) as refused:
        parse_plan(text, START)
    assert sentence in str(refused.value)


@given(st.text() | st.text(alphabet='[]groups.db="1machines\n%- :'))
def test_any_text_is_a_plan_or_refused(text):
    try:
        assert isinstance(parse_plan(text, START), RolloutPlan)
    except UsageError as error:
        assert str(error)  # noqa: PT017 (most texts are refused, some are not)


def test_a_fleet_as_it_is_becomes_a_plan():
    def node(name, *opens):
        return Node(name, name, "boot", "db", "etcd-lock", "idle", START, windows=opens)

    machines = {f"n{i}": node(f"n{i}", "02:00 UTC for 3h") for i in range(3)} | {"odd": node("odd")}
    view = GroupView("db", Semaphore(2), {}, (), machines, revision=1)
    found = group_plan(view, [30.0, 60.0], TEN_MINUTES)
    assert found is not None
    assert (found.machines, found.slots, str(found.windows)) == (4, 2, "02:00 UTC for 3h")
    assert found.reboot == TEN_MINUTES
    seen = group_plan(view, [30.0, 60.0, 60.0, 40.0, 50.0], TEN_MINUTES)
    assert seen is not None
    assert seen.reboot.mean == 48.0
    assert group_plan(GroupView("db", Semaphore(2), {}, (), {}, revision=1), [], TEN_MINUTES) is None
