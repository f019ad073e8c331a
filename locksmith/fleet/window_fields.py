"""What scripts get of windows: open until when, the next ones, the month; and of a set in the store. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import islice
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.util.records import moment
from locksmith.window.month import month
from locksmith.window.window_set import WindowSet
from locksmith.window.windows import Opening, Windows


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about the windows: at which moment, in which zone, how many, with how much of one left."""

    at: datetime
    zone: tzinfo
    count: int
    least: timedelta


def next_openings(of: Windows, asked: Asked) -> list[Opening]:
    """Give the next openings in which a reboot may begin."""
    return list(islice(of.upcoming(asked.at, asked.least), asked.count))


def window_fields(name: str, of: Windows | None, asked: Asked) -> Mapping[str, Any]:
    """Write the same for scripts; times are RFC 3339 in UTC, `null` where none is to come."""
    if of is None:
        return {"of": name, "open": True, "at_any_time": True, "windows": [], "blackouts": [], "next": []}
    opening, days = of.opening(asked.at), month(of, asked.at.date(), asked.zone)
    return {
        "of": name,
        "open": of.contains(asked.at, asked.least),
        "at_any_time": False,
        "windows": [str(one) for one in of.windows],
        "blackouts": [str(one) for one in of.blackouts],
        "closes": _instant(opening.closes if opening else None),
        "opens": _instant(of.next_open(asked.at, asked.least)),
        "next": [{"opens": _instant(one.opens), "closes": _instant(one.closes)} for one in next_openings(of, asked)],
        "month": {
            str(day.date): {"open": day.is_open, "blackout": day.is_black} for week in days for day in week if day
        },
    }


def _instant(when: datetime | None) -> str | None:
    return None if when is None else moment(when)


def set_fields(one: WindowSet | CorruptValueError) -> Mapping[str, Any]:
    """Write a set for scripts, or why it cannot be read."""
    if isinstance(one, CorruptValueError):
        return {"unreadable": one.problem}
    return {
        "open": [str(window) for window in one.windows],
        "blackouts": [str(blackout) for blackout in one.blackouts],
        "zone": one.zone,
        "who": one.who,
        "since": _instant(one.since),
        "reason": one.reason,
    }
