"""Calendar expressions: on which days, and at which times of the day.

The syntax is systemd's (systemd.time(7), "Calendar events"): `Mon..Fri *-*-* 02:00`, `Sat,Sun 23:05`, `*-*-1,15 22:00`,
`*-*~1 22:00` (the last day of a month), `daily`, and a time zone at the end. locksmith's additions are `2nd Tue 22:00`,
`last Fri 22:00` and `Sat 22:00 every 2 weeks from 2026-12-05`. The starts of CoreOS locksmith (`23:05`, `Sat 23:05`)
are such expressions too.

Above 300 lines, in one piece: each function reads or answers for one part of the same expression.
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import product
from typing import Self
from zoneinfo import ZoneInfo

from locksmith.window.calendar_field import MICROSECONDS, Field, Part, TooManyNumbersError, days_from_end
from locksmith.window.clock_changes import instant
from locksmith.window.weeks import Weeks, split_weeks

_LONGEST_TEXT = 200
_MOST_TIMES = 1440
DENSE = 24
"""Times of a day from which on a day's instants are kept."""
_FIRST_YEAR, LAST_YEAR = 1970, 2199
_CENTURY, _PIVOT = 100, 70

_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS = {name[:length]: day for day, name in enumerate(_NAMES) for length in (3, len(name))}
_NTH = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": 0}
_WORDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "anually": "*-01-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
}
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")


@dataclass(frozen=True, slots=True)
class Calendar:
    """A calendar expression; its `text` is as it was written, without superfluous spaces.

    Empty sets mean any. `nth`: the number of a weekday in its month (0: the last). `weeks`: in these weeks only. `zone`
    is the expression's own.
    """

    text: str
    times: tuple[time, ...] = field(compare=False)
    weekdays: frozenset[int] = field(default=frozenset(), compare=False)
    nth: frozenset[int] = field(default=frozenset(), compare=False)
    years: frozenset[int] = field(default=frozenset(), compare=False)
    months: frozenset[int] = field(default=frozenset(), compare=False)
    days: frozenset[int] = field(default=frozenset(), compare=False)
    days_from_end: frozenset[int] = field(default=frozenset(), compare=False)
    zone: tzinfo | None = field(default=None, compare=False)
    has_time: bool = field(default=True, compare=False)
    weeks: Weeks | None = field(default=None, compare=False)

    @staticmethod
    def parse(text: str) -> "Calendar":
        """Read an expression; `ValueError` says in a sentence why it is no expression."""
        if len(text) > _LONGEST_TEXT:
            raise ValueError(f"{text[:_LONGEST_TEXT]!r}... is too long for a start")
        whole = " ".join(text.split())
        left, weeks = split_weeks(whole)
        words, zone = left.split(), None
        if len(words) > 1 and _looks_like_zone(words[-1]):
            zone = parse_zone(words.pop())
        if words and (seconds := re.fullmatch(r"@([0-9]{1,10})", words[-1])):
            words[-1:], zone = _utc(int(seconds[1]), whole), parse_zone("UTC")
        if len(words) == 1:
            words = _WORDS.get(words[0].lower(), words[0]).split()
        found = _read(whole, words, zone)
        return found if weeks is None else replace(found, weeks=_checked(weeks, found))

    def __str__(self) -> str:
        """Give its text, as it was written."""
        return self.text

    @property
    def is_daily(self) -> bool:
        """Whether it has one time on every day."""
        dated = self.weekdays or self.nth or self.years or self.months or self.days or self.days_from_end
        return not dated and len(self.times) == 1

    def in_zone(self, zone: tzinfo) -> Self:
        """Give it in a zone, unless it names its own zone."""
        return self if self.zone is not None else replace(self, zone=zone, text=with_zone(self.text, zone))

    def falls_on(self, day: date) -> bool:
        """Whether it has times on a day of the calendar."""
        if (self.weekdays and day.weekday() not in self.weekdays) or (self.weeks and day not in self.weeks):
            return False
        if (self.months and day.month not in self.months) or (self.years and day.year not in self.years):
            return False
        return self._day_of_month(day)

    def instants(self, first: date, zone: tzinfo) -> Iterator[datetime]:
        """Give every instant (UTC) from a day on, in order; `zone` is for an expression without a zone."""
        zone = self.zone or zone
        # The searches of a window go over the same few days again and again, each with up to 1440 times.
        moments = _of_dense_day if len(self.times) >= DENSE else _of_day
        for day in self._days(first):
            if self.falls_on(day):
                yield from moments(self, day, zone)

    def _days(self, first: date) -> Iterator[date]:
        """Give the days from `first` on that are in its years and months; none if no year has such a day.

        Each check of a window reads these days: a calendar with rare days must not cost more than another.
        """
        if not _has_days(self.weekdays, self.nth, self.months, self.days, self.days_from_end):
            return
        for year in sorted(self.years) if self.years else range(first.year, LAST_YEAR + 1):
            for month in sorted(self.months) if self.months else range(1, 13):
                if (year, month) >= (first.year, first.month):
                    for number in range(1, calendar.monthrange(year, month)[1] + 1):
                        if (day := date(year, month, number)) >= first:
                            yield day

    def _day_of_month(self, day: date) -> bool:
        if self.days and day.day not in self.days:
            return False
        if not self.days_from_end and not self.nth:
            return True
        last = calendar.monthrange(day.year, day.month)[1]
        if self.days_from_end and day.day - last not in self.days_from_end:
            return False
        return not self.nth or (day.day + 6) // 7 in self.nth or (0 in self.nth and day.day > last - 7)


