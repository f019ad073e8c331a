"""All openings in one pass over windows and blackouts: for whoever looks for one that is long enough. Pure.

`Windows` looks at one moment and tells exactly what is open there; to ask it again behind each opening costs a hundred
times as much, and openings that are all too short have no end.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from locksmith.window.blackout import Blackout
from locksmith.window.calendar import LAST_YEAR
from locksmith.window.window import Stretch, Window

MOST = 20_000
"""Stretches that one pass looks at: half a century of a window that opens daily."""
SEEN_AHEAD = timedelta(days=8)
"""What is open for longer than this counts as long enough for anything."""
LAST = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)
"""Calendars have no years behind it."""


class TooManyStretchesError(Exception):
    """Not known: there are more stretches than a pass observes."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Where a pass begins and ends, the zone of what names none, and how many stretches it looks at."""

    since: datetime
    zone: tzinfo
    until: datetime = LAST
    most: int = MOST


def pieces(windows: Sequence[Window], blackouts: Sequence[Blackout], of: Pass) -> Iterator[Stretch]:
    """Give what is open, in order; where one begins at the end of another, they are one opening.

    Without windows all is open but the blackouts. `TooManyStretchesError`: it looks no further.
    """
    opens, black = _all(windows, of), _all(blackouts, of)
    on, reached = next(black, None), of.since
    for window in opens if windows else iter([Stretch(of.since, of.until)]):
        if window.start >= of.until:
            return
        start, end = max(window.start, reached), window.end
        if end < start:
            continue
        reached = end
        while on is not None and on.start <= end:
            if start < on.start:
                yield Stretch(start, on.start)
            start = max(start, on.end)
            if start >= end:
                break
            on = next(black, None)
        if start < end or window.start == window.end == start:
            yield Stretch(start, end)


def first_long(of: Iterator[Stretch], least: timedelta) -> Stretch | None:
    """Find the first opening of at least `least`, as far as it takes to see that it is so long."""
    for found in joined(of):
        if is_long(found, least):
            return found
    return None


def joined(of: Iterator[Stretch]) -> Iterator[Stretch]:
    """Give each opening as it grows: with its first piece, with its second, and so on."""
    start = end = None
    for piece in of:
        if piece.start != end or start is None:
            start = piece.start
        end = piece.end
        yield Stretch(start, end)


def is_long(found: Stretch, least: timedelta) -> bool:
    """Whether at least `least` of it is open, as far as anybody looks ahead."""
    return found.end - found.start >= min(least, SEEN_AHEAD + timedelta(microseconds=1))


def _all(parts: Sequence[Window | Blackout], of: Pass) -> Iterator[Stretch]:
    for number, found in enumerate(heapq.merge(*(one.stretches(of.since, of.zone) for one in parts))):
        if number >= of.most:
            raise TooManyStretchesError
        yield found
