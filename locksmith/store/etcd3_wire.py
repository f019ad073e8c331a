"""Requests and answers of etcd's v3 API, as its gateway writes them. Pure.

The messages are those of etcd's api/etcdserverpb/rpc.proto: bytes in base64, whole numbers as strings, empty fields
left out. Every parser raises `BadJsonError` for what etcd never says. So the answer of another server never reads as
"absent".
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from locksmith.errors import ConflictError
from locksmith.store import etcd3_fields as fields
from locksmith.store.cluster import parse_id
from locksmith.store.exchange import MaybeDoneError
from locksmith.store.grpc import TOKEN_FAILURE, Message, TokenRefusedError, number
from locksmith.store.protocol import (
    ABSENT,
    Also,
    Change,
    Check,
    Delete,
    Listing,
    Note,
    Position,
    Put,
    Reading,
    Until,
    any_change,
)
from locksmith.util.jsonread import BadJsonError, read
from locksmith.util.words import named


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction that was done: its revision, and the create revision of its key."""

    revision: int
    created: int


def one(key: str) -> Message:
    """Name one key."""
    return {"key": fields.encode(fields.raw(key))}


def below(prefix: str) -> Message:
    """Name all keys that begin with `prefix`, and no other: up to the first that sorts after them."""
    raw = fields.raw(prefix)
    return {"key": fields.encode(raw), "range_end": fields.encode(raw[:-1] + bytes([raw[-1] + 1]))}


def list_request(prefix: str, limit: int, last_before: int | None) -> Message:
    """Ask for the oldest keys below a prefix, or for the youngest of those created before a revision."""
    fields: Message = {**below(prefix), "limit": str(limit), "sort_target": "CREATE", "sort_order": "ASCEND"}
    if last_before is not None:
        fields |= {"sort_order": "DESCEND", "max_create_revision": str(last_before - 1)}
    return fields


def range_request(start: str, end: str, limit: int, at: int) -> Message:
    """Ask for the keys from `start` on, before `end`, in the order of their names: etcd's own, so it sorts nothing."""
    bounds: Message = {"key": fields.encode(fields.raw(start)), "range_end": fields.encode(fields.raw(end))}
    return {**bounds, "limit": str(limit), "revision": str(at)}


def in_order(message: Message) -> Listing:
    """Parse the answer to `range_request`; `count` is of all keys in the range."""
    return Listing(tuple(fields.entries(message)), fields.revision(message), number(message, "count"))


def reads(keys: Sequence[str]) -> Message:
    """Ask for several keys at one moment."""
    return {"success": [{"request_range": one(key)} for key in keys]}


def transaction(
    changes: Sequence[Also], lease: int = 0, *, leased: int = 1, counting: Message | None = None
) -> Message:
    """Ask for all changes if all their guards hold; the first `leased` keys are bound to `lease`.

    `counting`: a request whose answer follows in the same transaction.
    """
    operations = [
        _operation(change, lease if place < leased else 0)
        for place, change in enumerate(changes)
        if not isinstance(change, Check)
    ]
    if counting:
        operations.append({"request_range": counting})
    return {"compare": [_guard(change) for change in changes if not isinstance(change, Note)], "success": operations}


def watch_request(keys: Message, after: int, *, before: bool = False) -> Message:
    """Ask for all changes after a revision, in messages of bounded size; `before`: with each earlier value."""
    return {"create_request": {**keys, "start_revision": str(after + 1), "fragment": True, "prev_kv": before}}


def reading(message: Message) -> Reading:
    """Parse the range of one key."""
    entries = fields.entries(message)
    return Reading(entries[0] if entries else None, fields.revision(message))


def one_at(key: str, revision: int) -> Message:
    """Ask for one key as it was at a revision."""
    return {**one(key), "revision": str(revision)}


def readings(message: Message, count: int) -> list[Reading]:
    """Parse the answer to `reads`."""
    responses = read(message, "responses", list)
    if len(responses) != count:
        raise BadJsonError(f"the field 'responses' must have {count} of them, not {len(responses)}")
    found = [fields.entries(fields.nested(response, "response_range")) for response in responses]
    return [Reading(entries[0] if entries else None, fields.revision(message)) for entries in found]


def listing(message: Message) -> Listing:
    """Parse the range of a prefix, in order of creation.

    `count` is of all keys in the range: etcd applies the bounds of creation only afterwards.
    """
    entries = sorted(fields.entries(message), key=lambda entry: (entry.created, entry.key))
    return Listing(tuple(entries), fields.revision(message), number(message, "count"))


def count_request(prefix: str) -> Message:
    """Ask how many keys there are below a prefix."""
    return {**below(prefix), "count_only": True}


def counted(message: Message) -> int:
    """Parse the answer to `count_request`."""
    fields.revision(message)
    return number(message, "count")


def first_key(start: str, prefix: str) -> Message:
    """Ask for the first key from `start` on that begins with `prefix`, without its value."""
    return {**below(prefix), **one(start), "limit": "1", "keys_only": True}


def key_or_none(message: Message) -> str | None:
    """Parse the answer to `first_key`."""
    entries = fields.entries(message)
    return entries[0].key if entries else None


