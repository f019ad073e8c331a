"""Whether a reboot can ever begin: at any time of any year, not only from now on."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.window.possible import longest_if_too_short
from tests.harness.windows import plan

BERLIN = ZoneInfo("Europe/Berlin")
HOUR, HALF_HOUR = timedelta(hours=1), timedelta(minutes=30)
NEVER = timedelta(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("windows", "blackouts", "hours", "longest"),
    [
        (["22:00 for 2h"], [], 2, None),
        (["22:00 for 2h"], [], 3, 2 * HOUR),
        (["22:00 for 2h", "last Sun 09:00 for 8h"], [], 8, None),
        (["02:00 for 2h", "04:00 for 2h"], [], 4, None),
        (["Mon..Fri 00:00 for 24h"], [], 120, None),
        (["Mon..Fri 00:00 for 24h"], [], 144, 120 * HOUR),
        (["00:00 for 24h"], [], 720, None),
        (["22:00 for 4h"], ["23:00 for 30m"], 3, 2.5 * HOUR),
        (["22:00 for 4h"], ["23:00 for 30m", "2026-12-24"], 3, 2.5 * HOUR),
        (["22:00 for 4h"], ["*-01-01..*-11-30"], 4, None),
        (["Fri 10:00 for 1h"], ["*-*-1..30"], 1, None),
        (["Fri 10:00 for 1h"], ["*-*-1..28", "*-*-30..31"], 1, None),
        (["*-02-29 10:00 for 1h"], [], 1, None),
        (["Fri *-02-29 10:00 for 1h"], [], 1, None),
        (["*-02-30 10:00 for 1h"], [], 0, NEVER),
        (["02:00 for 1h"], ["Mon..Sun"], 0, NEVER),
        (["02:00 for 1h"], ["Mon..Sun"], 1, NEVER),
        (["02:00 for 1h"], ["01:00 for 2h"], 0, NEVER),
        ([], ["Mon..Sun"], 0, NEVER),
        ([], ["Fri"], 144, None),
        ([], ["Fri"], 168, 145 * HOUR),
        (["02:00 for 0s"], [], 0, None),
        (["2020-01-01 10:00 for 2h"], [], 2, None),
        (["2120-01-01 10:00 for 2h"], [], 2, None),
        (["2120-01-01 10:00 for 2h"], ["2119-12-01..2120-02-01"], 2, NEVER),
        (["02:00 for 1h"], ["2000-01-01..2150-12-31"], 1, None),
        (["*:0/30 for 5m", "*-12-31 02:00 for 3h"], [], 3, None),
    ],
)
def test_what_can_be_and_what_never_can(windows, blackouts, hours, longest):
    assert longest_if_too_short(plan(*windows, but=blackouts), hours * HOUR, BERLIN) == longest


def test_what_opens_only_in_the_night_of_a_change_of_the_clock_can_be():
    nights = plan("Sat 23:30 for 150m", "Sun 03:00 for 1h")
    assert longest_if_too_short(nights, 3 * HOUR, BERLIN) is None
    assert longest_if_too_short(nights, 3 * HOUR, ZoneInfo("UTC")) == 2.5 * HOUR


@pytest.mark.slow
def test_more_than_anybody_looks_through_passes():
    assert longest_if_too_short(plan("minutely for 5s"), HOUR, BERLIN) is None


MINUTES = st.integers(0, 47).map(lambda half: 30 * half)
CLOCKS = MINUTES.map(lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}")
LENGTHS = st.sampled_from([30, 60, 90, 240, 1410, 1440])
WINDOWS = st.tuples(st.sampled_from(["", "Mon..Fri ", "Sun ", "*-*-1,31 "]), CLOCKS, LENGTHS)
BLACKOUTS = st.one_of(
    st.sampled_from(["Fri", "*-*-1..3", "*-02-01..*-12-31"]),
    st.builds(lambda at, minutes: f"{at} for {minutes}m", CLOCKS, LENGTHS),
)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(WINDOWS, min_size=1, max_size=3), st.lists(BLACKOUTS, max_size=2), st.sampled_from([1, 3, 25, 120]))
def test_it_is_what_brute_force_finds_in_each_half_hour_of_28_years(drawn, blackouts, hours):
    windows = plan(*(f"{days}{at} for {minutes}m" for days, at, minutes in drawn), but=blackouts)
    longest = max(map(len, _half_hours(windows).split(b"\0"))) * HALF_HOUR
    found = longest_if_too_short(windows, hours * HOUR, UTC)
    assert found == (longest if longest < hours * HOUR else None)


def _half_hours(windows):
    """Mark each half hour that is open, of 28 years and what is open at their end."""
    begin, end = datetime(2000, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    marks = bytearray((end - begin + timedelta(days=9)) // HALF_HOUR)
    for mark, parts, last in ((1, windows.windows, end), (0, windows.blackouts, end + timedelta(days=8))):
        for part in parts:
            for found in takewhile(lambda found: found.start < last, part.stretches(begin, UTC)):  # noqa: B023
                first, behind = (max(0, (one - begin) // HALF_HOUR) for one in found)
                marks[first:behind] = bytes([mark]) * (behind - first)
    return bytes(marks)
