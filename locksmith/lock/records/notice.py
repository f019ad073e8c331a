"""Notices of a group, and what its servers have told already: pure values and their JSON.

A notice is what people are told of once: a message. `notices/outbox/<id>` has those that are to be sent. The ledger,
`notices/ledger`, says what was seen of the group when the last of them was written. `notices/sent/<target>/<id>` says
how far a target has it. Nothing of the lock depends on any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, optional_moment, read_moment, read_optional_moment


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told. `id` is that of the event, the same on each server; `at` is when it was noticed.

    `headline` is the event in a few words, `sentence` says more, and what to do. `machines` are the names of the first
    machines that it is about, `count` is how many there are. No text has a line break or a control character.
    """

    id: str
    event: str
    group: str
    at: datetime
    headline: str
    sentence: str
    machines: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """A machine that people were told of: a digest of the cause (its claim, or since when it waits), and when."""

    cause: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was seen of a group, and told.

    `frozen` is when the freeze was ordered that is in force. `rollout` is when a rollout began that is under way, and
    `quiet` since when no machine of it is left. `halted_by` are digests of the incidents of a halt that was told.
    `told` has, for each event of machines, digests of the machines that people were told of. `last` is when the last
    notice of an event was made.
    """

    frozen: datetime | None = None
    rollout: datetime | None = None
    quiet: datetime | None = None
    halted: bool = False
    halted_by: tuple[str, ...] = ()
    told: Mapping[str, Mapping[str, Told]] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    last: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}), hash=False)


def digest(*parts: str) -> str:
    """Give 16 characters that stand for texts."""
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def encode(notice: Notice) -> bytes:
    """Write a notice as its record."""
    fields = {
        "schema": SCHEMA,
        "id": notice.id,
        "event": notice.event,
        "group": notice.group,
        "at": moment(notice.at),
        "headline": notice.headline,
        "sentence": notice.sentence,
        "machines": list(notice.machines),
        "count": notice.count,
    }
    return dump(fields)


def decode(raw: bytes, key: str) -> Notice:
    """Read a notice; `CorruptValueError` names its key."""
    try:
        fields = jsonread.load_record(raw, limits.NOTICE)
        return Notice(
            id=jsonread.read(fields, "id", str),
            event=jsonread.read(fields, "event", str),
            group=jsonread.read(fields, "group", str),
            at=read_moment(fields, "at"),
            headline=jsonread.read(fields, "headline", str),
            sentence=jsonread.read(fields, "sentence", str),
            machines=tuple(map(str, jsonread.read(fields, "machines", list, []))),
            count=jsonread.read(fields, "count", int, 0),
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(key, f"not a notice: {error}; it expires by itself") from None


def encode_ledger(ledger: Ledger) -> bytes:
    """Write a ledger as its record."""
    told = {
        event: {name: [one.cause, int(one.at.timestamp())] for name, one in machines.items()}
        for event, machines in ledger.told.items()
        if machines
    }
    fields = {
        "schema": SCHEMA,
        "frozen": optional_moment(ledger.frozen),
        "rollout": optional_moment(ledger.rollout),
        "quiet": optional_moment(ledger.quiet),
        "halted": ledger.halted,
        "halted_by": list(ledger.halted_by),
        "told": told,
        "last": {event: moment(at) for event, at in ledger.last.items()},
    }
    return dump(fields)


def decode_ledger(raw: bytes, key: str) -> Ledger:
    """Read a ledger; `CorruptValueError` names its key and the way out."""
    try:
        fields = jsonread.load_record(raw, limits.LEDGER)
        last = jsonread.read(fields, "last", dict, {})
        return Ledger(
            frozen=read_optional_moment(fields, "frozen"),
            rollout=read_optional_moment(fields, "rollout"),
            quiet=read_optional_moment(fields, "quiet"),
            halted=jsonread.read(fields, "halted", bool, False),
            halted_by=tuple(map(str, jsonread.read(fields, "halted_by", list, []))),
            told={event: _read_told(machines) for event, machines in jsonread.read(fields, "told", dict, {}).items()},
            last={event: read_moment(last, event) for event in last},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not a ledger of notices: {error}; remove the key: each event that lasts is then told once more"
        ) from None


def _read_told(machines: Any) -> dict[str, Told]:
    try:
        return {name: Told(str(cause), datetime.fromtimestamp(int(at), UTC)) for name, (cause, at) in machines.items()}
    except (AttributeError, TypeError, ValueError, OverflowError, OSError):
        raise jsonread.BadJsonError("the field 'told' must have a cause and a time for each machine") from None
