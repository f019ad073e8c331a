"""What airlock, another FleetLock server, keeps in etcd v3, and the mark of a group that was taken over from it. Pure.

airlock's semaphore of a group is `{"total_slots":2,"holders":["..."]}`, the holders sorted. It says nothing more of a
holder than its id: neither since when it has the slot, nor whether its machine is up. airlock writes the number of
slots once, when the key does not exist, and guards each later write by the key's version. So a semaphore that another
program has closed (no slot, no holder) stays closed: airlock grants nothing there, and a grant on its way fails.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from locksmith.errors import CorruptValueError
from locksmith.lock.records.keys import query_escape
from locksmith.lock.records.semaphore import INT64_MAX, read_holders
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, read_moment

PREFIX = "com.coreos.airlock/groups/"
"""Where airlock's semaphores are, without a slash before it."""
_END = "/v1/semaphore"

_GROUP = re.compile("[a-zA-Z0-9.-]{1,200}")
"""The groups that FleetLock allows, and a length that the server serves. airlock itself checks none of it."""


@dataclass(frozen=True, slots=True)
class AirlockSemaphore:
    """A group's slots at airlock, and the ids that have one, sorted."""

    slots: int
    holders: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether airlock grants nothing there, and no client has a slot."""
        return self.slots == 0 and not self.holders


CLOSED = AirlockSemaphore(0)
"""What an import leaves."""


def semaphore_key(group: str) -> str:
    """Name the key of a group's semaphore at airlock."""
    return f"{PREFIX}{query_escape(group)}{_END}"


def group_of(key: str) -> str | None:
    """Name the group of a key; None: it is not the key of a semaphore, as airlock writes it."""
    group = unquote_plus(key.removeprefix(PREFIX).removesuffix(_END))
    return group if group and semaphore_key(group) == key else None


def is_group(group: str) -> bool:
    """Whether FleetLock allows a group of this name, and etcd's paths do not collapse it."""
    return _GROUP.fullmatch(group) is not None and group not in {".", ".."}


def encode(semaphore: AirlockSemaphore) -> bytes:
    """Write a semaphore without holders as airlock's Go encoder does."""
    if semaphore.holders:
        raise ValueError("locksmith writes no holder into airlock's semaphore")
    return b'{"total_slots":%d,"holders":[]}' % semaphore.slots


def decode(raw: bytes, key: str) -> AirlockSemaphore:
    """Read airlock's semaphore; `CorruptValueError`, with the key's name: the value is not exactly one."""
    try:
        fields = jsonread.load_record(raw, limits.SEMAPHORE)
        return _parse(fields)
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not a semaphore of airlock: {error}; read it with `etcdctl get {key}`, and correct it there"
        ) from None


def _parse(fields: dict[str, Any]) -> AirlockSemaphore:
    if unknown := sorted(set(fields) - {"total_slots", "holders"}):
        raise jsonread.BadJsonError(f"the field {unknown[0]!r} is unknown")
    slots = jsonread.read(fields, "total_slots", int)
    if not 0 <= slots <= INT64_MAX:
        raise jsonread.BadJsonError("the field 'total_slots' must be from 0 to 2^63 - 1")
    return AirlockSemaphore(slots, tuple(sorted(read_holders(fields))))


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The mark that an import leaves in its group: who took the group over from airlock, when, and what was there.

    `nonce` tells this import from every other. `kept`: the holders have their slots here since then. `closed`: the same
    write has closed airlock's semaphore.
    """

    nonce: str
    at: datetime
    who: str
    host: str
    before: AirlockSemaphore
    kept: bool = True
    closed: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def left(self) -> AirlockSemaphore:
        """What the import has left at airlock."""
        return CLOSED if self.closed else self.before

    def describe(self) -> str:
        """Say by whom and when, in a few words."""
        return f"by {self.who}{f'@{self.host}' if self.host else ''} at {moment(self.at)}"


def encode_mark(mark: TakenOver) -> bytes:
    """Write the mark as its record."""
    known = {
        "schema": SCHEMA,
        "nonce": mark.nonce,
        "at": moment(mark.at),
        "who": limits.text(mark.who),
        "host": limits.text(mark.host),
        "total_slots": mark.before.slots,
        "holders": list(mark.before.holders),
        "kept": mark.kept,
        "closed": mark.closed,
    }
    return dump(known, mark.extra)


def decode_mark(raw: bytes, key: str) -> TakenOver:
    """Read the mark; `CorruptValueError` names its key and the way out."""
    try:
        fields = jsonread.load_record(raw, limits.SEMAPHORE)
        return TakenOver(
            nonce=jsonread.read(fields, "nonce", str),
            at=read_moment(fields, "at"),
            who=jsonread.read(fields, "who", str),
            host=jsonread.read(fields, "host", str, ""),
            before=AirlockSemaphore(jsonread.read(fields, "total_slots", int), tuple(read_holders(fields))),
            kept=jsonread.read(fields, "kept", bool, True),
            closed=jsonread.read(fields, "closed", bool, True),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not the mark of an import from airlock: {error}; `etcdctl del {key}` removes it"
        ) from None


_KNOWN = {"schema", "nonce", "at", "who", "host", "total_slots", "holders", "kept", "closed"}
