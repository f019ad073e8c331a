"""The windows against brute force: minute by minute, two days around every change of the clock in 50 years.

The oracle knows nothing of offsets, gaps or folds: it reads the clock on the wall at each minute, opens a window at the
first minute at which the clock of a day shows its start or later, and counts the minutes that go by from there. A day
off lasts from the first minute that shows it to the last. Changes that look the same on the wall are looked at once.
"""

import os
import random
from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from locksmith.window.blackout import Blackout
from locksmith.window.window import Window
from locksmith.window.windows import Windows

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)
PORTS = 2 * DAY
LONGEST_HOURS = 30
PARTS = 8
"""The zones are looked at in so many tests."""
TRIED = int(os.environ.get("CALENDAR_PARTS", str(PARTS)))
"""How many of them run."""


def changes(zone):
    """Find every change of a zone's clock: the first minute after it."""
    found, moment = [], FIRST
    while moment < LAST:
        later = moment + 7 * DAY
        if offset(later, zone) != offset(moment, zone):
            low, high = 0, 7 * 24 * 60
            while high - low > 1:
                middle = (low + high) // 2
                same = offset(moment + middle * MINUTE, zone) == offset(moment, zone)
                low, high = (middle, high) if same else (low, middle)
            found.append(moment + high * MINUTE)
        moment = later
    return tuple(found)


def offset(moment, zone):
    return moment.astimezone(zone).utcoffset()


@cache
def all_changes():
    """Give each change once, with one of its zones: what the clock shows before and after, and when."""
    found: dict[tuple[object, ...], tuple[ZoneInfo, datetime]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for moment in changes(zone):
            before, after = offset(moment - MINUTE, zone), offset(moment, zone)
            found.setdefault((moment + before, before, after), (zone, moment))
    return list(found.values())


RULES = {
    "": lambda _day: True,
    "Mon..Fri": lambda day: day.weekday() < 5,
    "Sat,Sun": lambda day: day.weekday() >= 5,
    "last Sun": lambda day: day.weekday() == 6 and (day + 7 * DAY).month != day.month,
    "2nd Sun": lambda day: day.weekday() == 6 and 8 <= day.day <= 14,
    "*-*-1,15,28": lambda day: day.day in {1, 15, 28},
}
BLACK = {"Mon": lambda day: day.weekday() == 0, "*-*~1": lambda day: (day + DAY).month != day.month}


class Plan:
    """What is drawn: text for the windows under test, and plain rules about days for the oracle."""

    def __init__(self, rng, near):
        """`near`: what the clock on the wall shows around the change: starts there are drawn oftener."""
        self.windows = []
        for _ in range(rng.randint(1, 2)):
            days = rng.choice([*RULES, "", "", "last Sun", "2nd Sun"])
            start = rng.choice([*near, time(rng.randint(0, 23), rng.randint(0, 59))])
            self.windows.append((days, start, rng.choice([1, 30, 60, 90, 240, 1500, LONGEST_HOURS * 60])))
        self.blackout = rng.choice([None, None, *BLACK])

    def parsed(self):
        texts = [f"{days} {start:%H:%M} for {length}m".strip() for days, start, length in self.windows]
        return Windows(tuple(map(Window.parse, texts)), (Blackout.parse(self.blackout),) if self.blackout else ())

    def open_minutes(self, shown):
        """Tell for each minute, of which the clock shows `shown`, whether it is open (its end is looked at apart)."""
        is_open = bytearray(len(shown))
        days = sorted({moment.date() for moment in shown})
        for rule, start, length in self.windows:
            for day in filter(RULES[rule], days):
                begins = datetime.combine(day, start)
                first = next((i for i, moment in enumerate(shown) if moment >= begins), None)
                if first is not None and first > 0:  # what began before the first minute is unknown
                    end = min(first + length, len(shown))
                    is_open[first:end] = b"\1" * (end - first)
        if self.blackout:
            dates = [moment.date() for moment in shown]
            for day in filter(BLACK[self.blackout], days):
                first, last = dates.index(day), len(dates) - dates[::-1].index(day)
                is_open[first:last] = bytes(last - first)
        return is_open


def minutes_open(windows, first, count, zone):
    """Draw the same picture from what the windows say is next, and until when."""
    is_open = bytearray(count)
    end = first + count * MINUTE
    for one in windows.upcoming(first.astimezone(zone)):
        opens = max(one.opens.astimezone(UTC) if one.opens else first, first)
        if opens >= end:
            break
        closes = min(one.closes.astimezone(UTC) if one.closes else end, end)
        begin, stop = (opens - first) // MINUTE, (closes - first) // MINUTE
        is_open[begin:stop] = b"\1" * (stop - begin)
        if one.closes is None:
            break
    return is_open


def look(rng, zone, change):
    back = PORTS + timedelta(hours=LONGEST_HOURS) + DAY
    begin = (change - back).replace(second=0, microsecond=0)
    moments = [begin + i * MINUTE for i in range((back + PORTS) // MINUTE)]
    shown = [moment.astimezone(zone).replace(tzinfo=None, fold=0) for moment in moments]
    at = back // MINUTE
    plan = Plan(
        rng,
        [shown[at + shift].time() for shift in (-61, -31, -30, -1, 0, 1, 29)]
        + [(shown[at - 1] + shift * MINUTE).time() for shift in (1, 20, 61)],
    )
    windows, skip = plan.parsed(), (back - PORTS) // MINUTE
    theirs, ours = plan.open_minutes(shown)[skip:], minutes_open(windows, moments[skip], len(shown) - skip, zone)
    assert ours == theirs, (str(windows), zone, change, first_difference(ours, theirs, moments[skip]))
    return windows, moments[skip:], theirs


def first_difference(ours, theirs, first):
    where = next(i for i, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
    return first + where * MINUTE, bool(ours[where]), bool(theirs[where])


def check_contains(rng, zone, windows, moments, is_open):
    """Ask at minutes, half of them at an edge; a window's last instant is open, so there a second later."""
    edges = [i for i in range(1, len(moments)) if is_open[i] != is_open[i - 1]]
    for i in [*rng.sample(edges, min(3, len(edges))), *rng.sample(range(1, len(moments)), 3)]:
        ends_here = is_open[i - 1] and not is_open[i]
        moment = moments[i] + (timedelta(seconds=1) if ends_here else timedelta(0))
        assert windows.contains(moment.astimezone(zone)) == bool(is_open[i]), (str(windows), zone, moment)


@pytest.mark.parametrize("part", range(TRIED))
def test_around_every_change_of_the_clock_the_windows_are_those_of_brute_force(part):
    chosen = all_changes()[part::PARTS]
    rng = random.Random(part)
    for zone, change in chosen:
        check_contains(rng, zone, *look(rng, zone, change))
    assert len(chosen) > 300


def test_so_they_are_at_any_other_time():
    rng = random.Random(5)
    for name in sorted(available_timezones())[::3]:
        moment = FIRST + rng.random() * (LAST - FIRST)
        look(rng, ZoneInfo(name), moment.replace(second=0, microsecond=0))
