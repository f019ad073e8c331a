"""When a machine may reboot: its windows, less its blackouts. Pure: time is passed in, with its zone.

Each `now` is in the machine's zone, best a `ZoneInfo` with the rules of daylight saving. Expressions without a zone,
and the answers, are in that zone. Inside, all times are UTC: Python compares two times of one zone by what their clocks
show, not by the time that elapses.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from locksmith.util.words import named
from locksmith.window.blackout import Blackout
from locksmith.window.openings import SEEN_AHEAD, Pass, TooManyStretchesError, first_long, pieces
from locksmith.window.window import Stretch, Window

_INSTANT = timedelta(microseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)
ALWAYS = datetime.min.replace(tzinfo=UTC)
"""The start of an opening without a beginning."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Time that is open without a break.

    `opens` None: it has always been open. `closes` None: it stays open for more than a week.
    """

    opens: datetime | None
    closes: datetime | None

    def left(self, now: datetime) -> timedelta:
        """Give how much of the opening is left."""
        return timedelta.max if self.closes is None else self.closes.astimezone(UTC) - now.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows: open while any of `windows` is open (none: always) and none of `blackouts` is on."""

    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()

    def __str__(self) -> str:
        """Give its text for a person: `Sat 23:05 for 11h, but not 2026-12-24`."""
        when = named([*map(str, self.windows)]) or "at any time"
        return f"{when}, but not {named([*map(str, self.blackouts)])}" if self.blackouts else when

    def in_zone(self, zone: tzinfo) -> "Windows":
        """Give them in a zone, unless they name their own zones."""
        return Windows(
            tuple(window.in_zone(zone) for window in self.windows),
            tuple(blackout.in_zone(zone) for blackout in self.blackouts),
        )

    def contains(self, now: datetime, least: timedelta = timedelta(0)) -> bool:
        """Whether a reboot may begin: the windows are open, with at least `least` of the opening left."""
        opening = self.opening(now)
        return opening is not None and opening.left(now) >= least

    def opening(self, now: datetime) -> Opening | None:
        """Give the opening at `now`; None: closed."""
        zone = _zone(now)
        stretches = self._stretches(now.astimezone(UTC), zone)
        if not stretches:
            return None
        opens, closes = min(found.start for found in stretches), self._closes(now.astimezone(UTC), zone)
        return Opening(None if opens == ALWAYS else opens.astimezone(zone), closes and closes.astimezone(zone))

    def next_open(self, now: datetime, least: timedelta = timedelta(0)) -> datetime | None:
        """Give the first open instant from `now` on, with at least `least` of the opening left.

        None: there is none within the limits of a search.
        """
        zone, moment = _zone(now), now.astimezone(UTC)
        if self.contains(now, least):
            return now
        # From the beginning of the day on, so that all checks of a day share one search; then from its hour, and from
        # its minute: there may be a thousand openings before the moment.
        minute = moment.replace(second=0, microsecond=0)
        since = [minute.replace(minute=0), minute]
        found = _first_long(self, zone, least, minute.replace(hour=0, minute=0))
        while found is not None:
            if found.start >= moment and self.contains(found.start.astimezone(zone), least):
                return found.start.astimezone(zone)
            found = _first_long(self, zone, least, max(found.end + _INSTANT, since.pop(0) if since else moment))
        return None

    def opens(self, begin: datetime, end: datetime, zone: tzinfo) -> Iterator[Stretch]:
        """Give what is open from `begin` to `end` (UTC), in order."""
        return pieces(self.windows, self.blackouts, Pass(begin, zone, end, 10**6))

    def blacks(self, begin: datetime, end: datetime, zone: tzinfo) -> Iterator[Stretch]:
        """Give each blackout that is on at some time from `begin` to `end`, in the order of their starts."""
        for on in heapq.merge(*(one.stretches(begin, zone) for one in self.blackouts)):
            if on.start >= end:
                return
            if on.end > begin:
                yield on

    def upcoming(self, now: datetime, least: timedelta = timedelta(0)) -> Iterator[Opening]:
        """Give every opening from `now` on, in order, with at least `least` left; an opening at `now` is the first."""
        zone, moment = _zone(now), now
        while (opens := self.next_open(moment, least)) is not None:
            found = self.opening(opens)
            if found is None:
                return
            yield found
            if found.closes is None:
                return
            moment = (found.closes.astimezone(UTC) + _INSTANT).astimezone(zone)

    def stretches(self, now: datetime) -> list[Stretch]:
        """Give the opening of each window at `now`: windows that overlap have separate openings."""
        return self._stretches(now.astimezone(UTC), _zone(now))

    def _stretches(self, now: datetime, zone: tzinfo) -> list[Stretch]:
        windows = [found for window in self.windows for found in _those_at(window.stretches(now, zone), now)]
        if not self.windows:
            windows = [Stretch(ALWAYS, _NEVER)]
        if not windows or self._blackout(now, zone) is not None:
            return []
        begins, ends = self._last_blackout(now, zone), self._next_blackout(now, zone)
        cut = [(Stretch(max(found.start, begins), min(found.end, ends)), found) for found in windows]
        # If a blackout ends where a window does, a single instant is left, in which no reboot can begin.
        return [left for left, found in cut if left.start < left.end or found.start == found.end]

    def _closes(self, now: datetime, zone: tzinfo) -> datetime | None:
        """Give the end of the opening at `now`; None: it is too far ahead."""
        end = self._next_blackout(now, zone)
        if self.windows:
            end = min(end, self._windows_close(now, zone))
        return end if end - now <= SEEN_AHEAD else None

    def _windows_close(self, now: datetime, zone: tzinfo) -> datetime:
        """Give the end of windows that follow each other without a gap, as far as a search goes."""
        end = now
        for found in heapq.merge(*(window.stretches(now, zone) for window in self.windows)):
            if found.start > end or end - now > SEEN_AHEAD:
                break
            end = max(end, found.end)
        return end

    def _blackout(self, now: datetime, zone: tzinfo) -> Stretch | None:
        on = (found for one in self.blackouts for found in _those_at(one.stretches(now, zone), now) if now < found.end)
        return max(on, key=lambda found: found.end, default=None)

    def _next_blackout(self, now: datetime, zone: tzinfo) -> datetime:
        each = (one.stretches(now, zone) for one in self.blackouts)
        return min((next((on.start for on in one if on.start > now), _NEVER) for one in each), default=_NEVER)

    def _last_blackout(self, now: datetime, zone: tzinfo) -> datetime:
        """Give the end of the last near blackout before `now`."""
        each = (_until(one.stretches(now, zone), now) for one in self.blackouts)
        return max((found.end for one in each for found in one if found.end <= now), default=ALWAYS)


@lru_cache(maxsize=64)
def _first_long(windows: Windows, zone: tzinfo, least: timedelta, since: datetime) -> Stretch | None:
    """Give the first opening from `since` on that is long enough, as far as a search goes."""
    try:
        return first_long(pieces(windows.windows, windows.blackouts, Pass(since, zone)), least)
    except TooManyStretchesError:
        return None


def _zone(now: datetime) -> tzinfo:
    if now.tzinfo is None:
        raise ValueError(f"{now} has no time zone")
    return now.tzinfo


def _until(stretches: Iterator[Stretch], now: datetime) -> Iterator[Stretch]:
    for found in stretches:
        if found.start > now:
            return
        yield found


def _those_at(stretches: Iterator[Stretch], now: datetime) -> Iterator[Stretch]:
    return (found for found in _until(stretches, now) if now <= found.end)