def behind(prefix: str) -> str:
    """Name the first key that sorts after all that begin with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def next_key(key: str) -> str:
    """Name the first key that sorts after `key`."""
    return key + "\0"


def lease_id(message: Message) -> int:
    """Parse the grant of a lease."""
    return fields.positive(message, "ID")


def granted(message: Message) -> tuple[int, int]:
    """Parse the grant of a lease, and the store's revision then."""
    return lease_id(message), fields.revision(message)


def seconds_left(message: Message) -> int:
    """Parse a keep-alive; 0: the lease has expired."""
    return number(message, "TTL")


def kept_alive(messages: Sequence[Message], leases: Collection[int]) -> dict[int, int]:
    """Read the answers to several keep-alives: the seconds that each of the leases has left (0: it has expired)."""
    left = {number(message, "ID"): seconds_left(message) for message in messages}
    if not (asked := left.keys() & set(leases)):
        raise BadJsonError("it answers another keep-alive")
    return {lease: left[lease] for lease in asked}


def ignored(message: Message) -> None:
    """Accept an answer that says only that the request was done."""


NO_LEASE = "requested lease not found"
COMPACTED = "required revision has been compacted"
FUTURE = "required revision is a future revision"


def position(message: Message) -> Position | None:
    """Read the store's revision; None: the answer does not have it."""
    revision = number(read(message, "header", dict), "revision")
    return Position(revision, cluster(message)) if revision > 0 else None


def cluster(message: Message) -> str:
    """Read which cluster answers; `BadJsonError`: the answer does not name it."""
    return parse_id(read(message, "header", dict).get("cluster_id"), 10, "cluster_id")


def committed(message: Message, changes: Sequence[Also]) -> Committed:
    """Parse the answer to `transaction`, whose first change is no note; `ConflictError`: a guard did not hold."""
    revision = fields.revision(message)
    if not read(message, "succeeded", bool, default=False):
        keys = named([change.key for change in changes])
        raise ConflictError(f"{keys}: changed since it was read; nothing was written")
    first = changes[0]
    if isinstance(first, Delete | Note) or first.version == ABSENT:
        return Committed(revision, revision)
    responses = read(message, "responses", list)
    before = fields.nested(responses[0] if responses else {}, "response_put", "prev_kv")
    return Committed(revision, fields.positive(before, "create_revision"))


def entered(message: Message, changes: Sequence[Also]) -> tuple[Committed, int]:
    """Parse the answer to `transaction` with its count, which is in the last response."""
    done = committed(message, changes)
    responses = read(message, "responses", list)
    return done, number(fields.nested(responses[-1] if responses else {}, "response_range"), "count")


@dataclass(frozen=True, slots=True)
class Changes:
    """The meaning of a watch's message for a client that knows the store up to revision `after`.

    With `key` the watch is of that key alone, and tells its value; only changes that `until` wants are told.
    """

    after: int
    key: str | None = None
    until: Until = any_change

    def __call__(self, message: Message) -> Change | None:
        """Give the change, or None for "nothing yet"."""
        if read(message, "canceled", bool, default=False):
            return Change() if is_compacted(message) else None
        if read(message, "created", bool, default=False) and fields.revision(message) < self.after:
            return Change()  # a store that went back in time would stay silent until it has caught up
        events = read(message, "events", list, [])
        if not events:
            return None
        change = Change() if self.key is None else _change(self.key, events)
        return change if change.reading is None or self.until(change) else None


def is_compacted(message: Message) -> bool:
    """Tell why a watch was cancelled: True: what it asks for is gone; else an error is raised."""
    reason = read(message, "cancel_reason", str, "no reason given")
    if number(message, "compact_revision") or COMPACTED in reason:
        return True
    if any(reason.endswith(text) for text in TOKEN_FAILURE):
        # With these words it refuses an outdated token, and a user without rights.
        raise TokenRefusedError(f"the watch was refused: {reason}", outdated=True)
    raise MaybeDoneError(f"the watch was cancelled: {reason}")


def _change(key: str, events: Sequence[Any]) -> Change:
    """Read the events of one key: its entry after the last, and before the first."""
    first, last = (event if isinstance(event, dict) else {} for event in (events[0], events[-1]))
    if last.get("type", "PUT") != "PUT":
        return Change(removed=last.get("type") == "DELETE" and _entry_key(last) == key)
    entry = fields.entry(read(last, "kv", dict))
    before = fields.entry(first["prev_kv"]) if first.get("prev_kv") else None
    if entry.key != key or (before is not None and before.key != key):
        raise BadJsonError(f"the watch of {key} tells of another key")
    return Change(Reading(entry, entry.version), before)


def _entry_key(event: Message) -> str:
    return fields.decode(read(event, "kv", dict), "key").decode(errors="surrogateescape")


def _guard(change: Put | Delete | Check) -> Message:
    if change.version is None:
        return {**one(change.key), "target": "CREATE", "result": "GREATER", "create_revision": "0"}
    return {**one(change.key), "target": "MOD", "result": "EQUAL", "mod_revision": str(change.version)}


def _operation(change: Put | Delete | Note, lease: int) -> Message:
    if isinstance(change, Delete):
        return {"request_delete_range": one(change.key)}
    if isinstance(change, Note):
        note = {**one(change.key), "value": fields.encode(change.value), "lease": str(change.lease)}
        return {"request_put": note}
    put: Message = {**one(change.key), "value": fields.encode(change.value), "lease": str(lease)}
    # A new key is created by this very write.
    return {"request_put": put if change.version == ABSENT else {**put, "prev_kv": True}}
