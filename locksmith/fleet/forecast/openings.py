"""The openings of a group's windows, one after another, looked for as they are needed and kept for all runs. Pure.

`Windows` answers for one moment, and searches around it each time. Here every opening is needed, of windows that may
open each minute for years, so their stretches are gone through once.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from locksmith.errors import UsageError
from locksmith.fleet.forecast.plan import GroupPlan
from locksmith.window.window import Stretch
from locksmith.window.windows import Windows

LONGEST = timedelta(days=3650)
"""No rollout is foretold further than this."""
_PART = timedelta(days=7)
"""What is open for longer comes in parts: it may be open for ever."""
_MOST_USELESS = 1000
"""Openings that are too short, one after another, before the search ends."""
_MOST_BLACK = 20_000
"""Openings that are black as a whole, the same."""


class Open(NamedTuple):
    """A time in which a reboot may begin, as Unix times; `number` counts the openings that it is a part of."""

    opens: float
    latest: float
    closes: float
    number: int


class Openings:
    """The openings from `start` on. `UsageError`: there is none any more, or not within ten years."""

    def __init__(self, plan: GroupPlan, start: datetime) -> None:
        self._plan = plan
        self._least = plan.least.total_seconds()
        self.began, self._ends = start.timestamp(), (start + LONGEST).timestamp()
        self._usable = plan.windows is None
        self._found: list[Open] = []
        self._coming: Iterator[Stretch] = iter(())
        if plan.windows is None:
            self._found.append(Open(-math.inf, self._ends, self._ends, 0))
        else:
            self._coming = _stretches(plan.windows, start)

    def at(self, index: int) -> Open:
        """Give one by its place."""
        while index >= len(self._found):
            self._look_further()
        return self._found[index]

    def between(self, begin: float, end: float, most: int) -> list[tuple[float, float]]:
        """Give when it is open from `begin` to `end`, at most so many times, for a picture."""
        found: list[tuple[float, float]] = []
        for index in range(most):
            try:
                one = self.at(index)
            except UsageError:
                break
            if one.opens >= end:
                break
            if one.closes > begin:
                found.append((max(begin, one.opens), min(end, one.closes)))
        return found

    def _look_further(self) -> None:
        one = next(self._coming, None)
        if one is None or one.start.timestamp() > self._ends:
            raise UsageError(self._no_end(more=one is not None or self._plan.windows is None))
        opens, closes = one.start.timestamp(), one.end.timestamp()
        number = 0
        if self._found:
            number = self._found[-1].number + (opens > self._found[-1].closes)
        self._found.append(Open(opens, closes - self._least, closes, number))
        self._usable = self._usable or opens <= closes - self._least
        if not self._usable and len(self._found) > _MOST_USELESS:
            raise UsageError(self._no_end(more=False))

    def _no_end(self, *, more: bool) -> str:
        name = self._plan.name
        if more and self._usable:
            return f"group {name} is not done within ten years, and further is not looked"
        after = datetime.fromtimestamp(self._found[-1].closes if self._usable else self.began, UTC)
        return f"group {name} never comes to its end: after {after:%Y-%m-%d} no window opens that is long enough"


def _stretches(windows: Windows, start: datetime) -> Iterator[Stretch]:
    """Give what is in a window and in no blackout from `start` on, in order; what is long comes in parts that meet."""
    zone, began = start.tzinfo or UTC, start.astimezone(UTC)
    opens: Iterable[Stretch] = _joined(window.stretches(began, zone) for window in windows.windows)
    if not windows.windows:
        opens = (
            Stretch(began + number * _PART, began + (number + 1) * _PART) for number in range(LONGEST // _PART + 2)
        )
    blackouts = _joined(blackout.stretches(began, zone) for blackout in windows.blackouts)
    black, useless = next(blackouts, None), 0
    for found in opens:
        left = max(found.start, began)
        while black is not None and black.start < found.end:
            if left < min(black.start, found.end):
                yield Stretch(left, black.start)
                useless = 0
            left = max(left, black.end)
            if black.end > found.end:
                break
            black = next(blackouts, None)
        if left < found.end or (left == found.end and found.start == found.end):
            yield Stretch(left, found.end)
            useless = 0
        useless += 1
        if useless > _MOST_BLACK:
            return


def _joined(each: Iterable[Iterator[Stretch]]) -> Iterator[Stretch]:
    """Give stretches in order, those that meet as one, in parts."""
    last: Stretch | None = None
    for found in heapq.merge(*each):
        if last is None or found.start > last.end:
            if last is not None:
                yield last
            last = found
        elif last.end - last.start > _PART:
            yield last
            last = Stretch(last.end, max(last.end, found.end))
        else:
            last = Stretch(last.start, max(last.end, found.end))
    if last is not None:
        yield last
