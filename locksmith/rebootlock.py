"""Claims on the semaphore: take, commit, give back, resize, each a compare-and-swap that is decided before it ends.

Ownership is the pair: the id in the semaphore, and the claim's nonce in the record beside it. On etcd v3 both change
in one transaction. On v2 they cannot, so every take writes its record first, guarded by the version it read *after*
it had read the semaphore; and before it writes over another claim's leftover record it touches the semaphore, so that
a take of that other claim which is still on its way can no longer win. Whoever's nonce stands in the record when the
id enters the semaphore is its owner, and nobody overwrites it afterwards.

A write whose answer was lost may be applied later than any read that follows. Every operation therefore repeats its
swap until the semaphore's version moves or the swap succeeds; only then is it decided.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from locksmith import fleet, keys, semaphore
from locksmith.errors import (
    ConflictError,
    CorruptValueError,
    LockError,
    OutcomeUnknownError,
    StoreError,
)
from locksmith.fleet import Claim
from locksmith.kv.store import Delete, Entry, Put, Reading, Store
from locksmith.semaphore import NoFreeSlotError, NotHeldError, Semaphore

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
"""Seconds, at most, before the first try after a lost race, and before any."""
CROWDING = 5
"""How many times as long as its lost attempt a loser may pause: attempts are slow where many are at it."""


class DeniedError(LockError):
    """The lock cannot be taken now; it is worth asking again after a change past the store's `revision`."""

    def __init__(self, text: str, revision: int) -> None:
        super().__init__(text)
        self.revision = revision


class SlotsBusyError(DeniedError):
    """Every slot is held, or there is none."""


class OtherClaimError(DeniedError):
    """The id stands in the semaphore for another claim, or for none that is known."""


class LostClaimError(LockError):
    """The claim is no longer in the semaphore: somebody unlocked it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The semaphore and one holder's record, read in this order: what every guarded write starts from."""

    semaphore: Semaphore
    reading: Reading
    record: Entry | None
    claim: Claim | None

    def holds(self, claim: Claim) -> bool:
        """Whether this very claim holds a slot."""
        return self.listed(claim.holder) and self.claim is not None and self.claim.nonce == claim.nonce

    def listed(self, holder: str) -> bool:
        """Whether the id stands in the semaphore, for whatever claim."""
        return holder in self.semaphore.holders

    @property
    def record_version(self) -> int:
        """The version to guard a write of the record with."""
        return self.record.version if self.record else 0


@dataclass(frozen=True, slots=True)
class LockState:
    """The semaphore, what the record of each holder says (None: it has none), and the store's revision."""

    semaphore: Semaphore
    claims: dict[str, Claim | CorruptValueError | None]
    revision: int


