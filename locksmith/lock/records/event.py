"""An event of a group's history, as a record. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from locksmith.lock.records.claim import Claim
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, optional_moment, read_moment, read_optional_moment

HELD, LOCK, UNLOCK, SET_MAX, RETIRE, REPAIR = "held", "lock", "unlock", "set-max", "retire-v2", "repair"

FREEZE, THAW, HOLD, UNHOLD, RESUME, EXPIRE = "freeze", "thaw", "hold", "unhold", "resume", "expired"
FORGET, IMPORT_AIRLOCK = "forget", "import-airlock"
ENROLLED, REVOKED, REINSTATED = "enrolled", "revoked", "reinstated"
"""What happened: a hold that came to its end, an operator's act, by its command, a slot that expired, or the begin or
the end of a credential, or the end of a revocation."""
OF_CREDENTIALS = frozenset({ENROLLED, REVOKED, REINSTATED})

REBOOTED = "rebooted"
"""How a hold ends that was for a reboot, and had it; every other end says why there was none."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history; moments are aware.

    `holder`, `hostname`, `kind` and `version` are of the claim that it is about, `taken` is when that got its slot,
    `since` when it was made. `who` did it, an operator on `host`; `reason` is theirs, `detail` says how it went or what
    was undone.
    """

    at: datetime
    act: str
    who: str = ""
    reason: str = ""
    detail: str = ""
    holder: str = ""
    hostname: str = ""
    kind: str = ""
    version: str = ""
    since: datetime | None = None
    taken: datetime | None = None
    host: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def about(
    claim: Claim, at: datetime, act: str, *, who: str | None = None, reason: str | None = None, detail: str = ""
) -> Event:
    """Make the record of something that happened to a claim; without `who` and `reason` they are the claim's own."""
    return Event(
        at=at,
        act=act,
        who=claim.who if who is None else who,
        reason=claim.reason if reason is None else reason,
        detail=detail,
        holder=claim.holder,
        hostname=claim.hostname,
        kind=claim.kind,
        version=claim.version,
        since=claim.since,
        taken=claim.taken,
    )


def encode(event: Event) -> bytes:
    """Write an event as its record."""
    known = {
        "schema": SCHEMA,
        "at": moment(event.at),
        "act": event.act,
        "who": limits.text(event.who),
        "reason": limits.text(event.reason),
        "detail": limits.text(event.detail),
        "holder": limits.text(event.holder),
        "hostname": limits.text(event.hostname),
        "kind": event.kind,
        "version": limits.text(event.version),
        "since": optional_moment(event.since),
        "taken": optional_moment(event.taken),
        "host": limits.text(event.host),
    }
    return dump(known, event.extra)


def decode(raw: bytes) -> Event:
    """Read a record, or raise `BadJsonError`."""
    fields = jsonread.load_record(raw, limits.EVENT)
    return Event(
        at=read_moment(fields, "at"),
        act=jsonread.read(fields, "act", str),
        **{name: jsonread.read(fields, name, str, "") for name in _TEXTS},
        since=read_optional_moment(fields, "since"),
        taken=read_optional_moment(fields, "taken"),
        extra={name: value for name, value in fields.items() if name not in _KNOWN},
    )


_TEXTS = ("who", "reason", "detail", "holder", "hostname", "kind", "version", "host")

_KNOWN = {"schema", "at", "act", "since", "taken", *_TEXTS}