def _of_day(of: Calendar, day: date, zone: tzinfo) -> tuple[datetime, ...]:
    """Give each instant (UTC) of a day on which it falls."""
    return tuple(moment for at in of.times if (moment := instant(day, at, zone)) is not None)


@lru_cache(maxsize=16)
def _of_dense_day(of: Calendar, day: date, zone: tzinfo) -> tuple[datetime, ...]:
    """Do the same. On a day without a change of the clock the instants are counted, which costs a tenth."""
    begin = datetime.combine(day, time(0), zone)
    around = [begin + timedelta(hours=hours) for hours in range(-6, 31, 6)]
    if len({moment.replace(fold=fold).utcoffset() for moment in around for fold in (0, 1)}) > 1:
        return _of_day(of, day, zone)
    midnight = begin.astimezone(UTC)
    return tuple(
        midnight + timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
        for at in of.times
    )


def in_zone(at: datetime, zone: tzinfo) -> datetime:
    """Give a moment in a zone, if it names none itself. `ValueError`: its year is beyond the calendar."""
    if not _FIRST_YEAR < at.year < LAST_YEAR:
        raise ValueError(f"the year must be one from {_FIRST_YEAR + 1} to {LAST_YEAR - 1}, not {at.year}")
    return at.replace(tzinfo=zone) if at.tzinfo is None else at.astimezone(zone)


@lru_cache(maxsize=64)
def parse_zone(name: str) -> ZoneInfo:
    """Give a zone by its IANA name; `ValueError` says in a sentence that this machine does not know it."""
    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo("UTC" if name.upper() == "UTC" else name)
    except (KeyError, ValueError, OSError):
        pass
    raise ValueError(
        f"{name!r} is no time zone here: write one of IANA's names, like Europe/Berlin (they come with tzdata)"
    )


def with_zone(text: str, zone: tzinfo) -> str:
    """Give a text with its zone at the end, if the zone has a name that other machines know."""
    key = zone.key if isinstance(zone, ZoneInfo) else ""
    return f"{text} {key}" if "/" in key or key == "UTC" else text


def _looks_like_zone(word: str) -> bool:
    low = word.lower()
    known = low in _NTH or low in _WORDS or re.split(r",|\.\.|-", low)[0] in _DAYS
    return _ZONE.fullmatch(word) is not None and not known


def _utc(seconds: int, whole: str) -> list[str]:
    """Give the words of a moment that is written as seconds since 1970, as systemd has it."""
    if seconds >= datetime(LAST_YEAR, 1, 1, tzinfo=UTC).timestamp():
        raise ValueError(f"{whole!r} is not a start: that is beyond the year {LAST_YEAR - 1}")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S").split()


def _checked(weeks: Weeks, of: Calendar) -> Weeks:
    """Refuse weeks of which a reader could think another than what they mean."""
    if of.nth or not of.weekdays:
        raise ValueError(
            f"{of.text!r} is not a start: `every {weeks.every} weeks` needs weekdays, like Sat, and excludes 2nd Sat"
        )
    if weeks.first.weekday() not in of.weekdays:
        raise ValueError(
            f"{of.text!r} is not a start: {weeks.first} is a {_NAMES[weeks.first.weekday()].title()}, "
            "and must be the first day on which it starts"
        )
    return weeks


_Numbers = frozenset[int]


@lru_cache(maxsize=1024)
def _has_days(weekdays: _Numbers, nth: _Numbers, months: _Numbers, days: _Numbers, from_end: _Numbers) -> bool:
    """Whether a calendar has any day in 28 years, after which weekdays and days of the year repeat."""
    kind = Calendar("", (), weekdays, nth, frozenset(), months, days, from_end)
    if not (nth or days or from_end):
        return True
    since, until = date(2000, 1, 1).toordinal(), date(2028, 1, 1).toordinal()
    return any(kind.falls_on(date.fromordinal(number)) for number in range(since, until))


