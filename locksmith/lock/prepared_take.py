"""A take in one swap, from what an earlier attempt has read while every slot was held."""

import asyncio
from collections.abc import Sequence

from locksmith.errors import ConflictError, CorruptValueError, LockError
from locksmith.lock.admission import Admission
from locksmith.lock.guarded import Guarded, removals
from locksmith.lock.own_claim import OwnClaim
from locksmith.lock.prepared import Prepared
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import semaphore
from locksmith.lock.records.claim import Claim
from locksmith.store.protocol import Also, Entry, Put


class PreparedTake:
    """Tries prepared takes of one group."""

    def __init__(self, guarded: Guarded, own: OwnClaim, admission: Admission) -> None:
        self._guarded = guarded
        self._own = own
        self._admission = admission

    async def attempt(self, claim: Claim, leaving: Sequence[Entry], prepared: Prepared) -> bool:
        """Try one swap from what was read before; False: nothing was written, and it takes a fresh read to say why."""
        reading, readings = prepared.freed, prepared.readings
        if reading is None:
            return False
        key, own, memory = self._own.keys(claim.holder)
        try:
            holder_state = self._own.holder_state_in(claim.holder, reading, readings.read[own])
            now, others = holder_state.semaphore, readings.others.among(holder_state.semaphore.holders)
            rivals = [holder for holder in now.holders if holder != claim.holder]
            foreign = holder_state.claim is not None and not holder_state.is_of(claim)
            if foreign or not prepared.suits(claim, now, _now()) or not self._admission.knows(others, rivals):
                return False
            orders = self._admission.orders(claim.holder, readings.read)
            await self._admission.check(claim, holder_state, orders, held=False, last=False, others=others)
            self._admission.refuse_repeat(claim, readings.read[memory])
            taken = now.take(claim.holder)
            if (checks := prepared.checks({key, own}, others)) is None:
                return False
            put = Put(own, claim_record.encode(claim.taken_at(self._guarded.clock())), holder_state.record_version)
            also: list[Also] = [put, *removals(leaving), *checks]
            entry = await self._guarded.store.swap(key, semaphore.encode(taken), reading.version, also=also)
            self._own.remember(holder_state, entry, put, readings.read[memory])
        except (LockError, CorruptValueError, ConflictError):
            return False
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
