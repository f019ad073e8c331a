"""Blackouts: time in which no window is open.

- `2026-12-24`, `Fri`, `last Fri`, `*-12-24..26`, `*-*-1`: whole days of a calendar expression
- `2026-12-20..2027-01-06`, `*-12-20..*-01-06`: from one day to another, both included, once or every year
- `2026-12-24 18:00..2026-12-27 06:00`: from one time to another
- `Fri 12:00 for 12h`: from each start on for a length

A time zone may be at the end (before `for`).
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Self

from locksmith.errors import UsageError
from locksmith.window.calendar import LAST_YEAR, Calendar, parse_zone, with_zone
from locksmith.window.clock_changes import instant, last_instant
from locksmith.window.window import Stretch, Window

_DATE = r"(\d{4}|\*)-(\d{1,2})-(\d{1,2})(?: (\d{1,2}:\d{2}))?"
_RANGE = re.compile(rf"{_DATE} ?\.\. ?{_DATE}(?: (\S+))?")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class WholeDays:
    """Every day of a calendar expression, from the first instant to the last at which a clock shows it."""

    days: Calendar

    def in_zone(self, zone: tzinfo) -> Self:
        """Give it in a zone, unless it names its own zone."""
        return replace(self, days=self.days.in_zone(zone))

    def __str__(self) -> str:
        """Give its text, which `parse` reads again."""
        return str(self.days)

    def stretches(self, since: datetime, zone: tzinfo) -> Iterator[Stretch]:
        """Give each stretch, in order, from before `since` on: every stretch that contains `since` is among them."""
        zone = self.days.zone or zone
        first = (since.astimezone(zone) - 2 * _DAY).date()
        for start in self.days.instants(first, zone):
            yield Stretch(start, _end_of_day(start.astimezone(zone).date(), zone))


@dataclass(frozen=True, slots=True)
class Moment:
    """A day of one year, or (None) of every year; `at`: a time of that day, or (None) the whole day."""

    year: int | None
    month: int
    day: int
    at: time | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """From one moment to another, both of a year or both of every year. An end before the start is in the next year.

    Its `text` is as it was written.
    """

    text: str
    first: Moment
    last: Moment
    zone: tzinfo | None = None

    def in_zone(self, zone: tzinfo) -> Self:
        """Give it in a zone, unless it names its own zone."""
        return self if self.zone is not None else replace(self, zone=zone, text=with_zone(self.text, zone))

    def __str__(self) -> str:
        """Give its text, as it was written."""
        return self.text

    def stretches(self, since: datetime, zone: tzinfo) -> Iterator[Stretch]:
        """Give the stretch, or the stretch of each year from before `since` on."""
        zone = self.zone or zone
        if self.first.year is not None:
            yield self._stretch(self.first.year, self.last.year or self.first.year, zone)
            return
        turns = (self.last.month, self.last.day) < (self.first.month, self.first.day)
        for year in range(since.year - 2, LAST_YEAR):
            yield self._stretch(year, year + turns, zone)

    def _stretch(self, begins: int, ends: int, zone: tzinfo) -> Stretch:
        first, last = self.first, self.last
        start = _instant(_date(begins, first), first.at or time(0), zone)
        end = _end_of_day(_date(ends, last), zone) if last.at is None else _end(_date(ends, last), last.at, zone)
        return Stretch(start, end)


@dataclass(frozen=True, slots=True)
class Blackout:
    """A blackout. It includes its first instant, and not its last."""

    when: WholeDays | Window | Period

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a blackout; `UsageError` says what is wrong."""
        written = " ".join(text.split())
        if " for " in written:
            return cls(_times(written))
        if (found := _RANGE.fullmatch(written)) is not None:
            return cls(_period(written, found))
        return cls(WholeDays(_days(written)))

    def __str__(self) -> str:
        """Give its text, which `parse` reads again."""
        return str(self.when)

    def in_zone(self, zone: tzinfo) -> Self:
        """Give it in a zone, unless it names its own zone."""
        return replace(self, when=self.when.in_zone(zone))

    def stretches(self, since: datetime, zone: tzinfo) -> Iterator[Stretch]:
        """Give each stretch, in order, from before `since` on; `zone` is for a blackout that names no zone.

        A stretch that a clock skips as a whole has no length, and takes nothing from a window.
        """
        return (found for found in self.when.stretches(since, zone) if found.start < found.end)


def _times(text: str) -> Window:
    times = Window.parse(text)
    if not times.length:
        raise UsageError(f"the blackout {text!r} cannot be: it lasts no time")
    return times


def _days(text: str) -> Calendar:
    try:
        days = Calendar.parse(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a blackout: write days like 2026-12-24, Fri or *-12-24..26, a range like "
            "2026-12-20..2027-01-06 or *-12-20..*-01-06, or a start and a length like Fri 12:00 for 12h"
        ) from None
    if days.has_time:
        raise UsageError(f"the blackout {text!r} has a time and no length: write it like Fri 12:00 for 12h")
    return days


def _period(text: str, found: re.Match[str]) -> Period:
    parts = found.groups()
    try:
        first, last = _moment(*parts[:4]), _moment(*parts[4:8])
        period = Period(text, first, last, parse_zone(parts[8]) if parts[8] else None)
    except ValueError as error:
        raise UsageError(f"the blackout {text!r} cannot be: {error}") from None
    if (first.year is None) != (last.year is None):
        raise UsageError(f"the blackout {text!r} cannot be: both its ends have a year, or both have *")
    start, end = next(period.stretches(datetime(2024, 1, 1, tzinfo=UTC), UTC))
    if end <= start:
        raise UsageError(f"the blackout {text!r} cannot be: it ends before it begins")
    return period


def _moment(year: str, month: str, day: str, at: str | None) -> Moment:
    moment = Moment(
        None if year == "*" else int(year), int(month), int(day), time.fromisoformat(at.zfill(5)) if at else None
    )
    date(moment.year or 2024, moment.month, moment.day)  # a leap year: *-02-29 is a day
    return moment


def _date(year: int, moment: Moment) -> date:
    """Give the day in a year; without a 29th of February that is the 28th."""
    return date(year, moment.month, min(moment.day, calendar.monthrange(year, moment.month)[1]))


def _instant(day: date, at: time, zone: tzinfo) -> datetime:
    """Give the first instant; if a zone left out the day, the first instant of the next."""
    return instant(day, at, zone) or _instant(day + _DAY, time(0), zone)


def _end(day: date, at: time, zone: tzinfo) -> datetime:
    """Give the last instant: a clock that is set back shows it twice."""
    return last_instant(day, at, zone) or _end(day + _DAY, time(0), zone)


def _end_of_day(day: date, zone: tzinfo) -> datetime:
    return _end(day + _DAY, time(0), zone)
