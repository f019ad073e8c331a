"""Durations as Go writes them: the syntax of CoreOS locksmith's configuration (Go's `time.ParseDuration`)."""

import re
from datetime import timedelta

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,  # the micro sign
    "\u03bcs": 10**3,  # the Greek letter mu
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_LONGEST = 2**63 - 1  # Go counts nanoseconds in 64 bits
_LONGEST_TEXT = 100

_TERM = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(_NANOSECONDS)})")
_DURATION = re.compile(rf"[+-]?(?:0|(?:{_TERM.pattern})+)")


def parse_duration(text: str) -> timedelta:
    """Read `1h30m`, `90m`, `1.5h`, `-10s`, `250ms`, `0`; `ValueError` says in a sentence why it is no duration.

    Fractions of a microsecond are rounded down, so that no negative duration becomes zero.
    """
    if len(text) > _LONGEST_TEXT or not _DURATION.fullmatch(text):
        raise ValueError(
            f"{text[:_LONGEST_TEXT]!r} is not a duration: give each number a unit (h, m, s, ms), like 1h30m or 10s"
        )
    total = sum(_nanoseconds(number, unit) for number, unit in _TERM.findall(text))
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