def _read(text: str, words: list[str], zone: tzinfo | None) -> Calendar:
    left = list(words)
    nth = _nth(left.pop(0)) if left and left[0].lower().partition(",")[0] in _NTH else frozenset()
    weekdays = frozenset[int]()
    if left and left[0][:3].lower() in _DAYS:
        weekdays = _weekdays(left.pop(0), text)
    if nth and not weekdays:
        raise ValueError(f"{text!r} is not a start: after it comes a weekday, as in 2nd Tue 22:00")
    dates = left.pop(0) if left and ":" not in left[0] else ""
    clock = left.pop(0) if left else ""
    if left or not (weekdays or dates or clock):
        raise _no_start(text)
    years, months, days, from_end = _date(dates, text)
    return Calendar(text, _times(clock, text), weekdays, nth, years, months, days, from_end, zone, has_time=bool(clock))


def _nth(word: str) -> frozenset[int]:
    try:
        return frozenset(_NTH[part] for part in word.lower().split(","))
    except KeyError:
        raise ValueError(f"{word!r} is none of 1st, 2nd, 3rd, 4th, 5th, last, or several with commas") from None


def _weekdays(word: str, text: str) -> frozenset[int]:
    # A comma at the end is documented: `Wed, 17:48`.
    return frozenset(day for part in word.removesuffix(",").split(",") for day in _weekday_range(part, text))


def _weekday_range(part: str, text: str) -> range:
    first, dots, last = part.partition(".." if ".." in part else "-")
    days = [_DAYS.get(name.lower()) for name in ([first, last] if dots else [first])]
    if None in days:
        raise _no_weekday(part, text)
    begin, end = days[0] or 0, days[-1] or 0
    if end < begin:
        raise ValueError(f"{text!r} is not a start: a week ends with Sun, so write {part!r} as two, like Fri..Sun,Mon")
    return range(begin, end + 1)


_Dates = tuple[frozenset[int], frozenset[int], frozenset[int], frozenset[int]]


def _date(text: str, whole: str) -> _Dates:
    """Give years, months, days, and days counted back from a month's end (0: its last day)."""
    nothing = frozenset[int]()
    if not text:
        return nothing, nothing, nothing, nothing
    found = re.fullmatch(r"(?:([^~-]+)-)?([^~-]+)([~-])([^~-]+)", text)
    if found is None:
        raise _no_weekday(text, whole) if text[0].isalpha() else _no_start(whole)
    year, month, mark, day = found.groups()
    try:
        years = _years(year or "*")
        months = _values(month, 1, 12)
        if mark == "~":
            field = Field.parse(day)
            back = frozenset(number for numbers in days_from_end(field) for number in numbers)
            return years, months, nothing, back
        return years, months, _values(day, 1, 31), nothing
    except ValueError:
        raise ValueError(
            f"{whole!r} is not a start: {text!r} is no date: write it like 2026-12-24, *-12-24, *-*-1,15 or *-*~1"
        ) from None


def _years(text: str) -> frozenset[int]:
    parsed = Field.parse(text)
    parts = [Part.make(_year(part.first), part.last and _year(part.last), part.every) for part in parsed.parts]
    return Field(tuple(parts)).values(_FIRST_YEAR, LAST_YEAR) if parts else frozenset()


def _year(number: int) -> int:
    if number >= _CENTURY:
        return number
    return number + (2000 if number < _PIVOT else 1900)


def _values(text: str, low: int, high: int) -> frozenset[int]:
    return frozenset() if text == "*" else Field.parse(text).values(low, high)


def _times(text: str, whole: str) -> tuple[time, ...]:
    if not text:
        return (time(0),)
    parts = text.split(":")
    try:
        hour, minute, second = parts if len(parts) == 3 else (*parts, "0")  # noqa: PLR2004 - with seconds
        hours, minutes = Field.parse(hour).values(0, 23), Field.parse(minute).values(0, 59)
        seconds = Field.parse(second, decimal=True).values(0, 60 * MICROSECONDS - 1)
    except TooManyNumbersError:
        raise _too_often(whole) from None
    except ValueError:
        raise ValueError(
            f"{whole!r} is not a start: {text!r} is no time: the hour is 0 to 23 and the minute 0 to 59, as in 23:05"
        ) from None
    if len(hours) * len(minutes) * len(seconds) > _MOST_TIMES:
        raise _too_often(whole)
    return tuple(
        time(hour, minute, micros // MICROSECONDS, micros % MICROSECONDS)
        for hour, minute, micros in product(sorted(hours), sorted(minutes), sorted(seconds))
    )


def _too_often(text: str) -> ValueError:
    return ValueError(f"{text!r} is not a start: that is oftener than once a minute")


def _no_weekday(word: str, text: str) -> ValueError:
    return ValueError(f"{text!r} is not a start: {word!r} is none of Mon, Tue, Wed, Thu, Fri, Sat, Sun")


def _no_start(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is not a start: write a time like 23:05, days and a time like Mon..Fri 23:05 or 2nd Tue 23:05, "
        "or a date and a time like *-*-1,15 23:05"
    )
