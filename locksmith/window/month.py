"""A month of a calendar: the days with an open window, and the days with a blackout. Pure."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

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
    return [[_day(windows, day, zone) if day.month == of.month else None for day in week] for week in weeks]


def _day(windows: Windows, day: date, zone: tzinfo) -> Day:
    begin, end = (datetime.combine(one, time(0), zone).astimezone(UTC) for one in (day, day + _DAY))
    return Day(day, windows.opens(begin, end, zone), windows.has_blackout(begin, end, zone))
