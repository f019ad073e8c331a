"""A month of a calendar: the days with an open window, and the days with a blackout. Pure."""

import calendar
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from locksmith.window.window import Stretch
from locksmith.window.windows import Windows

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Day:
    """A day: whether a window is open at some time of it, and whether a blackout is on."""

    date: date
    is_open: bool
    is_black: bool


def month(windows: Windows, of: date, zone: tzinfo) -> list[list[Day | None]]:
    """Give the weeks of a day's month, each from Monday to Sunday; None: a day of another month."""
    weeks = calendar.Calendar().monthdatescalendar(of.year, of.month)
    days = [day for week in weeks for day in week if day.month == of.month]
    begins = [_midnight(day, zone) for day in [*days, days[-1] + _DAY]]
    is_open = _marked(windows.opens(begins[0], begins[-1], zone), begins)
    is_black = _marked(windows.blacks(begins[0], begins[-1], zone), begins)
    found = {day: Day(day, is_open[at], is_black[at]) for at, day in enumerate(days)}
    return [[found.get(day) for day in week] for week in weeks]


def _marked(stretches: Iterable[Stretch], begins: list[datetime]) -> list[bool]:
    """Tell of each day whether one of the stretches, which come in order, is in it; `begins` has a last day's end."""
    marked = [False] * (len(begins) - 1)
    for found in stretches:
        # The last instant of a stretch belongs to no day of its own, unless the stretch is that instant.
        first = bisect_right(begins, found.start) - 1
        last = bisect_left(begins, found.end) - 1 if found.end > found.start else first
        for at in range(max(0, first), min(last, len(marked) - 1) + 1):
            marked[at] = True
    return marked


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(0), zone).astimezone(UTC)
