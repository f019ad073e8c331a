"""Holiday calendars: the events of an iCalendar file as blackouts, or as windows. Pure.

Each event becomes a text that a person could have written (`2026-12-24..2026-12-26`), so that files, sets in etcd,
presence and all commands know nothing of calendars. What is not supported is an error: an event that is left out would
allow a reboot.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from locksmith.window.blackout import Blackout
from locksmith.window.calendar import LAST_YEAR, parse_zone
from locksmith.window.clock_changes import instant
from locksmith.window.duration import format_duration
from locksmith.window.ical_events import MOST_EVENTS, Event, Property, read_events
from locksmith.window.window import Window

_FIRST_YEAR = 1970
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_LONGEST = timedelta(days=366)
_PIECE = timedelta(days=6)
"""A window is at most a week long, in hours: a longer opening is several, which meet."""
YEARS = 20
"""For so many years from its first day an opening is repeated that has no end."""
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TIME = re.compile(r"(\d{8})T(\d{2})(\d{2})(\d{2})(Z?)")
_LENGTH = re.compile(r"\+?P(?:(\d{1,4})W|(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?)")


@dataclass(frozen=True, slots=True)
class _Span:
    """From a wall clock's time to another; whole days have no time. `zone` is the event's own."""

    start: datetime
    end: datetime
    is_days: bool
    zone: tzinfo | None = None

    def in_year(self, year: int) -> "_Span | None":
        """Give it in another year; None: that year has no such day."""
        try:
            start = self.start.replace(year=year)
        except ValueError:
            return None
        return _Span(start, start + (self.end - self.start), self.is_days, self.zone)


@dataclass(frozen=True, slots=True)
class _Rule:
    """Every year, up to a last day (local, included) or so many times in all."""

    last: date | None = None
    count: int | None = None


def blackouts(text: str) -> tuple[Blackout, ...]:
    """Give a file's events as blackouts; `ValueError` says what is wrong with it. Seconds are rounded outwards.

    A yearly event is in every year. An event without a zone is in that of its set.
    """
    texts = dict.fromkeys(one for event in read_events(text) for one in _blackout_texts(event))
    return tuple(map(Blackout.parse, _few(texts)))


def windows(text: str, zone: tzinfo) -> tuple[Window, ...]:
    """Give a file's events as windows, in `zone` if they have none; `ValueError` says what is wrong with it."""
    texts = dict.fromkeys(one for event in read_events(text) for one in _window_texts(event, zone))
    return tuple(map(Window.parse, _few(texts)))


def _few(texts: Collection[str]) -> Collection[str]:
    if len(texts) > MOST_EVENTS:
        raise ValueError(
            f"its events are {len(texts)} days and times, with each repetition, and {MOST_EVENTS} is the limit: "
            "remove those that are past"
        )
    return texts


def _blackout_texts(event: Event) -> Iterator[str]:
    span, rule = _when(event)
    endless = rule is not None and rule.last is None and rule.count is None
    if rule is not None and not endless:
        yield from (_period(one) for one in _repeated(span, rule, _DAY))
    else:
        yield _period(span, yearly=endless)


def _when(event: Event) -> tuple[_Span, _Rule | None]:
    span, rule = _span(event), _rule(event)
    if rule is not None and span.end - span.start >= timedelta(days=365):
        raise ValueError(f"{event.name} is as long as the year after which it is repeated")
    return span, rule


def _period(span: _Span, *, yearly: bool = False) -> str:
    start, end = span.start.replace(second=0), span.end
    if end.second:
        end = end.replace(second=0) + _MINUTE
    day, clock = ("*-%m-%d", " %H:%M") if yearly else ("%Y-%m-%d", " %H:%M")
    if span.is_days:
        first, last = f"{start:{day}}", f"{end - _DAY:{day}}"
        return first if first == last and not yearly else f"{first}..{last}"
    return f"{start:{day}{clock}}..{end:{day}{clock}}{f' {span.zone}' if span.zone else ''}"


def _window_texts(event: Event, zone: tzinfo) -> Iterator[str]:
    span, rule = _when(event)
    for one in [span] if rule is None else _repeated(span, rule, -_DAY):
        own = one.zone or zone
        start, end = one.start, one.end.replace(second=0)
        if start.second:
            start = start.replace(second=0) + _MINUTE
        while start < end:
            piece = min(end, start + _PIECE)
            length = _instant(piece, own) - _instant(start, own)
            named = f" {own}" if "/" in str(own) or str(own) == "UTC" else ""
            if length > timedelta(0):
                yield f"{start:%Y-%m-%d %H:%M}{named} for {format_duration(length)}"
            start = piece


def _instant(at: datetime, zone: tzinfo) -> datetime:
    return instant(at.date(), at.time(), zone) or _instant(datetime.combine(at.date() + _DAY, time(0)), zone)


