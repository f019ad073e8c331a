"""A share of the group instead of a number of slots, as it is in `share`: pure, and its JSON.

The program that takes the lock writes the share's number into the semaphore's `max`, so that a legacy node obeys it
too. The share remembers what it wrote: another number there was set manually, and then the share is void.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump

_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?%")


@dataclass(frozen=True, slots=True)
class Share:
    """A share in percent, as text (`10%`); `wrote` is what `max` may be by its own doing, the youngest number last.

    Two numbers where one replaces the other: on v2 the share is written before the semaphore is.
    """

    percent: str
    wrote: tuple[int, ...]
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def of(self, machines: int) -> int:
        """Give the slots that so many present machines make: rounded down, at least 1."""
        return max(1, int(Decimal(self.percent.rstrip("%")) * machines / 100))

    def is_void(self, slots: int) -> bool:
        """Whether the semaphore's `max` was set since, and not by this share; a share makes no number below 1."""
        return slots < 1 or slots not in self.wrote

    def is_pending(self, slots: int) -> bool:
        """Whether, by the semaphore's `max`, the number written last may still be on its way there."""
        return slots != self.wrote[-1]

    def has_landed(self, slots: int) -> bool:
        """Whether the number written last is set, and the one before it is still allowed."""
        return len(self.wrote) > 1 and not self.is_pending(slots)

    def landed(self) -> "Share":
        """Give the share when the number written last is set: if the one before is set again, the share is void."""
        return replace(self, wrote=self.wrote[-1:])

    def replacing(self, before: int, after: int) -> "Share":
        """Give the share while `max` changes from one number to another by its own doing."""
        return replace(self, wrote=tuple(dict.fromkeys((before, after))))


def is_share(text: str) -> bool:
    """Whether a text means a share, right or wrong."""
    return text.endswith("%")


def parse(text: str) -> str:
    """Read `10%` or `2.5%`; `ValueError` says what is wrong with it."""
    if not _PERCENT.fullmatch(text) or not 0 < Decimal(text.rstrip("%")) <= 100:  # noqa: PLR2004 - percent
        raise ValueError(f"a share is more than 0% and at most 100%, like 10% or 2.5%; {text!r} is not")
    return text


def encode(share: Share) -> bytes:
    """Write a share as its record."""
    known = {"schema": SCHEMA, "percent": share.percent, "wrote": list(share.wrote)}
    return dump(known, share.extra)


def decode(raw: bytes, key: str) -> Share:
    """Read a share; `CorruptValueError` names its key."""
    try:
        fields = jsonread.load_record(raw, limits.SHARE)
        return Share(
            percent=jsonread.convert("percent", jsonread.read(fields, "percent", str), parse),
            wrote=_numbers(jsonread.read(fields, "wrote", list)),
            extra={name: value for name, value in fields.items() if name not in {"schema", "percent", "wrote"}},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not a share: {error}; `locksmithctl set-max 1`, or another number, makes it new"
        ) from None


def _numbers(found: list[Any]) -> tuple[int, ...]:
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in found):
        raise jsonread.BadJsonError("the field 'wrote' must be a list of whole numbers")
    return tuple(found)
