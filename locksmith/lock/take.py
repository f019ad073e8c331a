"""The take of a slot: one attempt, from what was prepared for it where that is possible, and else from a fresh read."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from locksmith.errors import ConflictError
from locksmith.lock.admission import Admission
from locksmith.lock.admission_readings import AdmissionReadings, Others
from locksmith.lock.errors import OtherClaimError, PlaceGoneError, SlotsBusyError
from locksmith.lock.guarded import Guarded, removals
from locksmith.lock.holder import HolderState, read_record
from locksmith.lock.own_claim import OwnClaim
from locksmith.lock.prepared import Prepared, PreparedBusyError, TakeReadings
from locksmith.lock.prepared_take import PreparedTake
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import semaphore
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import EXPIRE, about
from locksmith.lock.records.semaphore import NoFreeSlotError
from locksmith.lock.share_policy import Shares
from locksmith.store.protocol import Also, Delete, Entry, Put
from locksmith.util.futures import heed

CHECK_LATER = 0.003
"""Seconds after which a prepared take checks the other keyspace: a guarded write takes about as long."""


class Take:
    """Attempts to take a slot of one group. `guard` checks the other keyspace, and raises an error if it is in use."""

    def __init__(
        self, guarded: Guarded, own: OwnClaim, admission: Admission, guard: Callable[[], Awaitable[None]] | None
    ) -> None:
        self._guarded = guarded
        self._own = own
        self._admission = admission
        self._guard = guard
        self._shares = Shares(guarded.store, guarded.group)
        self._prepared = PreparedTake(guarded, own, admission)

    async def attempt(self, claim: Claim, position: int, leaving: Sequence[Entry], prepared: Prepared | None) -> bool:
        """Take a slot; True: what was `leaving` has gone.

        A client's slot is taken with its place or not at all: without the place, its steady-state came in between.

        The other keyspace is checked during the reads: between a slot's being free and its being taken, time counts. A
        prepared take begins that check when its swap is on its way: before, the check's own work would delay the swap.
        """
        checking = asyncio.ensure_future(self._check_other_keyspace(0.0 if prepared is None else CHECK_LATER))
        checking.add_done_callback(heed)  # if nothing is to be taken, no step waits for it
        try:
            if prepared is not None and await self._prepared.attempt(claim, leaving, prepared):
                await checking
                return bool(leaving)
            return await self._take(claim, position, leaving, checking)
        except SlotsBusyError:
            raise  # the check goes on: a prepared take needs its result
        except BaseException:
            checking.cancel()
            raise

    async def _take(
        self, claim: Claim, position: int, leaving: Sequence[Entry], checking: "asyncio.Future[None]"
    ) -> bool:
        began = asyncio.get_running_loop().time()
        key, own, memory = self._own.keys(claim.holder)
        keys = [key, own, memory, self._shares.key, *self._admission.keys(claim.holder)]
        placed = [one.key for one in leaving] if claim.is_clients else []
        read = await self._own.read(claim, [*keys, *placed])
        holder_state, last = self._own.holder_state_in(claim.holder, read[key], read[own]), read[memory]
        if holder_state.listed and not holder_state.holds(claim):
            raise OtherClaimError(holder_state.describe(), holder_state.reading.revision, holder_state.claim)
        holder_state.refuse_older(claim)
        held, orders = holder_state.holds(claim), self._admission.orders(claim.holder, read)
        others = await self._admission.check(claim, holder_state, orders, held=held, last=False, read_too=read)
        if held:
            await checking
            return False
        if claim.is_clients:
            leaving = _still_there(claim, leaving, [read[one].entry for one in placed])
        self._admission.refuse_repeat(claim, last)
        holder_state, also = await self._shares.applied(holder_state, read[self._shares.key].entry, checking)
        try:
            taken = holder_state.semaphore.take(claim.holder, position)
        except NoFreeSlotError as error:
            if position == 1:
                await self._expire(others, holder_state, orders)
            await self._drop_leftover(holder_state, claim)
            readings = TakeReadings({key: read[key] for key in keys}, others)
            slots = holder_state.semaphore.max
            prepared = Prepared(self._guarded.group, claim.nonce, readings, slots, checking, began)
            raise PreparedBusyError(str(error), holder_state.reading.revision, prepared) from None
        await checking
        version = holder_state.reading.version
        if holder_state.claim is not None and holder_state.claim.nonce != claim.nonce:
            version = await self._guarded.fence(holder_state.reading)
        put = Put(own, claim_record.encode(claim.taken_at(self._guarded.clock())), holder_state.record_version)
        siblings: list[Also] = [put, *also, *removals(leaving)]
        entry = await self._guarded.store.swap(key, semaphore.encode(taken), version, also=siblings)
        self._own.remember(holder_state, entry, put, last)
        return bool(leaving)

    async def _expire(self, others: Others, holder_state: HolderState, orders: AdmissionReadings) -> None:
        """Take the slot of a machine that is lost for too long, where that is configured: an incident stays."""
        gone = self._admission.expired(others)
        if gone is None:
            return
        record = (await self._guarded.store.get(self._guarded.record_key(gone.holder))).entry
        if record is None or not isinstance(read_record(gone.holder, record), Claim):
            return
        left = semaphore.encode(holder_state.semaphore.release(gone.holder))
        also: list[Put | Delete] = [
            self._admission.note(gone, others, orders.incidents),
            Delete(record.key, record.version),
        ]
        await self._guarded.store.swap(self._guarded.key, left, holder_state.reading.version, also=also)
        event = about(gone, self._guarded.clock(), EXPIRE, who="locksmithd", detail="its machine is lost")
        await self._guarded.history.add(event)
        raise ConflictError(f"the slot of {gone.holder} has expired: read the lock again")

    async def _check_other_keyspace(self, later: float) -> None:
        if self._guard is not None:
            await asyncio.sleep(later)
            await self._guard()

    async def _drop_leftover(self, holder_state: HolderState, claim: Claim) -> None:
        """Remove what a lost race left on v2; no take that was sent while a slot was free can win any more."""
        if holder_state.record is not None and holder_state.is_of(claim):
            with suppress(ConflictError):
                await self._guarded.store.delete(holder_state.record.key, holder_state.record.version)


def _still_there(claim: Claim, leaving: Sequence[Entry], now: Sequence[Entry | None]) -> list[Entry]:
    """Give a client's place and its ticket as they are now; `PlaceGoneError`: the place is no longer the same."""
    left = [entry for entry in now if entry is not None]
    if not left or (left[0].key, left[0].created) != (leaving[0].key, leaving[0].created):
        raise PlaceGoneError(
            f"the place of {claim.holder} in the queue is gone: its steady-state came in between, or it has expired"
        )
    return left
