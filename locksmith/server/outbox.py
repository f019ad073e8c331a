"""The notices of a group in the store: which are to be sent, and how far each target has them.

Servers share no memory. A notice is written in one transaction with the ledger that it follows from, so it is made
once, by one server of many. For each target a server creates a claim with a short lease, sends, and writes over it
that it was sent. If it dies in between, the lease ends, and another server sends.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from locksmith.errors import ConflictError, CorruptValueError, StoreError
from locksmith.lock.records import keys, notice
from locksmith.lock.records.notice import Ledger, Notice
from locksmith.store.protocol import ABSENT, Entry, Note, Store
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment

log = logging.getLogger(__name__)

KEPT: Final = 86400.0
"""Seconds for which a notice is there to be sent."""
KEPT_SENT: Final = 2 * KEPT
"""Seconds for which it is known that a target has it: longer, so that none is sent again."""
CLAIM_TTL: Final = 60.0
"""Seconds after which the claim of a server that died ends."""

NOTE_PAUSE: Final = 1.0
"""Seconds until a note that failed is tried again."""

CLAIMED, SENT, FAILED, GIVEN_UP = "claimed", "sent", "failed", "given-up"
"""How far a target has a notice. `failed` ends by its lease, and then it is tried again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a target has a notice, after so many tries."""

    state: str
    tries: int


class Outbox:
    """The notices of one group. Errors are the store's."""

    def __init__(self, store: Store, group: str, server: str) -> None:
        self._store, self._group, self._server = store, group, server

    async def ledger(self) -> tuple[Ledger, int]:
        """Give what was told, and the version that guards the next writing of it. `CorruptValueError`: unreadable."""
        reading = await self._store.get(keys.ledger_key(self._group))
        if reading.entry is None:
            return Ledger(), ABSENT
        return notice.decode_ledger(reading.entry.value, reading.entry.key), reading.entry.version

    async def write(self, ledger: Ledger, version: int, notices: Sequence[Notice]) -> None:
        """Write a ledger and its notices. `ConflictError`: another server was faster, and nothing was written."""
        lease = await self._store.lend(KEPT) if notices else 0
        prefix = keys.outbox_prefix(self._group)
        also = [Note(prefix + keys.segment(one.id), notice.encode(one), KEPT, lease) for one in notices]
        await self._store.swap(keys.ledger_key(self._group), notice.encode_ledger(ledger), version, also)

    async def pending(self) -> tuple[Notice, ...]:
        """Give the notices that are kept, the oldest first, whether targets have them or not."""
        found = []
        for entry in (await self._store.list(keys.outbox_prefix(self._group))).entries:
            try:
                found.append(notice.decode(entry.value, entry.key))
            except CorruptValueError as error:
                log.debug("%s", error)
        return tuple(found)

    async def progress(self, target: str) -> Mapping[str, Progress]:
        """Give how far a target has each notice that it has, or that a server is sending to it, by the ids."""
        prefix = keys.sent_prefix(self._group, target)
        listing = await self._store.list(prefix)
        return {keys.unsegment(entry.key.removeprefix(prefix)): _read(entry.value) for entry in listing.entries}

    async def claim(self, target: str, told: Notice, tries: int, now: datetime) -> Entry | None:
        """Claim a notice for a target, for `CLAIM_TTL`; None: another server has it."""
        value = self._value(CLAIMED, tries, now)
        try:
            return await self._store.create(self._key(target, told), value, ttl=CLAIM_TTL)
        except ConflictError:
            return None

    async def note(self, claim: Entry, state: str, tries: int, now: datetime, ttl: float) -> bool:
        """Write over a claim how it ended; False: the claim had ended before, and another server may have sent.

        A message that was sent stays sent, so this is tried again while the claim lasts. Then the error is the store's.
        """
        value, loop = self._value(state, tries, now), asyncio.get_running_loop()
        ends = loop.time() + CLAIM_TTL
        while True:
            try:
                return await self._write_over(claim, value, ttl)
            except StoreError:
                if loop.time() >= ends:
                    raise
            await asyncio.sleep(NOTE_PAUSE)

    async def _write_over(self, claim: Entry, value: bytes, ttl: float) -> bool:
        try:
            await self._store.update(claim, value, ttl)
        except ConflictError:
            entry = (await self._store.get(claim.key)).entry
            return entry is not None and entry.value == value  # an earlier try, whose answer was lost
        return True

    def _key(self, target: str, told: Notice) -> str:
        return keys.sent_prefix(self._group, target) + keys.segment(told.id)

    def _value(self, state: str, tries: int, now: datetime) -> bytes:
        return dump({"schema": SCHEMA, "state": state, "tries": tries, "who": self._server, "at": moment(now)})


def _read(raw: bytes) -> Progress:
    """Read how far a target has a notice. What cannot be read counts as sent: it must not be sent again and again."""
    try:
        fields = jsonread.load_record(raw, limits.NOTICE)
        return Progress(jsonread.read(fields, "state", str), jsonread.read(fields, "tries", int, 0))
    except jsonread.BadJsonError:
        return Progress(SENT, 0)
