"""The import of a group from airlock: one reading of both sides, one write that opens it here and closes it there.

The transaction compares airlock's key, the semaphore, the share, the mark and the records of the holders with what was
read, and writes all of it. airlock guards its own writes by the version of its key. So either its last grant is part of
what was read, or that grant fails; and after the import it has no slot to grant.
"""

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from locksmith.errors import (
    ConflictError,
    CorruptValueError,
    LockError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from locksmith.lock import client_cycle, client_presence
from locksmith.lock.airlock_plan import Plan, Readings, Terms, plan
from locksmith.lock.chunks import WRITES
from locksmith.lock.guarded import Guarded
from locksmith.lock.records import airlock, keys, semaphore
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.airlock import TakenOver
from locksmith.lock.records.claim import Claim
from locksmith.store.protocol import ABSENT, Check, Entry, Put, Store, remove

REASON = "it had its slot at airlock"
RIGHTS = (
    f"to import from airlock, etcd's user needs to read, and to close its semaphores to write, the keys below "
    f"{airlock.PREFIX}: `etcdctl role grant-permission ROLE --prefix=true readwrite {airlock.PREFIX}`"
)


async def airlock_groups(store: Store) -> list[str]:
    """Name the groups that have a semaphore at airlock, in order. Errors are the store's."""
    try:
        listing = await store.list(airlock.PREFIX)
    except StoreRefusedError as error:
        raise StoreRefusedError(f"{error}; {RIGHTS}") from None
    return sorted(group for entry in listing.entries if (group := airlock.group_of(entry.key)) is not None)


async def plan_import(store: Store, group: str, terms: Terms) -> Plan:
    """Read both sides of a group at one moment, and say what an import does. Errors are the store's."""
    wanted = [
        *(airlock.semaphore_key(group), keys.semaphore_key(group)),
        *(keys.share_key(group), keys.airlock_key(group)),
    ]
    try:
        return plan(Readings(group, *await store.read(wanted)), terms)
    except StoreRefusedError as error:
        raise StoreRefusedError(f"{error}; {RIGHTS}") from None


class AirlockImport:
    """One import of a group as it was planned, across its attempts; `mark` is what it leaves.

    Its holders are shown as machines that go down now, and have `limit` for it, as if the server had just let them.
    """

    def __init__(self, guarded: Guarded, planned: Plan, mark: TakenOver, limit: timedelta) -> None:
        self._guarded = guarded
        self._store = guarded.store
        self._plan = planned
        self._mark = mark
        self._mark_key = keys.airlock_key(planned.group)
        self._limit = limit
        now = guarded.clock()
        self._claims = [
            replace(
                client_cycle.new_claim(holder, secrets.token_hex(16), now, holder).taken_at(now).committed(),
                reason=REASON,
            )
            for holder in (planned.holders if planned.new else ())
        ]

    async def run(self) -> None:
        """Do it. Errors are the store's. `LockError`: not done, because something was written since it was planned.

        `OtherMachineError`: not done, because a holder's id is that of a machine with a daemon.
        """
        shown: list[Claim] = []
        try:
            for claim in self._claims:
                await self._show(claim)
                shown.append(claim)
            await self._guarded.retry.run(self._attempt)
        except (LockError, StoreRefusedError, StoreUnavailableError):
            for claim in shown:
                with contextlib.suppress(StoreError, CorruptValueError):  # what it says ends by itself
                    await self._end_presence(claim.holder)
            raise

    async def _attempt(self) -> None:
        first, last = self._claims[WRITES:], self._claims[:WRITES]
        try:
            for start in range(0, len(first), WRITES):
                await self._write_early(first[start : start + WRITES])
            await self._write(await self._puts(last))
        except ConflictError:
            # An attempt whose answer was lost may have done it.
            if not await self._is_done():
                raise LockError(await self._changed()) from None
        except StoreRefusedError as error:
            raise StoreRefusedError(f"{error}; {RIGHTS}") from None

    async def _write_early(self, claims: Sequence[Claim]) -> None:
        """Write records that have no room in the transaction: without an id in the semaphore they count for nothing."""
        first, *others = await self._puts(claims)
        same = Check(self._guarded.key, self._plan.readings.semaphore.version)
        await self._store.swap(first.key, first.value, first.version, also=[*others, same])

    async def _puts(self, claims: Sequence[Claim]) -> list[Put]:
        """Make the writes of records, over what was left there; the semaphore's version is the guard that counts."""
        both = [(self._guarded.record_key(claim.holder), claim_record.encode(claim)) for claim in claims]
        found = await self._store.read([key for key, _ in both]) if both else []
        return [Put(key, value, reading.version) for (key, value), reading in zip(both, found, strict=True)]

    async def _write(self, records: Sequence[Put]) -> None:
        planned, read = self._plan, self._plan.readings
        there = airlock.semaphore_key(planned.group)
        closes = Put(there, airlock.encode(airlock.CLOSED), read.airlock.version)
        await self._store.swap(
            self._guarded.key,
            semaphore.encode(planned.semaphore),
            read.semaphore.version,
            also=[
                Put(self._mark_key, airlock.encode_mark(self._mark), read.mark.version),
                closes if planned.terms.closes else Check(there, read.airlock.version),
                Check(keys.share_key(planned.group), ABSENT),
                *records,
            ],
        )

    async def _is_done(self) -> bool:
        entry = (await self._store.get(self._mark_key)).entry
        return entry is not None and airlock.decode_mark(entry.value, entry.key).nonce == self._mark.nonce

    async def _changed(self) -> str:
        """Say what was written since the import was planned."""
        there = airlock.semaphore_key(self._plan.group)
        now = await self._store.get(there)
        if now.version != self._plan.readings.airlock.version:
            return f"airlock has written {there} since it was shown, so it still runs: stop it; nothing was imported"
        return f"{self._guarded.key} was written since it was shown; nothing was imported: run the command again"

    async def _show(self, claim: Claim, known: Entry | None = None) -> None:
        now = client_presence.presence_of(claim, self._plan.group, self._guarded.clock(), self._limit)
        await client_presence.show(self._store, now, known)

    async def _end_presence(self, holder: str) -> None:
        """End what was shown of a holder, or show it for the claim that holds its slot by now: another import's."""
        cycle = await client_cycle.read(self._guarded, holder)
        if cycle.held is not None:
            await self._show(cycle.held, cycle.shown)
        elif cycle.shown is not None:
            await remove(self._store, cycle.shown)
