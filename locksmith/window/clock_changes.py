"""Changes of a wall clock: the instant at which the clock first shows a time of a day."""

from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

_DAY = timedelta(days=1)


# Each check of a window needs the same few days again.
@lru_cache(maxsize=1024)
def instant(day: date, at: time, zone: tzinfo) -> datetime | None:
    """Give the instant (UTC) at which a day's clock first shows a time or later; None: the day does not exist.

    A time in a skipped hour is right after the gap, a time in a doubled hour at the first of the two.
    """
    first = datetime.combine(day, at, zone)
    skipped = _offset(first.replace(fold=1)) - _offset(first)  # PEP 495: positive for a time in a gap only
    if skipped <= timedelta(0):
        return first.astimezone(UTC)
    return None if skipped >= _DAY else _end_of_gap(first.astimezone(UTC), skipped, zone)


def last_instant(day: date, at: time, zone: tzinfo) -> datetime | None:
    """Give the same instant, in a doubled hour at the second of the two."""
    found, later = instant(day, at, zone), datetime.combine(day, at, zone).replace(fold=1).astimezone(UTC)
    return found and max(found, later)


def _end_of_gap(inside: datetime, skipped: timedelta, zone: tzinfo) -> datetime:
    """Give the instant of a jump of the clock, to the second: `inside` is less than `skipped` after it."""
    after = _offset(inside.astimezone(zone))
    earliest = (inside - skipped).replace(microsecond=0)
    seconds = range(int(skipped.total_seconds()) + 1)

    def jumped(second: int) -> bool:
        return _offset((earliest + timedelta(seconds=second)).astimezone(zone)) == after

    return earliest + timedelta(seconds=bisect_left(seconds, True, key=jumped))


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta(0)
