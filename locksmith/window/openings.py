"""All openings in one pass over windows and blackouts: for the search for a long opening. Pure.

`Windows` tells exactly what is open at one moment. To ask it again after each opening costs a hundred times as much,
and a search among openings that are too short would not end.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from locksmith.window.blackout import Blackout
from locksmith.window.calendar import LAST_YEAR
from locksmith.window.window import Stretch, Window

MOST = 20_000
"""Stretches of one pass: half a century of a window that opens daily."""
SEEN_AHEAD = timedelta(days=8)
"""An opening that is longer than this counts as long enough for anything."""
LAST = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)
"""The end of the calendar."""


class TooManyStretchesError(Exception):
    """Not known: there are more stretches than a pass observes."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The start and the end of a pass, the default zone, and the limit on stretches."""

    since: datetime
    zone: tzinfo
    until: datetime = LAST
    most: int = MOST


def pieces(windows: Sequence[Window], blackouts: Sequence[Blackout], of: Pass) -> Iterator[Stretch]:
    """Give the open pieces, in order; a piece that begins at the end of another belongs to the same opening.

    Without windows all time is open, except the blackouts. `TooManyStretchesError`: the pass ends here.
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
    """Give the first opening of at least `least`. The opening may be longer than the pieces that were needed."""
    for found in joined(of):
        if is_long(found, least):
            return found
    return None


def joined(of: Iterator[Stretch]) -> Iterator[Stretch]:
    """Give each opening while it grows: with its first piece, with its second, and so on."""
    start = end = None
    for piece in of:
        if piece.start != end or start is None:
            start = piece.start
        end = piece.end
        yield Stretch(start, end)


def is_long(found: Stretch, least: timedelta) -> bool:
    """Whether an opening has at least the length `least`, or is longer than `SEEN_AHEAD`."""
    return found.end - found.start >= min(least, SEEN_AHEAD + timedelta(microseconds=1))


def _all(parts: Sequence[Window | Blackout], of: Pass) -> Iterator[Stretch]:
    for number, found in enumerate(heapq.merge(*(one.stretches(of.since, of.zone) for one in parts))):
        if number >= of.most:
            raise TooManyStretchesError
        yield found