class RebootLock:
    """The lock of one group. `limit` bounds each operation, lost races and lost answers included, in seconds."""

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        guard: Callable[[], Awaitable[None]] | None = None,
        rng: Random | None = None,
        limit: float = 30.0,
    ) -> None:
        self.key = keys.semaphore_key(group)
        self.lost_races = 0
        self._store = store
        self._group = group
        self._guard = guard
        self._rng = rng or Random()  # noqa: S311 - jitter, no secret
        self._limit = limit

    async def read(self) -> LockState:
        """Read who holds the lock and why; writes nothing, also where the key does not exist yet."""
        now, reading = await self._semaphore()
        claims = {holder: await self._claim_or_why_not(holder) for holder in now.holders}
        return LockState(now, claims, reading.revision)

    async def take(self, claim: Claim) -> None:
        """Take a slot for a claim; taking it again for the same claim writes nothing.

        `SlotsBusyError`, `OtherClaimError`, `CorruptValueError`: not taken. `OutcomeUnknownError`: undecided; call
        again, or `give_back` with `settle`.
        """
        if self._guard is not None:
            await self._guard()
        await self._decide(lambda: self._take(claim))

    async def commit(self, claim: Claim) -> None:
        """Pass the point of no return: write it into the record, guarded by the semaphore's not having changed.

        `LostClaimError`: the claim holds nothing any more, and must not reboot.
        """
        await self._decide(lambda: self._commit(claim))

    async def give_back(self, claim: Claim, *, settle: bool = False) -> bool:
        """Give the claim's slot back; False where it held none, which writes nothing.

        With `settle`, a take of this claim whose answer was lost is made unable to win later.
        """
        return await self._decide(lambda: self._give_back(claim, settle=settle))

    async def unlock(self, holder: str) -> Claim | None:
        """Free whatever holds this id, and say which claim it was (None: one without a record).

        `NotHeldError`: the id is not in the semaphore.
        """
        return await self._decide(lambda: self._unlock(holder))

    async def give_back_bare(self, holder: str) -> bool:
        """Free an id that stands there without a record, and nothing else; False where it does not."""
        return await self._decide(lambda: self._give_back_bare(holder))

    async def set_max(self, slots: int) -> int:
        """Change the number of slots; give the number before. The same number writes nothing."""
        return await self._decide(lambda: self._set_max(slots))

    async def retire(self) -> bool:
        """Set the number of slots to 0 for good while nobody holds one; False where there is no semaphore at all.

        `LockError`: somebody holds a slot.
        """
        return await self._decide(self._retire)

    async def corruption(self) -> tuple[bytes, CorruptValueError] | None:
        """Give the raw value that is no semaphore, and why; None where it is sound."""
        reading = await self._store.get(self.key)
        try:
            semaphore.decode(_raw(reading), self.key)
        except CorruptValueError as error:
            return _raw(reading), error
        return None

    async def repair(self, slots: int, corrupt: bytes) -> Semaphore:
        """Make a corrupt semaphore new, if it is still `corrupt`. Whoever has a record keeps its slot."""
        reading = await self._store.get(self.key)
        if _raw(reading) != corrupt:
            raise ConflictError(f"{self.key} has changed meanwhile: look again")
        prefix = keys.holders_prefix(self._group)
        records = await self._store.list(prefix)
        holders = sorted(keys.unsegment(entry.key.removeprefix(prefix)) for entry in records.entries)
        repaired = Semaphore(slots, tuple(holders))
        await self._store.swap(self.key, semaphore.encode(repaired), reading.version)
        return repaired

    async def wait(self, after: int, limit: float) -> bool:
        """Wait for a change of the semaphore after revision `after`, for at most `limit` seconds."""
        return await self._store.wait(self.key, after, limit=limit)

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    async def _take(self, claim: Claim) -> None:
        standing = await self._standing(claim.holder)
        if standing.holds(claim):
            return
        if standing.listed(claim.holder):
            raise OtherClaimError(_whose(claim.holder, standing.claim), standing.reading.revision)
        try:
            taken = standing.semaphore.take(claim.holder)
        except NoFreeSlotError as error:
            raise SlotsBusyError(str(error), standing.reading.revision) from None
        version = standing.reading.version
        if standing.claim is not None and standing.claim.nonce != claim.nonce:
            version = await self._touch(standing)
        record = Put(self._record_key(claim.holder), fleet.encode(claim), standing.record_version)
        await self._store.swap(self.key, semaphore.encode(taken), version, also=[record])

    async def _commit(self, claim: Claim) -> None:
        standing = await self._standing(claim.holder)
        if not standing.holds(claim):
            raise LostClaimError(f"the claim of {claim.holder} no longer holds a slot in {self.key}")
        record = Put(self._record_key(claim.holder), fleet.encode(claim.committed()), standing.record_version)
        await self._store.swap(self.key, _raw(standing.reading), standing.reading.version, also=[record])

    async def _give_back(self, claim: Claim, *, settle: bool) -> bool:
        standing = await self._standing(claim.holder)
        if standing.holds(claim):
            await self._remove(standing, claim.holder)
            return True
        if settle and not standing.listed(claim.holder):
            await self._touch(standing)
        return False

    async def _unlock(self, holder: str) -> Claim | None:
        now, reading = await self._semaphore()
        try:
            record, claim = await self._record(holder)
        except CorruptValueError as error:
            record, claim = (await self._store.get(error.key)).entry, None
        if holder not in now.holders and (record is None or claim is not None):
            raise NotHeldError(f"{holder} holds no slot in {self.key}")
        await self._remove(Standing(now, reading, record, claim), holder)
        return claim

    async def _give_back_bare(self, holder: str) -> bool:
        standing = await self._standing(holder)
        if not standing.listed(holder) or standing.record is not None:
            return False
        await self._remove(standing, holder)
        return True

    async def _set_max(self, slots: int) -> int:
        now, reading = await self._semaphore()
        if reading.entry is None or now.max != slots:
            await self._store.swap(self.key, semaphore.encode(now.resize(slots)), reading.version)
        return now.max

    async def _retire(self) -> bool:
        now, reading = await self._semaphore()
        if now.holders:
            raise LockError(f"{self.key} is held by {', '.join(now.holders)}: wait until it is free")
        if reading.entry is not None and now.max != 0:
            await self._store.swap(self.key, semaphore.encode(now.resize(0)), reading.version)
        return reading.entry is not None

    async def _remove(self, standing: Standing, holder: str) -> None:
        """Take an id out of the semaphore; where it isn't in it, the same value is written and the record goes."""
        left = standing.semaphore.give_back(holder) if standing.listed(holder) else standing.semaphore
        record = [Delete(standing.record.key, standing.record.version)] if standing.record else []
        await self._store.swap(self.key, semaphore.encode(left), standing.reading.version, also=record)

    async def _touch(self, standing: Standing) -> int:
        """Write the same value: the one write that changes nothing, and lets no earlier request win after it."""
        return (await self._store.swap(self.key, _raw(standing.reading), standing.reading.version)).version

    async def _standing(self, holder: str) -> Standing:
        now, reading = await self._semaphore()
        return Standing(now, reading, *await self._record(holder))

    async def _semaphore(self) -> tuple[Semaphore, Reading]:
        reading = await self._store.get(self.key)
        return semaphore.decode(_raw(reading), self.key), reading

    async def _record(self, holder: str) -> tuple[Entry | None, Claim | None]:
        key = self._record_key(holder)
        entry = (await self._store.get(key)).entry
        return entry, fleet.decode(entry.value, key, holder) if entry else None

    async def _claim_or_why_not(self, holder: str) -> Claim | CorruptValueError | None:
        try:
            return (await self._record(holder))[1]
        except CorruptValueError as error:
            return error

    def _record_key(self, holder: str) -> str:
        return keys.holder_key(self._group, holder)

    async def _decide(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat an attempt that lost a race, or its answer, until it is decided or the limit has passed."""
        clock = asyncio.get_running_loop()
        ends = clock.time() + self._limit
        pause = FIRST_PAUSE
        undecided: OutcomeUnknownError | None = None
        while True:
            began = clock.time()
            try:
                return await attempt()
            except OutcomeUnknownError as error:
                undecided = error
                lost: StoreError = error
            except ConflictError as error:
                self.lost_races += 1
                lost = error
            except StoreError as error:
                raise undecided or error from None
            if clock.time() >= ends:
                raise undecided or lost
            pause = min(max(pause, CROWDING * (clock.time() - began)), LONGEST_PAUSE)
            await asyncio.sleep(self._rng.uniform(0, pause))
            pause *= 2


def _raw(reading: Reading) -> bytes:
    """Give the value as it stands; a key that does not exist is a fresh semaphore, as for the original."""
    return reading.entry.value if reading.entry else semaphore.encode(Semaphore())


def _whose(holder: str, claim: Claim | None) -> str:
    """Say what an id stands in the semaphore for, and where there is no record, the ways out."""
    if claim is not None:
        return f"{holder} is {claim.describe()}"
    return (
        f"{holder} stands in the semaphore without a record: a node of the original or a bare lock holds it; "
        f"`locksmithctl unlock {holder}` frees it, `adopt = true` lets its own daemon do so once after a boot"
    )
