"""A field of a calendar expression: numbers, ranges and repetitions, as in systemd.time(7).

`*`, `2,4`, `1..5`, `10..20/5`, `3/2`; seconds may have a fraction, so they are counted in microseconds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MICROSECONDS = 10**6
_SHORTEST_MONTH = 28
_NUMBER = r"[0-9]{1,9}"
_DECIMAL = r"[0-9]{1,9}(?:\.[0-9]+)?"

_MOST_NUMBERS = 10_000


class TooManyNumbersError(ValueError):
    """Refused: more numbers than any calendar has use for."""


@dataclass(frozen=True, slots=True)
class Part:
    """The number `first`, and with `every` also each further step, up to `last` (None: to the field's end)."""

    first: int
    last: int | None = None
    every: int = 0

    @classmethod
    def make(cls, first: int, last: int | None, every: int) -> "Part":
        """Give a part that ends with a number that it reaches; if its end is its beginning, it is a number."""
        if last is not None and every and last > first:
            last -= (last - first) % every
        return cls(first) if first == last else cls(first, last, every)

    def values(self, low: int, high: int) -> range:
        """Give its numbers. `ValueError`: a number is outside the field, or the repetition has no second number."""
        last = self.last if self.last is not None else high if self.every else self.first
        if not low <= self.first <= last <= high or self.first + self.every > last:
            raise ValueError
        return range(self.first, last + 1, self.every or 1)


@dataclass(frozen=True, slots=True)
class Field:
    """All parts of a field; none: any number (`*`)."""

    parts: tuple[Part, ...] = ()

    @classmethod
    def parse(cls, text: str, *, decimal: bool = False) -> "Field":
        """Read a field; `decimal`: seconds with a fraction, given in microseconds. `ValueError`: it is no field."""
        if text == "*":
            return cls((Part(0, None, MICROSECONDS),)) if decimal else cls()
        return cls(tuple(_part(part, decimal=decimal) for part in text.split(",")))

    def values(self, low: int, high: int) -> frozenset[int]:
        """Give every number of the field. `ValueError`: a number is outside `low` to `high`, or there are too many."""
        if not self.parts:
            return frozenset(range(low, high + 1))
        ranges = [part.values(low, high) for part in self.parts]
        # The numbers are counted before they are listed: a second has a million parts.
        if sum(map(len, ranges)) > _MOST_NUMBERS:
            raise TooManyNumbersError
        return frozenset(number for numbers in ranges for number in numbers)


def days_from_end(field: Field) -> Iterator[range]:
    """Give the numbers of a field after `~`, counted back from a month's last day, which is 0.

    A range runs from its later day to its earlier one, a repetition up to the month's end.
    """
    for part in field.parts:
        _check_from_end(part)
        if part.last is not None:
            first, last = part.last, part.first
        else:
            first, last = part.first, 1 if part.every else part.first
        yield range(1 - first, 2 - last, part.every or 1)


def _check_from_end(part: Part) -> None:
    if part.last is not None:
        part.values(1, _SHORTEST_MONTH)
    elif not 1 <= part.first <= _SHORTEST_MONTH or part.first - part.every < 1:
        raise ValueError


def _part(text: str, *, decimal: bool) -> Part:
    number = _DECIMAL if decimal else _NUMBER
    found = re.fullmatch(rf"({number})(?:\.\.({number}))?(?:/({number}))?", text)
    if found is None:
        raise ValueError
    first, last, every = (None if group is None else _number(group, decimal=decimal) for group in found.groups())
    if every == 0:
        raise ValueError
    second = MICROSECONDS if decimal else 1
    return Part.make(first or 0, last, every or (0 if last is None else second))


def _number(text: str, *, decimal: bool) -> int:
    if not decimal:
        return int(text)
    whole, _, fraction = text.partition(".")
    rounded = (int(fraction[:7].ljust(7, "0")) + 5) // 10
    return int(whole) * MICROSECONDS + rounded
