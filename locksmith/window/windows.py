"""When a machine may reboot: its windows, less its blackouts. Pure: time is passed in, aware of its zone.

Each `now` is in the machine's zone, best a `ZoneInfo` that knows of daylight saving: what names no zone is in that one,
and so are the answers. Inside, all is UTC: Python compares and subtracts two times of one zone by what their clocks
show, not by what goes by.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from locksmith.window.blackout import Blackout
from locksmith.window.window import Stretch, Window

_INSTANT = timedelta(microseconds=1)
_SEEN_AHEAD = timedelta(days=8)
_MOST_STEPS = 1000
_NEVER = datetime.max.replace(tzinfo=UTC)
ALWAYS = datetime.min.replace(tzinfo=UTC)
"""The start of what has no beginning."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A time that is open without a break.

    `opens` is None where it has always been open, `closes` where it stays open for more than a week.
    """

    opens: datetime | None
    closes: datetime | None

    def left(self, now: datetime) -> timedelta:
        """Tell how much of it is left."""
        return timedelta.max if self.closes is None else self.closes.astimezone(UTC) - now.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Windows:
    """Any of `windows` is open (none: always), and none of `blackouts` is on."""

    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()

    def __str__(self) -> str:
        """Write it for a person: `Sat 23:05 for 11h, but not 2026-12-24`."""
        when = ", ".join(map(str, self.windows)) or "at any time"
        return f"{when}, but not {', '.join(map(str, self.blackouts))}" if self.blackouts else when

    def in_zone(self, zone: tzinfo) -> "Windows":
        """Give them in a zone, where they name none themselves."""
        return Windows(
            tuple(window.in_zone(zone) for window in self.windows),
            tuple(blackout.in_zone(zone) for blackout in self.blackouts),
        )

    def contains(self, now: datetime, least: timedelta = timedelta(0)) -> bool:
        """Tell whether it is open, with at least `least` of the opening left: whether a reboot may begin."""
        opening = self.opening(now)
        return opening is not None and opening.left(now) >= least

    def opening(self, now: datetime) -> Opening | None:
        """Give the opening that `now` is in; None: it is closed."""
        zone = _zone(now)
        stretches = self._stretches(now.astimezone(UTC), zone)
        if not stretches:
            return None
        opens, closes = min(found.start for found in stretches), self._closes(now.astimezone(UTC), zone)
        return Opening(None if opens == ALWAYS else opens.astimezone(zone), closes and closes.astimezone(zone))

    def next_open(self, now: datetime, least: timedelta = timedelta(0)) -> datetime | None:
        """Give the first instant from `now` on that is open, with at least `least` of the opening left.

        None: there is none that can be seen.
        """
        zone, moment = _zone(now), now.astimezone(UTC)
        for _ in range(_MOST_STEPS):
            opens = self._open_from(moment, zone)
            if opens is None:
                return None
            closes = self._closes(opens, zone)
            if closes is None or closes - opens >= least:
                return opens.astimezone(zone)
            moment = closes + _INSTANT
        return None

    def has_blackout(self, begin: datetime, end: datetime, zone: tzinfo) -> bool:
        """Whether a blackout is on at some time from `begin` to `end`."""
        firsts = (next((on for on in one.stretches(begin, zone) if on.end > begin), None) for one in self.blackouts)
        return any(on is not None and on.start < end for on in firsts)

    def upcoming(self, now: datetime) -> Iterator[Opening]:
        """Give every opening from `now` on, in order: first the one that `now` is in."""
        zone, moment = _zone(now), now.astimezone(UTC)
        while (opens := self._open_from(moment, zone)) is not None:
            found = self.opening(opens.astimezone(zone))
            if found is None:
                return
            yield found
            if found.closes is None:
                return
            moment = found.closes.astimezone(UTC) + _INSTANT

    def stretches(self, now: datetime) -> list[Stretch]:
        """Give what each of the windows that `now` is in leaves open around it: windows that overlap are two."""
        return self._stretches(now.astimezone(UTC), _zone(now))

    def _stretches(self, now: datetime, zone: tzinfo) -> list[Stretch]:
        windows = [found for window in self.windows for found in _around(window.stretches(now, zone), now)]
        if not self.windows:
            windows = [Stretch(ALWAYS, _NEVER)]
        if not windows or self._blackout(now, zone) is not None:
            return []
        begins, ends = self._last_blackout(now, zone), self._next_blackout(now, zone)
        cut = [(Stretch(max(found.start, begins), min(found.end, ends)), found) for found in windows]
        # A blackout that ends where a window does leaves an instant of it, which nobody would ever meet.
        return [left for left, found in cut if left.start < left.end or found.start == found.end]

    def _closes(self, now: datetime, zone: tzinfo) -> datetime | None:
        """Give when the opening that `now` is in ends, where that can be seen."""
        end = self._next_blackout(now, zone)
        if self.windows:
            end = min(end, self._windows_close(now, zone))
        return end if end - now <= _SEEN_AHEAD else None

    def _windows_close(self, now: datetime, zone: tzinfo) -> datetime:
        """Give how long one window or another is open, over those that meet, as far as that can be seen."""
        end = now
        for found in heapq.merge(*(window.stretches(now, zone) for window in self.windows)):
            if found.start > end or end - now > _SEEN_AHEAD:
                break
            end = max(end, found.end)
        return end

    def _open_from(self, now: datetime, zone: tzinfo) -> datetime | None:
        """Find the first instant from `now` on that is open."""
        moment: datetime | None = now
        for _ in range(_MOST_STEPS):
            moment = moment and self._in_window_from(moment, zone)
            if moment is None:
                return None
            blackout = self._blackout(moment, zone)
            if blackout is None and self._stretches(moment, zone):
                return moment
            moment = blackout.end if blackout else moment + _INSTANT
        return None

    def _in_window_from(self, now: datetime, zone: tzinfo) -> datetime | None:
        if not self.windows:
            return now
        each = (window.stretches(now, zone) for window in self.windows)
        firsts = (next((max(found.start, now) for found in one if found.end >= now), None) for one in each)
        return min((first for first in firsts if first is not None), default=None)

    def _blackout(self, now: datetime, zone: tzinfo) -> Stretch | None:
        on = (found for one in self.blackouts for found in _around(one.stretches(now, zone), now) if now < found.end)
        return max(on, key=lambda found: found.end, default=None)

    def _next_blackout(self, now: datetime, zone: tzinfo) -> datetime:
        each = (one.stretches(now, zone) for one in self.blackouts)
        return min((next((on.start for on in one if on.start > now), _NEVER) for one in each), default=_NEVER)

    def _last_blackout(self, now: datetime, zone: tzinfo) -> datetime:
        """Give the end of the last blackout before `now`, of those that are near."""
        each = (_until(one.stretches(now, zone), now) for one in self.blackouts)
        return max((found.end for one in each for found in one if found.end <= now), default=ALWAYS)


def _zone(now: datetime) -> tzinfo:
    if now.tzinfo is None:
        raise ValueError(f"{now} has no time zone")
    return now.tzinfo


def _until(stretches: Iterator[Stretch], now: datetime) -> Iterator[Stretch]:
    for found in stretches:
        if found.start > now:
            return
        yield found


def _around(stretches: Iterator[Stretch], now: datetime) -> Iterator[Stretch]:
    return (found for found in _until(stretches, now) if now <= found.end)
