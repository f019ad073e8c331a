"""The reboots of a machine that locksmith made: what caused them, and which reboots they forbid. Pure, and their JSON.

A trigger may say anything, and a machine does not reboot in a loop. A cause that a machine has rebooted for causes no
second reboot for a while, and all triggers together cause only so many reboots a day. Operators' orders do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from locksmith.lock.records.cause import OPERATOR, Cause, cause_of, encode_causes, read_causes, short
from locksmith.lock.records.claim import UNKNOWN_VERSIONS
from locksmith.util import jsonread
from locksmith.util.records import moment, read_moment

DAY = timedelta(days=1)
MOST_REMEMBERED = 32
"""The reboots that are remembered."""
LONGEST_REMEMBERED = timedelta(days=31)
"""A reboot of so long ago forbids nothing: `reboot.repeat` is 30 days at most."""


@dataclass(frozen=True, slots=True)
class LastReboot:
    """A reboot of this machine that locksmith made: what for, and when.

    `nonce` is that of its claim (empty: not known). `known` are all that wanted it, first the trigger that caused it
    (empty: an earlier version did not say).
    """

    version: str
    at: datetime
    nonce: str = ""
    known: tuple[Cause, ...] = ()

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What it was for: at least the version."""
        return self.known or (cause_of("", self.version),)

    @property
    def is_ordered(self) -> bool:
        """Whether an operator ordered it."""
        return self.causes[0].trigger == OPERATOR

    def met(self, cause: Cause) -> bool:
        """Whether this reboot was for that cause too."""
        return any(_is_again(cause, one) for one in self.causes)


Past = Sequence[LastReboot]
"""Reboots, the last one at the end."""


def repeated(cause: Cause, past: Past, now: datetime, repeat: timedelta) -> LastReboot | None:
    """Give the last reboot for the same cause, if it was less than `repeat` ago."""
    # If the clock was set back, a reboot lies ahead of it: that does not forbid for longer than `repeat`.
    return next((one for one in reversed(past) if abs(now - one.at) < repeat and one.met(cause)), None)


def caused_today(past: Past, now: datetime) -> list[LastReboot]:
    """Give the reboots of the last 24 hours that triggers caused, the last one at the end."""
    return [one for one in past if abs(now - one.at) < DAY and not one.is_ordered]


def next_allowed(past: Past, now: datetime, most: int) -> datetime | None:
    """Say when triggers may cause another reboot, of so many in 24 hours; None: now (`most` of 0: at any time)."""
    today = caused_today(past, now)
    return today[-most].at + DAY if 0 < most <= len(today) else None


def repeated_words(cause: Cause, at: str = "") -> str:
    """Say why a second reboot for a cause is refused."""
    return f"it has rebooted for {named(cause)} already{at}, and that is wanted again: a second reboot is refused"


def too_many_words(past: Past, now: datetime) -> str:
    """Say why triggers may cause no reboot today, and the way out."""
    today = caused_today(past, now)
    times = ", ".join(f"{named(one.causes[0])} at {moment(one.at)}" for one in today[-3:])
    return (
        f"its triggers have caused {len(today)} reboots in 24 hours (reboot.max-per-day), the last for {times}; "
        "`locksmithctl recheck` on this machine allows more"
    )


def named(cause: Cause) -> str:
    """Name a cause for a person."""
    trigger, version = cause
    if version in UNKNOWN_VERSIONS:
        return trigger or "an unknown update"
    if trigger in {"", "update-engine"}:
        return f"update {version}"
    return trigger if version.startswith(trigger) else f"{trigger} {version}"


def merged(*pasts: Past) -> tuple[LastReboot, ...]:
    """Put several memories together: each reboot once, as the first of them knows it."""
    found: dict[tuple[object, ...], LastReboot] = {}
    for one in (one for past in pasts for one in past):
        found.setdefault((one.nonce,) if one.nonce else (one.version, one.at), one)
    return kept(sorted(found.values(), key=lambda one: one.at))


def kept(past: Past) -> tuple[LastReboot, ...]:
    """Leave out the reboots that are too many, or long before the last one."""
    return tuple(one for one in past[-MOST_REMEMBERED:] if past[-1].at - one.at < LONGEST_REMEMBERED)


def encode_reboot(last: LastReboot) -> dict[str, Any]:
    """Give a reboot for JSON."""
    return {
        "at": moment(last.at),
        "version": short(last.version),
        **({"nonce": last.nonce} if last.nonce else {}),
        **({"causes": encode_causes(last.known)} if last.known else {}),
    }


def parse_reboot(fields: dict[str, Any]) -> LastReboot:
    """Read a reboot; `BadJsonError`: it is none."""
    return LastReboot(
        version=jsonread.read(fields, "version", str),
        at=read_moment(fields, "at"),
        nonce=jsonread.read(fields, "nonce", str, ""),
        known=read_causes(fields),
    )


def read_earlier(fields: dict[str, Any]) -> tuple[LastReboot, ...]:
    """Read the field `earlier`, if it is there; `BadJsonError`: it is no list of reboots."""
    read = jsonread.read(fields, "earlier", list, [])
    if not all(isinstance(one, dict) for one in read):
        raise jsonread.BadJsonError("the field 'earlier' must be a list of reboots")
    return tuple(map(parse_reboot, read[-MOST_REMEMBERED:]))


def _is_again(cause: Cause, earlier: Cause) -> bool:
    """Whether a cause names nothing that an earlier cause did not name.

    A version that both name is the same thing, also if another trigger found it. If a trigger names no version, nothing
    shows that anything has changed. An operator need not name anything.
    """
    if cause.version in UNKNOWN_VERSIONS and earlier.version in UNKNOWN_VERSIONS:
        return cause.trigger == earlier.trigger and cause.trigger not in {"", OPERATOR}
    return cause.version == earlier.version