def _rule(event: Event) -> _Rule | None:
    given = event.properties.get("RRULE")
    if given is None:
        return None
    parts = dict(part.upper().partition("=")[::2] for part in given.value.strip().split(";"))
    start = event.properties["DTSTART"].value
    same = {"FREQ": "YEARLY", "INTERVAL": "1", "BYMONTH": start[4:6], "BYMONTHDAY": start[6:8]}
    known = {**same, "WKST": None, "UNTIL": None, "COUNT": None}
    for name, value in parts.items():
        if name not in known or (name in same and value.lstrip("0") != same[name].lstrip("0")):
            raise ValueError(
                f"{event.name} has the rule {given.value!r}, and only FREQ=YEARLY is supported: "
                "write each of its days as an event"
            )
    if "FREQ" not in parts or {"UNTIL", "COUNT"} <= parts.keys():
        raise ValueError(f"{event.name} has a rule that is none: {given.value!r}")
    last = count = None
    if "UNTIL" in parts:
        last = _date(parts["UNTIL"][:8], event)
    if "COUNT" in parts:
        if not re.fullmatch(r"[1-9]\d{0,2}", parts["COUNT"]):
            raise ValueError(f"{event.name} has a rule that is none: {given.value!r}")
        count = int(parts["COUNT"])
    return _Rule(last, count)


def _repeated(span: _Span, rule: _Rule, slack: timedelta) -> Iterator[_Span]:
    """Give each year's; without an end those of some years.

    UNTIL may be in another zone than the event. Then the last counts that is `slack` away from it.
    """
    left = rule.count if rule.count is not None else LAST_YEAR if rule.last is not None else YEARS
    last = None if rule.last is None else rule.last + (timedelta(0) if span.is_days else slack)
    for year in range(span.start.year, LAST_YEAR - 1):
        one = span.in_year(year)
        if left == 0 or (last is not None and one is not None and one.start.date() > last):
            return
        if one is not None:
            left -= 1
            yield one


def _span(event: Event) -> _Span:
    if "DTSTART" not in event.properties:
        raise ValueError(f"{event.name} has no DTSTART")
    start, zone, is_days = _moment(event.properties["DTSTART"], event)
    if {"DTEND", "DURATION"} <= event.properties.keys():
        raise ValueError(f"{event.name} has DTEND and DURATION")
    if "DTEND" in event.properties:
        end, end_zone, end_is_days = _moment(event.properties["DTEND"], event)
        if end_is_days != is_days or (zone is None) != (end_zone is None):
            raise ValueError(f"{event.name} begins and ends with times of two kinds")
        if zone is not None and end_zone is not None and str(zone) != str(end_zone):
            end = end.replace(tzinfo=end_zone).astimezone(zone).replace(tzinfo=None)
    elif "DURATION" in event.properties:
        end = _end(start, zone, event, is_days=is_days)
    elif is_days:
        end = start + _DAY
    else:
        raise ValueError(f"{event.name} has no end")
    if not timedelta(0) < end - start <= _LONGEST:
        raise ValueError(f"{event.name} must end after its start, and within a year")
    return _Span(start, end, is_days, zone)


def _moment(of: Property, event: Event) -> tuple[datetime, tzinfo | None, bool]:
    text, kind = of.value.strip(), of.parameters.get("VALUE", "").upper()
    if _DATE.fullmatch(text) and kind in {"", "DATE"}:
        return datetime.combine(_date(text, event), time(0)), None, True
    found = _TIME.fullmatch(text)
    if found is None or kind not in {"", "DATE-TIME"}:
        raise ValueError(f"{event.name} has {text!r}, which is no date or time of iCalendar")
    day, hour, minute, second, utc = found.groups()
    try:
        at = datetime.combine(_date(day, event), time(int(hour), int(minute), min(int(second), 59)))
        name = "UTC" if utc else of.parameters.get("TZID", "")
        return at, parse_zone(name) if name else None, False
    except ValueError as error:
        raise ValueError(f"{event.name} cannot be used: {error}") from None


def _date(text: str, event: Event) -> date:
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError  # noqa: TRY301 - one kind of error for both
        day = date(*map(int, found.groups()))
    except ValueError:
        raise ValueError(f"{event.name} has {text!r}, which is no date of iCalendar") from None
    if not _FIRST_YEAR <= day.year < LAST_YEAR - 1:
        raise ValueError(f"{event.name} is in the year {day.year}: {_FIRST_YEAR} to {LAST_YEAR - 2} can be used")
    return day


def _end(start: datetime, zone: tzinfo | None, event: Event, *, is_days: bool) -> datetime:
    """Give the end by a duration: its days are of the calendar, its hours elapse."""
    text = event.properties["DURATION"].value.strip()
    found = _LENGTH.fullmatch(text)
    if found is None or text.endswith(("P", "T")):
        raise ValueError(f"{event.name} has the DURATION {text!r}, which is none")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    exact = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if is_days and exact:
        raise ValueError(f"{event.name} is whole days, and its DURATION {text!r} is not")
    end = start + timedelta(weeks=weeks, days=days)
    if zone is None or not exact:
        return end + exact
    return (end.replace(tzinfo=zone).astimezone(UTC) + exact).astimezone(zone).replace(tzinfo=None)
