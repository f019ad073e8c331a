"""What a daemon with the strategy `server` and `locksmith-server` say to each other, as JSON. Pure.

`POST /machines/v1/GROUP/CALL`. A call has the machine's claim, or names keys, and says what the machine knows of the
store. An answer says at which revision of which cluster it was given. Only `granted`, with the nonce of the claim that
was asked for, is a permission. An error has a `kind`, by which the daemon raises what the lock would have raised.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from locksmith.errors import (
    ConflictError,
    CorruptValueError,
    ForbiddenError,
    LocksmithError,
    OlderJournalError,
    OtherClusterError,
    OutcomeUnknownError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from locksmith.lock.answer import Answer, Denied, Granted, QueuePosition
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.past import encode_reboot, parse_reboot
from locksmith.store.protocol import Entry, Position, Reading
from locksmith.util import limits
from locksmith.util.jsonread import BadJsonError, check_plain, read
from locksmith.util.records import optional_moment, read_optional_moment

REQUEST, WAIT, COMMIT = "request", "wait", "commit"
REPORT_FAILURE, ABORT, COMPLETE, LEAVE = "report-failure", "abort", "complete", "leave"
PRESENCE, READ, COUNT, KNOWS, HELLO = "presence", "read", "count", "knows", "hello"
CALLS = (REQUEST, WAIT, COMMIT, REPORT_FAILURE, ABORT, COMPLETE, LEAVE, PRESENCE, READ, COUNT, KNOWS, HELLO)
OF_A_CLAIM = frozenset({REQUEST, WAIT, COMMIT, REPORT_FAILURE, ABORT, COMPLETE, LEAVE})
"""Calls with a claim. The others are about what is in the store."""

LARGEST = 512 * 1024
"""Bytes of a call: a presence, in base64, is the longest part of any."""
LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer: a `read` of several keys."""
MOST_KEYS, LONGEST_KEY = 128, 2048
"""Keys of a `read`, each of them once, and characters of a key: a group and an id may have 200, escaped as `%XX`."""
LONGEST = 1000
"""Characters of a reason or a failure."""

GRANTED, DENIED, DONE = "granted", "denied", "done"

UNAVAILABLE, REFUSED, UNKNOWN, CONFLICT = "unavailable", "refused", "unknown", "conflict"
OTHER_CLUSTER, CORRUPT, OLDER_JOURNAL, LOCK, FAILED = "other_cluster", "corrupt", "older_journal", "lock", "failed"
NOT_ALLOWED, BAD_CALL = "unauthorized", "bad_request"
UNKNOWN_CALLER = "store"
"""The kind of a call that has not begun: the credential could not be read."""

