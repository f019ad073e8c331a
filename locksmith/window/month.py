"""A month of a calendar: on which of its days a window is open, and on which a blackout is on. Pure."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from locksmith.window.windows import Windows

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Day:
    """A day: whether any of it is open, and whether a blackout is on in any of it."""

    date: date
    is_open: bool
    is_black: bool


def month(windows: Windows, of: date, zone: tzinfo) -> list[list[Day | None]]:
    """Give the weeks of the month of a day, each from Monday to Sunday; None: a day of another month."""
    weeks = calendar.Calendar().monthdatescalendar(of.year, of.month)
    return [[_day(windows, day, zone) if day.month == of.month else None for day in week] for week in weeks]


def _day(windows: Windows, day: date, zone: tzinfo) -> Day:
    begin, end = (datetime.combine(one, time(0), zone).astimezone(UTC) for one in (day, day + _DAY))
    return Day(day, windows.opens(begin, end, zone), windows.has_blackout(begin, end, zone))
