"""A place in the queue for a slot, as a record: for whom it is, and why. Pure, and its JSON.

Its key says where it is (places.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.lock.records.claim import MACHINES, Claim
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, read_moment
from locksmith.util.text import plain


@dataclass(frozen=True, slots=True)
class Waiter:
    """Who waits for a slot for `holder`: the claim that is queued, and since when (aware).

    `beat` counts how often the machine has written its place: as the first it writes it every half minute (0: a machine
    of an older version, which does not, or a client of the server). `polls` counts the calls of a client that wrote its
    place (0: no client's). Older versions remove no place whose `beat` is 0. `halt_after` is the rule by which its
    machine halts, as it is configured (empty: not known). `lasts` is for how many seconds the place stays if its
    machine does not keep it (0: an older version made it). `shared`: its lease is that of many places, which a server
    keeps for machines that wait there, so it is never revoked with the place.
    """

    holder: str
    kind: str
    nonce: str
    since: datetime
    who: str = ""
    hostname: str = ""
    reason: str = ""
    version: str = ""
    halt_after: str = ""
    beat: int = 0
    lasts: int = 0
    polls: int = 0
    shared: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, claim: Claim, halt_after: str = "", lasts: int = 0) -> "Waiter":
        """Make the place of a claim."""
        polled = claim.is_clients
        return cls(
            holder=claim.holder,
            kind=claim.kind,
            nonce=claim.nonce,
            since=claim.since,
            who=claim.who,
            hostname=claim.hostname,
            reason=claim.reason,
            version=claim.version,
            halt_after=halt_after,
            beat=int(not polled),
            lasts=lasts,
            polls=int(polled),
        )

    def kept(self, lasts: int) -> "Waiter":
        """Give the same place, written once more."""
        if self.polls:
            return replace(self, lasts=lasts, polls=self.polls + 1, shared=False)
        return replace(self, lasts=lasts, beat=self.beat + 1, shared=False)

    @property
    def claim(self) -> Claim:
        """The claim that is queued, as far as its place tells."""
        return Claim(
            self.holder,
            self.kind,
            self.nonce,
            self.since,
            who=self.who,
            hostname=self.hostname,
            version=self.version,
            reason=self.reason,
        )

    @property
    def is_machines(self) -> bool:
        """Whether a machine waits, as against an operator."""
        return self.kind in MACHINES

    @property
    def name(self) -> str:
        """What people call the one who waits."""
        return plain(self.hostname if self.is_machines and self.hostname else self.holder)


def encode(waiter: Waiter) -> bytes:
    """Write a place as its record."""
    known = {
        "schema": SCHEMA,
        "holder": waiter.holder,
        "kind": waiter.kind,
        "nonce": waiter.nonce,
        "since": moment(waiter.since),
        "who": waiter.who,
        "hostname": waiter.hostname,
        "reason": waiter.reason,
        "version": waiter.version,
        "halt_after": waiter.halt_after,
        "beat": waiter.beat,
        "lasts": waiter.lasts,
        **({"polls": waiter.polls} if waiter.polls else {}),
        **({"shared": True} if waiter.shared else {}),
    }
    return dump(known, waiter.extra)


def decode(raw: bytes, key: str) -> Waiter:
    """Read a place; `CorruptValueError` names its key."""
    try:
        fields = jsonread.load_record(raw, limits.WAITER)
        return Waiter(
            holder=jsonread.read(fields, "holder", str),
            kind=jsonread.read(fields, "kind", str),
            nonce=jsonread.read(fields, "nonce", str),
            since=read_moment(fields, "since"),
            who=jsonread.read(fields, "who", str, ""),
            hostname=jsonread.read(fields, "hostname", str, ""),
            reason=jsonread.read(fields, "reason", str, ""),
            version=jsonread.read(fields, "version", str, ""),
            halt_after=jsonread.read(fields, "halt_after", str, ""),
            beat=jsonread.read(fields, "beat", int, 0),
            lasts=jsonread.read(fields, "lasts", int, 0),
            polls=jsonread.read(fields, "polls", int, 0),
            shared=jsonread.read(fields, "shared", bool, default=False),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not a place in the queue: {error}; it expires by itself unless it is kept"
        ) from None


_KNOWN = {
    *("schema", "holder", "kind", "nonce", "since", "who", "hostname", "reason", "version"),
    *("halt_after", "beat", "lasts", "polls", "shared"),
}