_OF_STORE: tuple[tuple[type[StoreError], str], ...] = (
    (OtherClusterError, OTHER_CLUSTER),
    (StoreUnavailableError, UNAVAILABLE),
    (OutcomeUnknownError, UNKNOWN),
    (ConflictError, CONFLICT),
    (ForbiddenError, NOT_ALLOWED),
    (StoreRefusedError, REFUSED),
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it was read: `known` is what the machine has seen of the store."""

    known: Position
    claim: Claim | None
    fields: Mapping[str, Any]


def encode_call(known: Position, claim: Claim | None = None, **fields: Any) -> bytes:
    """Write a call."""
    said: dict[str, Any] = {"store": {"cluster": known.cluster, "revision": known.revision}, **fields}
    if claim is not None:
        said |= {"machine": claim.holder, "claim": json.loads(claim_record.encode(claim))}
    return json.dumps(said).encode()


def decode_call(call: str, fields: dict[str, Any]) -> Call:
    """Read a call; `BadJsonError` says what is wrong with it."""
    check_plain(fields)
    known = decode_position(fields)
    if call not in OF_A_CLAIM:
        return Call(known, None, fields)
    machine = read(fields, "machine", str)
    raw = json.dumps(read(fields, "claim", dict)).encode()
    try:
        claim = claim_record.decode(raw, "claim", machine)
    except CorruptValueError as error:
        raise BadJsonError(f"the field 'claim' is {error.problem.partition('; ')[0]}") from None
    if not claim.is_journaled:
        raise BadJsonError(f"a machine's claim is of the kind reboot or command, not {claim.kind:.40}")
    texts = {"holder": claim.holder, "nonce": claim.nonce, "hostname": claim.hostname, "who": claim.who}
    for name, text in texts.items():
        if not text.isprintable() or len(text) > limits_of(name):
            raise BadJsonError(
                f"the {name} of the claim must be at most {limits_of(name)} characters that can be printed"
            )
    if not (claim.holder and claim.nonce):
        raise BadJsonError("a claim has a holder and a nonce")
    if claim.since.tzinfo is None:
        raise BadJsonError("the claim's since must name its time zone")
    return Call(known, claim, fields)


def limits_of(name: str) -> int:
    """Give how many characters a field of a claim has at most."""
    return {"holder": 64, "nonce": 64, "hostname": 500, "who": 500}[name]


def decode_position(fields: dict[str, Any]) -> Position:
    """Read which cluster was seen at which revision."""
    store = read(fields, "store", dict)
    revision, cluster = read(store, "revision", int), read(store, "cluster", str)
    if revision < 0 or len(cluster) > 16 or set(cluster) - set("0123456789abcdef"):  # noqa: PLR2004 - a 64-bit id
        raise BadJsonError("the field 'store' must have a revision, and the id of a cluster or nothing")
    return Position(revision, cluster)


def encode_answer(answer: Answer, nonce: str) -> dict[str, Any]:
    """Give what the lock answered to a claim, for JSON."""
    if isinstance(answer, Granted):
        return {"answer": GRANTED, "nonce": nonce}
    queued = answer.queued
    return {
        "answer": DENIED,
        "nonce": nonce,
        "code": answer.code,
        "text": answer.text,
        "lost": answer.lost,
        "must_release": answer.must_release,
        "may_hold": answer.may_hold,
        "past": [encode_reboot(one) for one in answer.past],
        "until": optional_moment(answer.until),
        **({} if queued is None else {"queued": _encode_queued(queued)}),
    }


def decode_answer(fields: dict[str, Any], claim: Claim, sent: float, now: datetime) -> Answer:
    """Read an answer to a claim; `BadJsonError`: it is none, or none to this claim. `sent` is the time of the call."""
    if read(fields, "nonce", str) != claim.nonce:
        raise BadJsonError("it answers another claim")
    said = read(fields, "answer", str)
    if said == GRANTED:
        return Granted(sent)
    if said != DENIED:
        raise BadJsonError("the field 'answer' must be granted or denied")
    until = read_optional_moment(fields, "until")
    past = read(fields, "past", list)
    if not all(isinstance(one, dict) for one in past):
        raise BadJsonError("the field 'past' must be a list of reboots")
    return Denied(
        read(fields, "code", str),
        read(fields, "text", str),
        lost=read(fields, "lost", bool),
        must_release=read(fields, "must_release", bool),
        queued=_decode_queued(read(fields, "queued", dict)) if "queued" in fields else None,
        may_hold=read(fields, "may_hold", bool),
        past=tuple(map(parse_reboot, past)),
        until=until.astimezone(now.tzinfo) if until else None,
    )


def encode_error(error: LocksmithError) -> dict[str, Any]:
    """Give an error of the lock or of the store, for JSON."""
    said = {"value": str(error)}
    if isinstance(error, OlderJournalError):
        return {"kind": OLDER_JOURNAL, "state": error.state, **said}
    if isinstance(error, CorruptValueError):
        return {"kind": CORRUPT, "key": error.key, "value": error.problem}
    if isinstance(error, StoreError):
        kind = next((kind for one, kind in _OF_STORE if isinstance(error, one)), UNAVAILABLE)
        return {"kind": kind, **said}
    return {"kind": LOCK, **said}


def decode_error(kind: str, value: str, fields: Mapping[str, Any]) -> LocksmithError:
    """Give the error that the server met; of a kind that is not known here, `OutcomeUnknownError`."""
    if kind == OLDER_JOURNAL and isinstance(fields.get("state"), str):
        return OlderJournalError(fields["state"], value)
    if kind == CORRUPT and isinstance(fields.get("key"), str):
        return CorruptValueError(fields["key"], value)
    known: Mapping[str, Callable[[str], LocksmithError]] = {
        **{kind: one for one, kind in _OF_STORE},
        UNKNOWN_CALLER: StoreUnavailableError,
        LOCK: LocksmithError,
        BAD_CALL: StoreRefusedError,
    }
    return known.get(kind, OutcomeUnknownError)(value)


def encode_entry(entry: Entry) -> dict[str, Any]:
    """Give an entry of the store, for JSON."""
    return {
        "key": entry.key,
        "value": base64.b64encode(entry.value).decode(),
        "version": entry.version,
        "created": entry.created,
        "lease": str(entry.lease),
    }


def decode_entry(fields: dict[str, Any]) -> Entry:
    """Read an entry; `BadJsonError`: it is none."""
    lease = read(fields, "lease", str)
    if not lease.lstrip("-").isdecimal() or len(lease) > 20:  # noqa: PLR2004 - 64 bits
        raise BadJsonError("the field 'lease' must be a number as text")
    return Entry(
        read(fields, "key", str),
        decode_bytes(fields, "value"),
        read(fields, "version", int),
        read(fields, "created", int),
        int(lease),
    )


def encode_readings(readings: list[Reading]) -> list[dict[str, Any]]:
    """Give readings of keys, for JSON. `StoreRefusedError`: they are more than an answer has."""
    if sum(map(_size, readings)) > LARGEST_ANSWER:
        raise StoreRefusedError(f"the answer is longer than {LARGEST_ANSWER >> 20} MiB: read fewer keys in a call")
    return [{"revision": one.revision, **({"entry": encode_entry(one.entry)} if one.entry else {})} for one in readings]


def _size(reading: Reading) -> int:
    """Give how many bytes a reading has as JSON, at most."""
    entry = reading.entry
    return 256 + (len(json.dumps(entry.key)) + len(entry.value) * 4 // 3 if entry else 0)


def decode_readings(found: list[Any], keys: list[str]) -> list[Reading]:
    """Read what is under these keys; `BadJsonError`: it is not about them."""
    if len(found) != len(keys) or not all(isinstance(one, dict) for one in found):
        raise BadJsonError("it answers for other keys")
    readings = []
    for key, one in zip(keys, found, strict=True):
        entry = decode_entry(read(one, "entry", dict)) if "entry" in one else None
        if entry is not None and entry.key != key:
            raise BadJsonError("it answers for another key")
        readings.append(Reading(entry, read(one, "revision", int)))
    return readings


def decode_bytes(fields: dict[str, Any], name: str) -> bytes:
    """Read a field of bytes in base64."""
    try:
        return base64.b64decode(read(fields, name, str), validate=True)
    except (binascii.Error, ValueError):
        raise BadJsonError(f"the field {name!r} must be base64") from None


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """Read a sentence, and cut it."""
    return limits.text(read(dict(fields), name, str)[:LONGEST])


def _encode_queued(queued: QueuePosition) -> dict[str, Any]:
    return {
        "position": queued.position,
        "waiters": queued.waiters,
        "predecessor": queued.predecessor,
        "exact": queued.exact,
        "counted": queued.counted,
    }


def _decode_queued(fields: dict[str, Any]) -> QueuePosition:
    return QueuePosition(
        read(fields, "position", int),
        read(fields, "waiters", int),
        read(fields, "predecessor", str),
        read(fields, "exact", bool),
        read(fields, "counted", bool),
    )
