"""Splay: each machine's own moment in a window."""

from datetime import datetime, timedelta
from statistics import mean
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.window.splay import Splay
from tests.harness.windows import plan

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = plan("02:00 for 4h")
OPENS = datetime(2026, 5, 1, 2, tzinfo=BERLIN)


def moment(machine, day=0, share=1.0, least=timedelta(0)):
    opens = OPENS + timedelta(days=day)
    asks_from = Splay(share, f"machine-{machine}").asks_from(NIGHT, opens, least)
    return timedelta(0) if asks_from is None else asks_from - opens


@pytest.mark.slow
def test_ten_thousand_machines_spread_over_the_share_of_the_window():
    moments = sorted(moment(machine, share=0.5) for machine in range(10_000))
    assert moments[-1] < timedelta(hours=2)
    assert 58 < mean(one.total_seconds() / 60 for one in moments) < 62
    second = timedelta(seconds=1)
    in_one_second = max(sum(1 for one in moments[i : i + 40] if one - moments[i] < second) for i in range(9000))
    assert in_one_second < 20


def test_no_machine_is_always_the_first():
    firsts = {min(range(50), key=lambda machine: moment(machine, day)) for day in range(20)}
    assert len(firsts) > 10


def test_the_moment_leaves_what_a_reboot_needs():
    assert max(moment(machine, least=timedelta(hours=3)) for machine in range(200)) < timedelta(hours=1)
    assert moment(1, least=timedelta(hours=5)) == timedelta(0)


@given(st.integers(0, 500), st.integers(0, 4 * 3600))
def test_before_its_moment_it_waits_for_it_and_behind_it_asks_at_once(machine, seconds):
    now, at = OPENS + timedelta(seconds=seconds), moment(machine)
    expected = OPENS + at if at > timedelta(seconds=seconds) else None
    assert Splay(1.0, f"machine-{machine}").asks_from(NIGHT, now) == expected


def test_outside_of_windows_and_at_any_time_nobody_waits():
    assert Splay(1.0, "n1").asks_from(NIGHT, OPENS - timedelta(hours=1)) is None
    assert Splay(1.0, "n1").asks_from(plan(but=["2027-01-01"]), OPENS) is None
    assert Splay(0.0, "n1").asks_from(NIGHT, OPENS) is None


def test_after_a_blackout_the_rest_of_the_window_is_spread_over():
    cut = plan("02:00 for 4h", but=["03:00 for 2h"])
    behind = OPENS + timedelta(hours=3)
    moments = [Splay(1.0, f"n{number}").asks_from(cut, behind) for number in range(100)]
    assert all(one is None or behind < one < behind + timedelta(hours=1) for one in moments)
    assert len(set(moments)) > 90


def test_a_window_that_is_always_open_is_spread_over_day_by_day():
    always = plan("00:00 for 24h")
    for day in range(5):
        at = OPENS.replace(hour=23, minute=59) + timedelta(days=day)
        asks_from = Splay(0.9, "n1").asks_from(always, at)
        assert asks_from is None
