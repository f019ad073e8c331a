"""How long something takes, where it is not the same each time: `2m`, `90s..4m`, `3m+-30s`. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Self

from locksmith.window.duration import parse_duration

_RANGE = re.compile(r"(.+?)\.\.(.+)")
_NORMAL = re.compile(r"(.+?) ?\+- ?(.+)")


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds: `low` to `high`, each alike; `normal`: a mean `low` and a deviation `high`; or drawn from `seen`."""

    low: float
    high: float
    normal: bool = False
    seen: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one; `ValueError` says in one sentence why it is none."""
        if found := _NORMAL.fullmatch(text):
            mean, deviation = map(_seconds, found.groups())
            return cls(mean, deviation, normal=True)
        if found := _RANGE.fullmatch(text):
            low, high = map(_seconds, found.groups())
            if high < low:
                raise ValueError(f"{text!r} ends before it begins")
            return cls(low, high)
        return cls(_seconds(text), _seconds(text))

    @classmethod
    def of_seen(cls, seconds: Sequence[float]) -> Self:
        """Take what was seen: each of it comes again as often."""
        return cls(min(seconds), max(seconds), seen=tuple(seconds))

    @property
    def mean(self) -> float:
        """What it takes on average."""
        if self.seen:
            return sum(self.seen) / len(self.seen)
        return self.low if self.normal else (self.low + self.high) / 2

    def scaled(self, factor: float) -> "Spread":
        """Give one of which everything takes so many times as long."""
        return Spread(
            self.low * factor, self.high * factor, self.normal, tuple(seconds * factor for seconds in self.seen)
        )

    def sampler(self, rng: Random) -> Callable[[], float]:
        """Give what draws one, again and again; never less than nothing."""
        low, high = self.low, self.high
        if self.seen:
            return partial(rng.choice, self.seen)
        if self.normal:
            return lambda: max(0.0, rng.gauss(low, high))
        if low == high:
            return lambda: low
        return partial(rng.uniform, low, high)


NOTHING = Spread(0.0, 0.0)
"""It takes no time."""


def _seconds(text: str) -> float:
    seconds = parse_duration(text.strip()).total_seconds()
    if seconds < 0:
        raise ValueError(f"{text!r} is less than nothing")
    return seconds
