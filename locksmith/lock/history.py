"""Who had the lock, when and why, and what operators did: `history/<time>-<random>`, kept for 30 days.

What became of credentials has a folder of its own, so that 10,000 machines that enrol push no reboot out.

It is for people. Nothing is decided by it, and a record that cannot be written stops nothing.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from random import Random

from locksmith.errors import ConflictError, StoreError
from locksmith.lock.records import keys
from locksmith.lock.records.event import OF_CREDENTIALS, Event, decode, encode
from locksmith.lock.records.shown import shown
from locksmith.store.protocol import Entry, Note, Store
from locksmith.util import jsonread

log = logging.getLogger(__name__)


KEPT = 30 * 86400.0
"""Seconds for which a record is kept."""
MOST = 2000
"""Records that a group has at most, about: the oldest go first."""
MOST_OF_CREDENTIALS = 500
"""The same, of what became of credentials."""
TIDY_ONE_IN = 16
"""The bound is looked after at one write in so many, for twice as many records: counting costs a request."""
WRITE_LIMIT = 5.0
"""Seconds for a record; its writer has already done what it tells of."""


class History:
    """A group's history."""

    def __init__(self, store: Store, group: str, rng: Random | None = None) -> None:
        self._store = store
        self._prefix, self._of_credentials = keys.history_prefix(group), keys.credential_history_prefix(group)
        self._rng = rng or Random()  # noqa: S311 - who tidies up, no secret

    async def add(self, event: Event) -> None:
        """Write a record; where that fails it is lost, which is logged."""
        await self.add_at(self.key(event), event)

    async def add_at(self, key: str, event: Event) -> None:
        """Write a record under its key, unless a note has done that already."""
        async with _best_effort(f"the history lacks a record, {event.act}"):
            with contextlib.suppress(ConflictError):
                await self._store.create(key, encode(event), ttl=KEPT)
            await self.noted()

    def key(self, event: Event) -> str:
        """Make a key for a record, which no other has."""
        prefix = self._of_credentials if event.act in OF_CREDENTIALS else self._prefix
        return f"{prefix}{int(event.at.timestamp() * 1000):013d}-{secrets.token_hex(4)}"

    async def lease(self) -> int | None:
        """Get the lease of a note; None: there is none, which is logged."""
        try:
            async with asyncio.timeout(WRITE_LIMIT):
                return await self._store.lend(KEPT)
        except (StoreError, TimeoutError) as error:
            log.info("a record of the history is written later: %s", str(error) or "etcd takes too long")
            return None

    def note(self, key: str, event: Event, lease: int) -> Note:
        """Make what a swap writes as a record."""
        return Note(key, encode(event), KEPT, lease)

    async def noted(self) -> None:
        """Look now and then, after a record was written, whether there are too many."""
        if self._rng.randrange(TIDY_ONE_IN) == 0:
            async with _best_effort("the history is not tidied up"):
                await self._tidy()

    async def read(self, limit: int) -> list[Event]:
        """Read the youngest records, the oldest of them first; those that can't be read are left out, and logged."""
        entries: list[Entry] = []
        for prefix in (self._prefix, self._of_credentials):
            entries += (await self._store.list(prefix, limit=limit, last_before=LAST)).entries
        found = []
        for entry in sorted(entries, key=_moment_of)[-limit:]:
            try:
                found.append(shown(decode(entry.value)))
            except jsonread.BadJsonError as error:
                log.info("%s is no record of the history: %s", entry.key, error)
        return found

    async def _tidy(self) -> None:
        for prefix, most in ((self._prefix, MOST), (self._of_credentials, MOST_OF_CREDENTIALS)):
            oldest = await self._store.list(prefix, limit=2 * TIDY_ONE_IN)
            for entry in oldest.entries[: max(0, oldest.total - most)]:
                await self._store.revoke(entry)


def _moment_of(entry: Entry) -> str:
    """Give what the key of a record has of its moment, by which records of both folders are in order."""
    return entry.key.rpartition("/")[2]


@contextlib.asynccontextmanager
async def _best_effort(failed: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(WRITE_LIMIT):
            yield
    except (StoreError, TimeoutError) as error:
        log.info("%s: %s", failed, str(error) or "etcd takes too long")


LAST = 2**62
"""A revision that no store comes to."""
