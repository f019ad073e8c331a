"""A set of windows and blackouts, of the configuration or, by its name, of the store; and its JSON. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from locksmith.errors import CorruptValueError, UsageError
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, optional_moment, read_optional_moment
from locksmith.util.words import quoted
from locksmith.window.blackout import Blackout
from locksmith.window.calendar import parse_zone
from locksmith.window.window import Window
from locksmith.window.windows import Windows

MOST_PARTS = 500
"""Windows and blackouts of a set: each cycle of the loop checks each of them."""

EXAMPLE = "--open '02:00 for 3h'"
"""The flag of a window, for a command that is suggested."""


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Windows and blackouts. Those without a zone are in `zone` (IANA's name; empty: that of each machine).

    In the store: `who` wrote the set, when, and why.
    """

    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()
    zone: str = ""
    who: str = ""
    since: datetime | None = None
    reason: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, windows: Iterable[str], blackouts: Iterable[str], zone: str = "") -> Self:
        """Read the texts of a set; `UsageError` says which of them is wrong."""
        try:
            known = zone and parse_zone(zone).key
        except ValueError as error:
            raise UsageError(str(error)) from None
        windows, blackouts = list(windows), list(blackouts)
        if (number := len(windows) + len(blackouts)) > MOST_PARTS:
            raise UsageError(f"it has {number} windows and blackouts together, and at most {MOST_PARTS} are allowed")
        return cls(tuple(map(Window.parse, windows)), tuple(map(Blackout.parse, blackouts)), known)

    def resolved(self) -> Windows:
        """Give the set with its zone in each of its parts."""
        windows = Windows(self.windows, self.blackouts)
        return windows.in_zone(parse_zone(self.zone)) if self.zone else windows


def union(sets: Iterable[WindowSet]) -> Windows | None:
    """Give the windows of all sets, less the blackouts of all; None: there are neither."""
    parts = [one.resolved() for one in sets]
    windows = tuple(window for part in parts for window in part.windows)
    blackouts = tuple(blackout for part in parts for blackout in part.blackouts)
    return Windows(windows, blackouts) if windows or blackouts else None


def encode(of: WindowSet) -> bytes:
    """Write a set as its record."""
    known = {
        "schema": SCHEMA,
        "open": [str(window) for window in of.windows],
        "blackouts": [str(blackout) for blackout in of.blackouts],
        "zone": of.zone,
        "who": of.who,
        "since": optional_moment(of.since),
        "reason": of.reason,
    }
    return dump(known, of.extra)


def decode(raw: bytes, key: str) -> WindowSet:
    """Read a set; `CorruptValueError` names its key and the way out."""
    name = key.rpartition("/")[2]
    try:
        fields = jsonread.load_record(raw, limits.WINDOW_SET)
        read = _parsed(fields)
        return WindowSet(
            read.windows,
            read.blackouts,
            read.zone,
            who=jsonread.read(fields, "who", str, ""),
            since=read_optional_moment(fields, "since"),
            reason=jsonread.read(fields, "reason", str, ""),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except (jsonread.BadJsonError, UsageError) as error:
        raise CorruptValueError(
            key, f"not a set of windows: {error}; `locksmithctl window set {quoted(name)} {EXAMPLE}` writes it again"
        ) from None


def _parsed(fields: dict[str, Any]) -> WindowSet:
    windows, blackouts = (_texts(jsonread.read(fields, part, list, []), part) for part in ("open", "blackouts"))
    if not windows and not blackouts:
        raise jsonread.BadJsonError("it has neither a window nor a blackout")
    return WindowSet.parse(windows, blackouts, jsonread.read(fields, "zone", str, ""))


def _texts(values: list[Any], name: str) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise jsonread.BadJsonError(f"the field {name!r} must be a list of strings")
    return values


_KNOWN = {"schema", "open", "blackouts", "zone", "who", "since", "reason"}
