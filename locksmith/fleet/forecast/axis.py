"""The marks of an axis: round numbers, and times as a clock and a calendar have them. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

_DAY = 86400
_STEPS = [
    *(1, 2, 5, 10, 15, 30),
    *(minutes * 60 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * 3600 for hours in (1, 2, 3, 6, 12)),
    *(days * _DAY for days in (1, 2, 7, 14, 28, 91, 182, 364, 728)),
]


class Mark(NamedTuple):
    """A mark at a Unix time: what is written at it, and below that where it is new."""

    at: float
    text: str
    below: str


def times(began: float, ended: float, zone: tzinfo | None, most: int) -> list[Mark]:
    """Give at most so many marks (one more or less) from one moment to another."""
    step = next((step for step in _STEPS if (ended - began) / step <= most), _STEPS[-1])
    marks: list[Mark] = []
    shown = ""
    for at in _moments(began, ended, zone, step):
        if step >= _DAY:
            text, below = f"{at.day} {at:%b}", f"{at:%Y}"
        else:
            text, below = f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}", f"{at:%a} {at.day} {at:%b}"  # noqa: PLR2004
        marks.append(Mark(at.timestamp(), text, "" if below == shown else below))
        shown = below
    return marks


def _moments(began: float, ended: float, zone: tzinfo | None, step: int) -> Iterator[datetime]:
    """Give the times that are whole steps of a day, or whole days, by the clock of a zone; weeks begin on Monday."""
    first, last = (datetime.fromtimestamp(at, zone).replace(tzinfo=None) for at in (began, ended))
    past = (first - datetime(1, 1, 1)) // timedelta(seconds=step)  # noqa: DTZ001 - what a clock shows; a Monday
    shows = datetime(1, 1, 1) + past * timedelta(seconds=step)  # noqa: DTZ001
    while shows <= last:
        at = shows.replace(tzinfo=zone)
        if began <= at.timestamp() <= ended:
            yield at
        shows += timedelta(seconds=step)


def numbers(most: int, marks: int) -> list[int]:
    """Give round numbers from 0 up to `most`, at most so many of them after 0."""
    steps = (first * 10**zeros for zeros in range(len(str(most)) + 1) for first in (1, 2, 5))
    return list(range(0, most + 1, next(step for step in steps if most / step <= marks)))
