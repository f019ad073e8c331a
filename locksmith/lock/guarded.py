"""What every guarded write of the lock starts from: the semaphore of one group, with the record of one id.

A write of the semaphore succeeds only from the version that was read. The record of a holder goes with it, guarded by
its own version.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from random import Random

from locksmith.errors import CorruptValueError
from locksmith.lock.cas import CasRetry, LostWrites, Turn
from locksmith.lock.history import History
from locksmith.lock.holder import HolderState, LockState, read_record
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.meter import Meter
from locksmith.store.protocol import Also, Delete, Entry, Put, Reading, Store


class Guarded:
    """The semaphore and the records of one group. Errors are the store's, `CorruptValueError`.

    `retry` repeats an operation that lost a race, or the response to a write, for `limit` seconds. After that no
    attempt begins. Each attempt is a few calls of the store, which end within its own deadline, in a `turn` of its own.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        rng: Random | None = None,
        limit: float = 30.0,
        meter: Meter | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        turn: Turn = nullcontext,
    ) -> None:
        self.store = store
        self.group = group
        self.clock = clock
        self.key = keys.semaphore_key(group)
        self.history = History(store, group, rng)
        self.holders: tuple[str, ...] = ()
        """Who held the slots when the semaphore was last seen: what is asked of them is read together with it."""
        self.retry = CasRetry(rng or Random(), limit, meter or Meter(), turn)  # noqa: S311 - jitter, no secret

    async def read(self) -> LockState:
        """Read who holds the lock and why; writes nothing, also where the key does not exist yet."""
        now, reading = await self.semaphore()
        listing = await self.store.list(keys.holders_prefix(self.group))
        records = {entry.key: entry for entry in listing.entries}
        claims = {holder: read_record(holder, records.get(self.record_key(holder))) for holder in now.holders}
        return LockState(now, claims, reading.revision)

    async def semaphore(self) -> tuple[Semaphore, Reading]:
        """Read the semaphore alone."""
        reading = await self.store.get(self.key)
        return self.semaphore_in(reading), reading

    def semaphore_in(self, reading: Reading) -> Semaphore:
        """Give the semaphore of a reading."""
        found = semaphore.decode(raw(reading), self.key)
        self.holders = found.holders
        return found

    async def holder_state(self, holder: str, *, even_corrupt: bool = False) -> HolderState:
        """Read the semaphore and the record of one id; `even_corrupt`: also a record that cannot be decoded."""
        reading, record = await self.store.read([self.key, self.record_key(holder)])
        return self.holder_state_in(holder, reading, record, even_corrupt=even_corrupt)

    def holder_state_in(
        self, holder: str, reading: Reading, record: Reading, *, even_corrupt: bool = False
    ) -> HolderState:
        """Give the same, from readings of both in this order."""
        now = self.semaphore_in(reading)
        claim = read_record(holder, record.entry)
        if not isinstance(claim, CorruptValueError):
            return HolderState(holder, now, reading, record.entry, claim)
        if not even_corrupt:
            raise claim
        return HolderState(holder, now, reading, record.entry, None)

    async def rewrite(self, holder_state: HolderState, claim: Claim, also: Sequence[Put] = ()) -> tuple[Put, Entry]:
        """Write a record, and the semaphore's same value with it; give both."""
        put = Put(self.record_key(holder_state.holder), claim_record.encode(claim), holder_state.record_version)
        reading = holder_state.reading
        return put, await self.store.swap(self.key, raw(reading), reading.version, also=[put, *also])

    async def remove(self, holder_state: HolderState, lost: LostWrites[HolderState], also: Sequence[Also] = ()) -> None:
        """Take an id out of the semaphore; where it isn't in it, the same value is written and the record goes."""
        now = holder_state.semaphore
        left = now.release(holder_state.holder) if holder_state.listed else now
        record = [Delete(holder_state.record.key, holder_state.record.version)] if holder_state.record else []
        with lost.watch(holder_state):
            await self.store.swap(self.key, semaphore.encode(left), holder_state.reading.version, also=[*also, *record])

    async def fence(self, reading: Reading) -> int:
        """Write the same value: the version moves, so no request from before can win after it. Give the version."""
        return (await self.store.swap(self.key, raw(reading), reading.version)).version

    def record_key(self, holder: str) -> str:
        """Name the key of a holder's record."""
        return keys.holder_key(self.group, holder)


def raw(reading: Reading) -> bytes:
    """Give the value as it is; a key that does not exist is a fresh semaphore, as for CoreOS locksmith."""
    return reading.entry.value if reading.entry else semaphore.encode(Semaphore())


def removals(entries: Sequence[Entry]) -> list[Delete]:
    """Give the removals that go with a swap, of entries as they were read."""
    return [Delete(entry.key, entry.version) for entry in entries]
