"""A maintenance window, as it is written (`Mon..Fri 02:00 for 3h`), and when it opens and closes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple, Self

from locksmith.errors import UsageError
from locksmith.window.calendar import Calendar
from locksmith.window.duration import format_duration, parse_duration

LONGEST = timedelta(days=7)
_DAY = timedelta(days=1)
_SHIFT = 2
"""Days to go further back: a zone can be a day ahead, and may have left out a day (Pacific/Apia, 2011)."""


class Stretch(NamedTuple):
    """Time from one instant to another, both UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """A window that opens at the times of a calendar expression, each time for the same elapsed time.

    Both ends are part of the window. `UsageError`: the length is negative or longer than 7 days.
    """

    starts: Calendar
    length: timedelta

    def __post_init__(self) -> None:
        """Refuse a length that is negative or too long."""
        if self.length < timedelta(0):
            raise UsageError(f"the window's length {format_duration(self.length)} is negative")
        if self.length > LONGEST:
            longest = format_duration(LONGEST)
            raise UsageError(f"the window's length {format_duration(self.length)} is too long: at most {longest}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `START for LENGTH`; `UsageError` says what is wrong."""
        starts, word, length = text.rpartition(" for ")
        if not word:
            raise UsageError(f"{text!r} is not a window: write a start and a length, like Mon..Fri 02:00 for 3h")
        return cls(parse_starts(starts), _length(length))

    @classmethod
    def original(cls, start: str, length: str) -> Self:
        """Read CoreOS locksmith's two settings; `UsageError` says which of them is wrong and why."""
        return cls.of_original(parse_starts(start), _length(length))

    @classmethod
    def of_original(cls, starts: Calendar, length: timedelta) -> Self:
        """Give the window of CoreOS locksmith's two settings. `UsageError`: it is longer than its day, or its week."""
        period, word = (_DAY, "daily") if starts.is_daily else (LONGEST, "weekly")
        if length >= period:
            long, limit = format_duration(length), format_duration(period)
            raise UsageError(f"the window's length {long} is too long: a {word} window is shorter than {limit}")
        return cls(starts, length)

    def __str__(self) -> str:
        """Give its text, which `parse` reads again: `Sat 23:05 for 11h`."""
        return f"{self.starts} for {format_duration(self.length)}"

    def lasting(self) -> Self:
        """Give the window if it lasts. `UsageError`: it does not; a person who writes that means something else."""
        if not self.length:
            raise UsageError(f"the window {str(self)!r} lasts no time: no reboot would ever begin in it")
        return self

    def in_zone(self, zone: tzinfo) -> Self:
        """Give it in a zone, unless its start names its own zone."""
        return replace(self, starts=self.starts.in_zone(zone))

    def stretches(self, since: datetime, zone: tzinfo) -> Iterator[Stretch]:
        """Give each stretch, in order, from before `since` on: every stretch that contains `since` is among them.

        `zone` is for a start that names no zone.
        """
        zone = self.starts.zone or zone
        back = timedelta(days=math.ceil(self.length / _DAY) + _SHIFT)
        for start in self.starts.instants((since.astimezone(zone) - back).date(), zone):
            yield Stretch(start, start + self.length)


def parse_starts(text: str) -> Calendar:
    """Read the start of a window; `UsageError` says in a sentence why it is no start."""
    try:
        return Calendar.parse(text)
    except ValueError as error:
        raise UsageError(f"the window's start {error}") from None


def _length(text: str) -> timedelta:
    try:
        return parse_duration(text.strip())
    except ValueError as error:
        raise UsageError(f"the window's length {error}") from None
