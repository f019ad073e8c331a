"""The window of the original: one start, every day or one day a week, and a length.

The start is what a clock on the wall of the machine's zone shows; the length is time that goes by. So at a change
of daylight saving a window opens once, at the first of two equal hours or right after a skipped one, and stays open
as long as ever.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Self

from locksmith.errors import UsageError
from locksmith.window.duration import format_duration, parse_duration

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{1,2})")
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)

# A weekly opening is at most 7 days and a shift of the clock back; it is up to 14 ahead where a zone left out a day
# (Pacific/Apia had no 30 December 2011).
_NEARBY = range(-8, 16)


@dataclass(frozen=True, slots=True)
class WindowStart:
    """When a window opens: a time of the day, on one day of the week (Monday is 0) or on every one (None)."""

    at: time
    day: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `23:05` or `Sat 23:05`; `ValueError` says in one sentence why it is none."""
        words = text.split()
        clock = _CLOCK.fullmatch(words[-1]) if 1 <= len(words) <= 2 else None  # noqa: PLR2004 (a day and a time)
        if clock is None:
            raise ValueError(f"{text!r} is not a start: write a time like 23:05, or a day and a time like Sat 23:05")
        return cls(_time(text, *map(int, clock.groups())), _day(text, words[0]) if words[1:] else None)

    def __str__(self) -> str:
        """Write it as it is configured."""
        day = "" if self.day is None else f"{_DAYS[self.day].title()} "
        return f"{day}{self.at:%H:%M}"

    def falls_on(self, day: date) -> bool:
        """Tell whether the window opens on a day of the calendar."""
        return self.day is None or self.day == day.weekday()

    def instant(self, day: date, zone: tzinfo) -> datetime | None:
        """Find the instant (UTC) a day's clock first shows the start or later; None where the day does not exist."""
        first = datetime.combine(day, self.at, zone)
        skipped = _offset(first.replace(fold=1)) - _offset(first)  # PEP 495: positive for a time in a gap only
        if skipped <= timedelta(0):
            return first.astimezone(UTC)
        return None if skipped >= _DAY else _end_of_gap(first.astimezone(UTC), skipped, zone)


@dataclass(frozen=True, slots=True)
class RebootWindow:
    """A window that comes back every day or every week; `UsageError` when it would never close.

    Each `now` is aware of its zone: the machine's, best a `ZoneInfo` that knows of daylight saving.
    """

    start: WindowStart
    length: timedelta

    def __post_init__(self) -> None:
        """Refuse a length that leaves no time outside."""
        period, word = (_DAY, "daily") if self.start.day is None else (_WEEK, "weekly")
        length, limit = format_duration(self.length), format_duration(period)
        if self.length < timedelta(0):
            raise UsageError(f"the window's length {length} is negative")
        if self.length >= period:
            raise UsageError(f"the window's length {length} is too long: a {word} window is shorter than {limit}")

    @classmethod
    def parse(cls, start: str, length: str) -> Self:
        """Read a start (`[Day ]HH:MM`) and a length (`1h30m`); `UsageError` says which of them is wrong and why."""
        try:
            opens = WindowStart.parse(start)
        except ValueError as error:
            raise UsageError(f"the window's start {error}") from None
        try:
            lasts = parse_duration(length)
        except ValueError as error:
            raise UsageError(f"the window's length {error}") from None
        return cls(opens, lasts)

    def __str__(self) -> str:
        """Write it for a person: `Sat 23:05 for 11h`."""
        return f"{self.start} for {format_duration(self.length)}"

    def contains(self, now: datetime) -> bool:
        """Tell whether the window is open, both its ends included."""
        return self._opened(now) is not None

    def next_open(self, now: datetime) -> datetime:
        """Give the start of the window that is open, or else of the next one, in the zone of `now`."""
        return self._next_open(now).astimezone(now.tzinfo)

    def closes(self, now: datetime) -> datetime | None:
        """Give the last instant of the window that is open, in the zone of `now`; None: it is closed."""
        opened = self._opened(now)
        return opened and (opened + self.length).astimezone(now.tzinfo)

    def time_to_start(self, now: datetime) -> timedelta:
        """Tell how long it is to the next opening; zero or negative: how deep inside `now` is."""
        return self._next_open(now) - now

    def _next_open(self, now: datetime) -> datetime:
        return self._opened(now) or next(opening for opening in self._openings(now) if opening > now)

    def _opened(self, now: datetime) -> datetime | None:
        opened = [opening for opening in self._openings(now) if opening <= now <= opening + self.length]
        return opened[-1] if opened else None

    def _openings(self, now: datetime) -> Iterator[datetime]:
        # In UTC: Python subtracts and compares two times of one zone by what their clocks show, not by what goes by.
        if now.tzinfo is None:
            raise ValueError(f"{now} has no time zone")
        days = (now.date() + timedelta(days=near) for near in _NEARBY)
        instants = (self.start.instant(day, now.tzinfo) for day in days if self.start.falls_on(day))
        return (instant for instant in instants if instant is not None)


def _time(text: str, hour: int, minute: int) -> time:
    try:
        return time(hour, minute)
    except ValueError:
        raise ValueError(f"{text!r} is not a start: the hour is 0 to 23 and the minute 0 to 59") from None


def _day(text: str, word: str) -> int:
    try:
        return _DAYS.index(word.lower())
    except ValueError:
        raise ValueError(f"{text!r} is not a start: {word!r} is none of Sun, Mon, Tue, Wed, Thu, Fri, Sat") from None


def _end_of_gap(inside: datetime, skipped: timedelta, zone: tzinfo) -> datetime:
    """Find the instant the clock jumped, to the second: `inside` is less than `skipped` after it."""
    after = _offset(inside.astimezone(zone))
    earliest = inside - skipped
    seconds = range(int(skipped.total_seconds()))

    def jumped(second: int) -> bool:
        return _offset((earliest + timedelta(seconds=second)).astimezone(zone)) == after

    return earliest + timedelta(seconds=bisect_left(seconds, True, key=jumped))


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta(0)
