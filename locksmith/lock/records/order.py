"""What holds a whole group, or one machine, back: operators' orders and the pause after a reboot. Pure, and its JSON.

`freeze` and `hold/<id>` stay until an operator removes them, or expire by the store's own clock. `spacing` always
expires.
Where that clock fails (a leader change starts every lease again, a copied keyspace has none), an order is over when a
machine has seen it unchanged for as long as it was to last.
`resume` is an operator's word that a store restored from a backup is to be believed. It may name etcd clusters, whose
place this one has taken. Times in a record are for showing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.lock.records.keys import unsegment
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, optional_moment, read_moment, read_optional_moment
from locksmith.util.text import plain
from locksmith.util.words import quoted

FREEZE, HOLD, SPACING, HALT, RESTORED = "freeze", "hold", "spacing", "halt", "restored"
"""The reasons of a group's own to wait, as codes for the metrics."""
TAKE_FAILS = "take_fails"
"""The code of a machine that is first in the queue, and whose attempts to take a slot fail."""
OTHER_CLUSTER = "other_cluster"
"""The code of a machine whose endpoints belong to several clusters, or to another one than it has seen before."""

OWN_DENIALS = frozenset({HOLD, RESTORED, OTHER_CLUSTER})
"""Denials that bind the machine that asks, and may bind no other: it leaves the queue, and returns with a back-off.

A machine that keeps its place with such a denial blocks every machine after it. All other denials bind the whole group
alike, so the first keeps its place. (`halt` binds by each machine's own `halt.after`: `QueuedLock` compares those.)
"""

_WAYS_OUT = {
    FREEZE: "`locksmithctl thaw` removes it",
    HOLD: "`locksmithctl unhold {}` removes it",
    SPACING: "it expires by itself",
    RESTORED: "`locksmithctl resume` writes it again",
}


@dataclass(frozen=True, slots=True)
class Order:
    """Who ordered it, why, since when, and when it ends (None: when an operator removes it); moments are aware.

    `slots` is the `max` that a fence has set to 0 and that `thaw` brings back. `nonce` is the claim that a spacing
    lets through. `cluster` is the one in which a `resume` was said, and `replaces` those whose place it has taken.
    """

    who: str
    since: datetime
    reason: str = ""
    until: datetime | None = None
    slots: int | None = None
    nonce: str = ""
    cluster: str = ""
    replaces: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def lasts(self) -> float | None:
        """For how many seconds it was ordered; None: until an operator removes it. Both moments are of one clock."""
        ordered = (self.until - self.since).total_seconds() if self.until else 0.0
        return ordered if ordered > 0 and self.slots is None else None

    def outlasts(self, other: "Order") -> bool:
        """Whether it ends no earlier than another order, as far as their own words tell."""
        return self.until is None or (other.until is not None and self.until >= other.until)

    def describe(self) -> str:
        """Say by whom and since when, and why: `by alice since 2026-05-01T02:10:00Z: the database moves`."""
        ends = f", until {moment(self.until)}" if self.until else ""
        why = f": {self.reason}" if self.reason else ""
        return plain(f"by {self.who or 'an operator'} since {moment(self.since)}{ends}{why}")


def way_out(kind: str, key: str) -> str:
    """Give the command that removes what is in a key; that of a hold ends with the machine's id."""
    return _WAYS_OUT[kind].format(quoted(unsegment(key.rpartition("/")[2])))


def encode(order: Order) -> bytes:
    """Write an order as its record."""
    known = {
        "schema": SCHEMA,
        "who": order.who,
        "since": moment(order.since),
        "reason": order.reason,
        "until": optional_moment(order.until),
        **({"slots": order.slots} if order.slots is not None else {}),
        **({"nonce": order.nonce} if order.nonce else {}),
        **({"cluster": order.cluster, "replaces": list(order.replaces)} if order.replaces else {}),
    }
    return dump(known, order.extra)


def decode(raw: bytes, key: str, kind: str) -> Order:
    """Read an order; `CorruptValueError` names its key and the way out. Until it is read, the order counts."""
    try:
        fields = jsonread.load_record(raw, limits.ORDER)
        return Order(
            who=jsonread.read(fields, "who", str, ""),
            since=read_moment(fields, "since"),
            reason=jsonread.read(fields, "reason", str, ""),
            until=read_optional_moment(fields, "until"),
            slots=jsonread.read(fields, "slots", int) if "slots" in fields else None,
            nonce=jsonread.read(fields, "nonce", str, ""),
            cluster=jsonread.read(fields, "cluster", str, ""),
            replaces=tuple(one for one in jsonread.read(fields, "replaces", list, []) if isinstance(one, str)),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(key, f"not an order: {error}; {way_out(kind, key)}") from None


_KNOWN = {"schema", "who", "since", "reason", "until", "slots", "nonce", "cluster", "replaces"}
