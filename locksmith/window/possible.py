"""Whether a reboot can ever begin in some windows: what can never be is a mistake of whoever wrote it. Pure.

It does not depend on the present: a configuration whose only windows are over is not wrong, and a machine that comes up
after them has something to give back.
"""

from datetime import UTC, datetime, timedelta, tzinfo

from locksmith.window.blackout import Blackout, Period, WholeDays
from locksmith.window.calendar import LAST_YEAR
from locksmith.window.openings import Pass, TooManyStretchesError, is_long, joined, pieces
from locksmith.window.window import Window
from locksmith.window.windows import Windows

_FIRST, _CYCLE = 2000, 28
"""Within so many years every day of a year has been every day of a week, and is so again in the same order."""
_MOST = 200_000
"""Stretches that are looked at: a second's worth. What has more of them passes."""


def longest_if_too_short(windows: Windows, least: timedelta, zone: tzinfo) -> timedelta | None:
    """Give the longest opening that there ever is, where none is as long as `least` (0: there is no opening at all).

    None: a reboot can begin some day, or there is too much to look through.
    """
    # What names a year is not in every cycle: then all years that a calendar has are looked at.
    dated = any(map(_is_dated, windows.windows)) or any(map(_is_dated, windows.blackouts))
    last = LAST_YEAR if dated else _FIRST + _CYCLE
    since, until = datetime(_FIRST, 1, 1, tzinfo=UTC), datetime(last, 1, 1, tzinfo=UTC)
    longest: timedelta | None = None
    try:
        for found in joined(pieces(windows.windows, windows.blackouts, Pass(since, zone, until, _MOST))):
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
            return bool(days.years)
        case Window(starts=starts):
            return bool(starts.years)
