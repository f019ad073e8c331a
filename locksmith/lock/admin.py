"""What operators do to the lock of a group: unlock, set the number of slots, acknowledge, repair, retire."""

from collections.abc import Collection
from dataclasses import dataclass, field

from locksmith.errors import ConflictError, CorruptValueError, LockError
from locksmith.lock.acknowledge import Acknowledgement
from locksmith.lock.cas import LostWrites
from locksmith.lock.guarded import Guarded, raw
from locksmith.lock.history import History
from locksmith.lock.holder import HolderState, LockState
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.share import Share
from locksmith.lock.share_policy import Shares
from locksmith.lock.shown_holder import ShownHolder
from locksmith.lock.unlocking import Frees, ShownNode, Unlock, read_presence
from locksmith.util.words import named


class LockAdmin:
    """An operator's way to the lock of one group. Errors are the store's, `CorruptValueError`, and those named here."""

    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded
        self._shares = Shares(guarded.store, guarded.group)

    @property
    def history(self) -> History:
        """The group's history, in which each act of an operator is recorded."""
        return self._guarded.history

    async def read(self) -> LockState:
        """Read who holds the lock and why; writes nothing, also where the key does not exist yet."""
        return await self._guarded.read()

    async def inspect(self, holder: str) -> HolderState:
        """Read the state of one id, also where its record cannot be decoded."""
        return await self._guarded.holder_state(holder, even_corrupt=True)

    async def fence(self) -> LockState:
        """Make sure that no request decided before this can win any more, and give the state of the lock then."""
        await self._guarded.retry.run(self._fence)
        return await self.read()

    async def presence(self, holder: str) -> ShownNode:
        """Read what the machine of this id shows of itself."""
        entry = (await self._guarded.store.get(keys.node_key(self._guarded.group, holder))).entry
        return read_presence(holder, entry)

    async def unlock(self, holder: str, shown: ShownHolder | None = None, frees: Frees = Frees.ANY) -> Claim | None:
        """Free the slot of this id, and say which claim held it (None: a holder without a record).

        `frees` says of which claims: `MidRebootError` and `NotManualError` leave the slot as it is.

        With what was `shown` of it, free only that: guarded by the record's version, and the machine's absence. On v2
        the absence is read right before. `ChangedClaimError`: it is not so any more, or another claim came between
        two attempts. `NotHeldError`: the id is not in the semaphore. `FreedOrNotError`: it may have been freed and
        taken again.
        """
        return await self._guarded.retry.run(Unlock(self._guarded, holder, shown, frees).attempt)

    async def acknowledge(
        self, words: str, done: list[Incident] | None = None, *, shown: Collection[Incident] | None = None
    ) -> list[Incident]:
        """Acknowledge every reboot of the group that went wrong, in the words of an operator; give what those are.

        `done` is filled with what is acknowledged: where an error comes in between, it has those before that. With what
        was `shown` of it, nothing else is acknowledged: `ChangedIncidentsError`.
        """
        work = Acknowledgement(self._guarded, words, done, shown)
        while await self._guarded.retry.run(work.some):
            pass
        return work.done

    async def compare_incidents(self, shown: Collection[Incident]) -> None:
        """Raise `ChangedIncidentsError` if something else has gone wrong in the group than what was shown."""
        await self._guarded.retry.run(Acknowledgement(self._guarded, "", shown=shown).compare)

    async def set_max(self, slots: int) -> int:
        """Change the number of slots, and end a share; give the number before. Where neither is, it writes nothing."""
        change = _MaxChange(slots)
        return await self._guarded.retry.run(lambda: self._set_max(change))

    async def share(self) -> Share | CorruptValueError | None:
        """Read the share that the number of slots follows, where there is one."""
        return await self._shares.read()

    async def set_share(self, percent: str) -> tuple[int, int]:
        """Have the number of slots follow a share of the machines present; give the number before, and the new one."""
        lost: LostWrites[int] = LostWrites()
        return await self._guarded.retry.run(lambda: self._set_share(percent, lost))

    async def retire(self) -> bool:
        """Set the number of slots to 0 for good while no slot is held; False where there is no semaphore at all.

        `LockError`: a slot is held.
        """
        return await self._guarded.retry.run(self._retire)

    async def corruption(self) -> tuple[bytes, CorruptValueError] | None:
        """Give the raw value that is no semaphore, and why; None where it is sound."""
        reading = await self._guarded.store.get(self._guarded.key)
        try:
            self._guarded.semaphore_in(reading)
        except CorruptValueError as error:
            return raw(reading), error
        return None

    async def repair(self, slots: int, corrupt: bytes) -> Semaphore:
        """Replace a corrupt semaphore, if it is still `corrupt`. Each id that has a record keeps its slot.

        One attempt: after `OutcomeUnknownError`, `corruption` says whether it was done.
        """
        store, key = self._guarded.store, self._guarded.key
        reading = await store.get(key)
        if raw(reading) != corrupt:
            raise ConflictError(f"{key} has changed meanwhile: read it again")
        prefix = keys.holders_prefix(self._guarded.group)
        records = await store.list(prefix)
        holders = sorted(keys.unsegment(entry.key.removeprefix(prefix)) for entry in records.entries)
        repaired = Semaphore(slots, tuple(holders))
        await store.swap(key, semaphore.encode(repaired), reading.version)
        return repaired

    async def _fence(self) -> None:
        _, reading = await self._guarded.semaphore()
        await self._guarded.fence(reading)

    async def _set_max(self, change: "_MaxChange") -> int:
        share = await self._shares.entry()
        if share is not None:
            change.ends_share = True
            await self._shares.end(share)
        now, reading = await self._guarded.semaphore()
        # After a share the same number is written too: a take with another one may be on its way.
        if reading.entry is not None and now.max == change.slots and not change.ends_share:
            return now.max if change.lost.last is None else change.lost.last
        with change.lost.watch(now.max):
            await self._guarded.store.swap(
                self._guarded.key, semaphore.encode(now.resize(change.slots)), reading.version
            )
        return now.max

    async def _set_share(self, percent: str, lost: LostWrites[int]) -> tuple[int, int]:
        now, reading = await self._guarded.semaphore()
        slots, share = await self._shares.begun(percent, now.max)
        with lost.watch(now.max):
            await self._guarded.store.swap(
                self._guarded.key, semaphore.encode(now.resize(slots)), reading.version, also=[share]
            )
        return next(iter(lost), now.max), slots

    async def _retire(self) -> bool:
        now, reading = await self._guarded.semaphore()
        if now.holders:
            raise LockError(f"{self._guarded.key} is held by {named(now.holders)}: wait until it is free")
        if reading.entry is not None and now.max != 0:
            await self._guarded.store.swap(self._guarded.key, semaphore.encode(now.resize(0)), reading.version)
        return reading.entry is not None


@dataclass(slots=True)
class _MaxChange:
    """One `set_max`, across its attempts. `ends_share`: one of them found a share."""

    slots: int
    ends_share: bool = False
    lost: LostWrites[int] = field(default_factory=LostWrites)
