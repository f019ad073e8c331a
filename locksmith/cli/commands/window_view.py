"""What people and scripts get to see of windows: open until when, the next ones, the month; and of a set in etcd."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo

from locksmith.cli.painted import Painted, Part
from locksmith.fleet.window_fields import Asked, next_openings
from locksmith.util.words import span
from locksmith.window.duration import format_duration
from locksmith.window.month import Day, month
from locksmith.window.possible import longest_if_too_short
from locksmith.window.windows import Opening, Windows

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
CELL = 4
_MOST_MONTHS = 3
_LEGEND = "* a window is open on that day, x a blackout"


def lines(name: str, of: Windows | None, asked: Asked) -> list[str]:
    """Write it for people: now, the next openings, and the month."""
    if of is None:
        return [f"{name}: a reboot is allowed at any time"]
    coming = next_openings(of, asked)
    drawn = [line for day in _months(coming, asked) for line in ("", *_month(of, day, asked))]
    return [f"{name}: {of}", _state(of, asked), *_upcoming(coming, asked), *drawn, _LEGEND]


def _state(of: Windows, asked: Asked) -> str:
    at = f"{asked.at:%a %Y-%m-%d %H:%M %Z}"
    opening, opens = of.opening(asked.at), of.next_open(asked.at, asked.least)
    if opening is not None and of.contains(asked.at, asked.least):
        return f"open at {at}, {_until(opening, asked)}"
    short = ""
    if opening is not None:
        short = (
            f" (open, but only for {span(opening.left(asked.at))}: "
            f"a reboot begins with {format_duration(asked.least)} at least)"
        )
    if opens is None:
        return f"closed at {at}{short}, and no opening is to come"
    return f"closed at {at}{short}; opens {_clock(opens, asked)}, in {span(opens.astimezone(UTC) - asked.at)}"


def _until(opening: Opening, asked: Asked) -> str:
    if opening.closes is None:
        return "and for more than a week to come"
    return f"until {_clock(opening.closes, asked)}, for another {span(opening.left(asked.at))}"


def _clock(when: datetime, asked: Asked) -> str:
    return f"{when.astimezone(asked.zone):%a %Y-%m-%d %H:%M %Z}"


def warning(of: Windows | None, least: timedelta, zone: tzinfo) -> str:
    """Say in a sentence that no reboot would ever begin, where that is so; else nothing."""
    longest = None if of is None else longest_if_too_short(of, least, zone)
    if longest is None:
        return ""
    if not longest:
        return "no reboot would ever begin: no window is ever open"
    return (
        f"no reboot would ever begin: no window is ever open for longer than {format_duration(longest)}, "
        f"and {format_duration(least)} must be left"
    )


def _upcoming(found: list[Opening], asked: Asked) -> list[str]:
    if not found:
        return []
    return ["next:", *(f"  {_clock(one.opens or asked.at, asked)}  {_ends(one, asked)}" for one in found)]


def _ends(one: Opening, asked: Asked) -> str:
    if one.closes is None:
        return "and on, for more than a week"
    return f"until {_clock(one.closes, asked)}"


def _months(coming: list[Opening], asked: Asked) -> list[date]:
    """Give a day of each month to draw: that of now, and those of the next openings."""
    days = [asked.at, *(one.opens for one in coming if one.opens)]
    months = dict.fromkeys(moment.astimezone(asked.zone).date().replace(day=1) for moment in days)
    return list(months)[:_MOST_MONTHS]


def _month(of: Windows, day: date, asked: Asked) -> list[str]:
    head = "".join(f"{name:<{CELL}} " for name in WEEKDAYS).rstrip()
    rows = (_row([_cell(day, asked) for day in week]) for week in month(of, day, asked.zone))
    return [f"{day:%B %Y}", head, *rows]


def _row(cells: list[Part]) -> str:
    parts = [part for cell in cells for part in (cell, Part(" "))]
    while parts and not parts[-1].text.strip():
        parts.pop()
    return Painted.of(*parts[:-1], replace(parts[-1], text=parts[-1].text.rstrip())) if parts else ""


def _cell(day: Day | None, asked: Asked) -> Part:
    if day is None:
        return Part(" " * CELL)
    marks = ("*" if day.is_open else "") + ("x" if day.is_black else "")
    text = f"{day.date.day:>2}{marks:<{CELL - 2}}"
    colour = "green" if day.is_open else "red" if day.is_black else ""
    return Part(text, colour, reverse=day.date == asked.at.date())
