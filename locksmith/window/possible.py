"""Whether a reboot can ever begin in some windows: if not, the configuration is wrong. Pure.

The answer does not depend on the present: windows of the past are no error, because a machine that boots after them may
have to release a slot.
"""

from datetime import UTC, datetime, timedelta, tzinfo

from locksmith.window.blackout import Blackout, Period, WholeDays
from locksmith.window.calendar import DENSE, LAST_YEAR
from locksmith.window.openings import Pass, TooManyStretchesError, is_long, joined, pieces
from locksmith.window.window import Window
from locksmith.window.windows import Windows

_FIRST, _CYCLE = 2000, 28
"""The days of the year and the weekdays repeat after so many years."""
_MOST = 200_000
"""Stretches that are checked: a second's work. Windows with more stretches pass."""
_MOST_DENSE = 50_000
"""The same for windows that open every hour or oftener, which would hardly ever be checked to the end."""


def longest_if_too_short(windows: Windows, least: timedelta, zone: tzinfo) -> timedelta | None:
    """Give the longest opening, if none is ever as long as `least` (0: there is no opening at all).

    None: a reboot can begin some day, or there are too many stretches.
    """
    # An expression with a year is not in every cycle: then all years of the calendar are checked.
    dated = any(map(_is_dated, windows.windows)) or any(map(_is_dated, windows.blackouts))
    last = LAST_YEAR if dated else _FIRST + _CYCLE
    dense = any(len(window.starts.times) >= DENSE for window in windows.windows)
    most = _MOST_DENSE if dense else _MOST
    since, until = datetime(_FIRST, 1, 1, tzinfo=UTC), datetime(last, 1, 1, tzinfo=UTC)
    longest: timedelta | None = None
    try:
        for found in joined(pieces(windows.windows, windows.blackouts, Pass(since, zone, until, most))):
            if is_long(found, least):
                return None
            longest = max(longest or timedelta(0), found.end - found.start)
    except TooManyStretchesError:
        return None
    return longest or timedelta(0)


def _is_dated(part: Window | Blackout) -> bool:
    match part.when if isinstance(part, Blackout) else part:
        case Period() as period:
            return period.first.year is not None
        case WholeDays(days=days):
            return bool(days.years or days.weeks)
        case Window(starts=starts):
            return bool(starts.years or starts.weeks)
