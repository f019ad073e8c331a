"""Every second week, or every third: `every 2 weeks from 2026-12-05`. Pure.

The date says which weeks are meant. Nothing in the calendar does: a year has 52 or 53 weeks, so even weeks do not
alternate from year to year.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta

MOST = 52
_WEEK = 7
_EVERY = re.compile(r"\bevery ([0-9]{1,3}|second) weeks? from (\S+)", re.IGNORECASE)
_HOW = "write it like Sat 22:00 every 2 weeks from 2026-12-05"


@dataclass(frozen=True, slots=True)
class Weeks:
    """Each week that is a multiple of `every` after the week of the day `first`; nothing before that day."""

    every: int
    first: date

    def __contains__(self, day: date) -> bool:
        """Whether a day is in one of the weeks, which begin with Monday."""
        monday = self.first - timedelta(days=self.first.weekday())
        return day >= self.first and (day - monday).days // _WEEK % self.every == 0


def split_weeks(text: str) -> tuple[str, Weeks | None]:
    """Take the weeks out of an expression; `ValueError` says in a sentence what is wrong with them."""
    found = _EVERY.search(text)
    if found is None:
        if "every" in text.lower().split():
            raise ValueError(f"{text!r} is not a start: {_HOW}")
        return text, None
    number, day = found.groups()
    every = 2 if number.lower() == "second" else int(number)
    if not 2 <= every <= MOST:  # noqa: PLR2004 - every week needs no word
        raise ValueError(f"{text!r} is not a start: every 2 to {MOST} weeks can be said, not {number}; {_HOW}")
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day):
            raise ValueError  # noqa: TRY301 - dates of other formats are refused too
        first = date.fromisoformat(day)
    except ValueError:
        raise ValueError(f"{text!r} is not a start: {day!r} is no date of the first time: {_HOW}") from None
    rest = " ".join((text[: found.start()] + " " + text[found.end() :]).split())
    return rest, Weeks(every, first)
