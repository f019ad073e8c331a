"""Moments as a person types them: `18:30`, `2026-12-24`, `2026-12-24T18:30`, `2026-12-24 18:30+01:00`."""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo

from locksmith.errors import UsageError
from locksmith.window.calendar import in_zone
from locksmith.window.duration import parse_duration

_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?")
_LIKE = "a time like 18:30, 2026-12-24 or 2026-12-24T18:30"
_DAY = timedelta(days=1)


def coming(text: str, now: datetime, zone: tzinfo, flag: str) -> datetime:
    """Read when something ends: a time is the next one, and a day counts as a whole, as the last day of a blackout."""
    if (day := _day(text)) is not None and day < date.max:
        return _moment(f"{day + _DAY}T00:00", zone, flag, text)
    if (clock := _clock(text)) is None:
        return _moment(text, zone, flag, text)
    today = now.astimezone(zone).date()
    at = [_moment(f"{day}T{clock}", zone, flag, text) for day in (today, today + _DAY)]
    return at[0] if at[0].astimezone(UTC) > now.astimezone(UTC) else at[1]


def shown(text: str, now: datetime, zone: tzinfo, flag: str) -> datetime:
    """Read a moment of which something is shown: a time is today's, and a day begins at midnight."""
    clock = _clock(text)
    return _moment(text if clock is None else f"{now.astimezone(zone).date()}T{clock}", zone, flag, text)


def past(text: str, now: datetime, zone: tzinfo, flag: str) -> datetime:
    """Read since when something is shown: as a length of time up to now too (`2d`), and a time is the last one."""
    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    at = shown(text, now, zone, f"{flag} must be a while like 2d, or")
    if at <= now:
        return at
    if _clock(text) is None:
        raise UsageError(f"{flag} is about what was, and {text} is to come")
    return shown(f"{now.astimezone(zone).date() - _DAY}T{_clock(text)}", now, zone, flag)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _clock(text: str) -> str | None:
    return text.rjust(len("08:30"), "0") if _TIME.fullmatch(text) else None


def _moment(whole: str, zone: tzinfo, flag: str, text: str) -> datetime:
    try:
        return in_zone(datetime.fromisoformat(whole), zone)
    except ValueError:
        start = flag if flag.endswith(" or") else f"{flag} must be"
        raise UsageError(f"{start} {_LIKE}, not {text!r}") from None
