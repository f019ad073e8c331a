"""Who had the lock, when and why, and what operators did: `history/<time>-<random>`, kept for 30 days.

It is for people. Nothing is decided by it, and a record that cannot be written stops nothing.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from locksmith.errors import StoreError
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.store.protocol import Store
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, moment, optional_moment, read_moment, read_optional_moment

log = logging.getLogger(__name__)

HELD, LOCK, UNLOCK, SET_MAX, RETIRE, REPAIR = "held", "lock", "unlock", "set-max", "retire-v2", "repair"
FREEZE, THAW, HOLD, RELEASE, RESUME, EXPIRE = "freeze", "thaw", "hold", "release", "resume", "expired"
"""What happened: a hold that came to its end, an operator's act, by its command, or a slot that expired."""

REBOOTED = "rebooted"
"""How a hold ends that was for a reboot, and had it; every other end says why there was none."""

KEPT = 30 * 86400.0
"""Seconds for which a record is kept."""
MOST = 2000
"""Records that a group has at most, about: the oldest go first."""
TIDY_ONE_IN = 16
"""The bound is looked after at one write in so many, for twice as many records: counting costs a request."""
WRITE_LIMIT = 5.0
"""Seconds for a record; whoever writes it has done already what it tells of."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history; moments are aware.

    `holder`, `hostname`, `kind` and `version` are of the claim that it is about, `taken` is when that got its slot,
    `since` when it was made. `who` did it, `reason` is theirs, `detail` says how it went or what was undone.
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


class History:
    """A group's history."""

    def __init__(self, store: Store, group: str, rng: Random | None = None) -> None:
        self._store = store
        self._prefix = keys.history_prefix(group)
        self._rng = rng or Random()  # noqa: S311 - who tidies up, no secret

    async def add(self, event: Event) -> None:
        """Write a record; where that fails it is lost, which is logged."""
        key = f"{self._prefix}{int(event.at.timestamp() * 1000):013d}-{secrets.token_hex(4)}"
        async with _best_effort(f"the history lacks a record, {event.act}"):
            await self._store.create(key, encode(event), ttl=KEPT)
            if self._rng.randrange(TIDY_ONE_IN) == 0:
                async with _best_effort("the history is not tidied up"):
                    await self._tidy()

    async def read(self, limit: int) -> list[Event]:
        """Read the youngest records, the oldest of them first; those that can't be read are left out, and logged."""
        listing = await self._store.list(self._prefix, limit=limit, last_before=LAST)
        found = []
        for entry in listing.entries:
            try:
                found.append(decode(entry.value))
            except jsonread.BadJsonError as error:
                log.info("%s is no record of the history: %s", entry.key, error)
        return found

    async def _tidy(self) -> None:
        oldest = await self._store.list(self._prefix, limit=2 * TIDY_ONE_IN)
        for entry in oldest.entries[: max(0, oldest.total - MOST)]:
            await self._store.revoke(entry)


@asynccontextmanager
async def _best_effort(failed: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(WRITE_LIMIT):
            yield
    except (StoreError, TimeoutError) as error:
        log.info("%s: %s", failed, str(error) or "etcd takes too long")


LAST = 2**62
"""A revision that no store comes to."""


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
    }
    return json.dumps({**event.extra, **known}, separators=(",", ":")).encode()


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


_TEXTS = ("who", "reason", "detail", "holder", "hostname", "kind", "version")
_KNOWN = {"schema", "at", "act", "since", "taken", *_TEXTS}
