"""Durations as Go writes them, which CoreOS locksmith's configuration has, and as people and systemd write them."""

import re
from datetime import timedelta

_SECOND = 10**9
_NANOSECONDS = {
    **dict.fromkeys(("ns", "nsec"), 1),
    # The micro sign, and the Greek letter mu.
    **dict.fromkeys(("us", "usec", "\u00b5s", "\u03bcs"), 10**3),
    **dict.fromkeys(("ms", "msec"), 10**6),
    **dict.fromkeys(("s", "sec", "second", "seconds"), _SECOND),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60 * _SECOND),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600 * _SECOND),
    **dict.fromkeys(("d", "day", "days"), 86400 * _SECOND),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400 * _SECOND),
}
"""Neither months nor years, whose lengths differ; `M` would look like minutes."""
_LONGEST = 2**63 - 1  # Go counts nanoseconds in 64 bits
_LONGEST_TEXT = 100

# A unit is all letters in a row, so that `3 months` is not three minutes.
_TERM = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+) ?([A-Za-z\u00b5\u03bc]+)")
_DURATION = re.compile(rf"[+-]?(?:0|{_TERM.pattern}(?: ?{_TERM.pattern})*)")


def parse_duration(text: str) -> timedelta:
    """Read `1h30m`, `1h 30m`, `90min`, `14d`, `2w`, `1.5h`, `-10s`, `250ms`, `0`.

    `ValueError` says in a sentence why it is no duration. A day has 24 hours. Fractions of a microsecond are rounded
    down, so that no negative duration becomes zero.
    """
    terms = _TERM.findall(text) if len(text) <= _LONGEST_TEXT and _DURATION.fullmatch(text) else None
    if terms is None or any(unit not in _NANOSECONDS for _, unit in terms):
        raise ValueError(
            f"{text[:_LONGEST_TEXT]!r} is not a duration: give each number a unit (w, d, h, min, s, ms), "
            "like 14d, 1h30m or 10s"
        )
    total = sum(_nanoseconds(number, unit) for number, unit in terms)
    if total > _LONGEST:
        raise ValueError(f"{text!r} is too long for a duration: the longest is about 292 years")
    return timedelta(microseconds=(-total if text.startswith("-") else total) // 1000)


def format_duration(value: timedelta) -> str:
    """Write a duration that `parse_duration` reads again: `1h30m`, `-10h28m1s`, `0.25s`, `0s`."""
    seconds, micros = divmod(abs(value) // timedelta(microseconds=1), 10**6)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fine = f"{seconds}.{micros:06d}".rstrip("0").rstrip(".")
    parts = ((str(hours), "h"), (str(minutes), "m"), (fine, "s"))
    text = "".join(number + unit for number, unit in parts if number != "0")
    return ("-" if value < timedelta(0) else "") + (text or "0s")


def _nanoseconds(number: str, unit: str) -> int:
    whole, _, part = number.partition(".")
    scale: int = 10 ** len(part)
    return int(whole + part) * _NANOSECONDS[unit] // scale
