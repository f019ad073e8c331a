"""The daemon's part of the lock: take, commit, release, each a compare-and-swap whose outcome is known when it ends.

A claim owns a slot if two things agree: the id in the semaphore, and the claim's nonce in the record of that id. On
etcd v3 both change in one transaction. On v2 they cannot. There a take writes its record first, guarded by the version
it read *after* the semaphore. Before it writes over the leftover record of another claim, it fences the semaphore: a
take of that other claim, still on its way, can then no longer win. The nonce in the record when the id enters the
semaphore is the owner's, and no other claim writes over it.

A write whose response was lost may be applied later than any read that follows. So every operation repeats its swap
until the version of the semaphore changes or the swap succeeds. Only then is the outcome known.

Above 300 lines, in one piece: each method is one step of a claim, on what one process knows of that claim.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random

from locksmith.errors import ConflictError, CorruptValueError, LockError, StoreRefusedError
from locksmith.lock.admission import Admission, GroupRules, Watermark
from locksmith.lock.cas import LostWrites, Turn
from locksmith.lock.errors import LostClaimError, OtherClaimError, OtherServerError, SlotsBusyError
from locksmith.lock.guarded import Guarded
from locksmith.lock.history import History
from locksmith.lock.holder import HolderState, LockState
from locksmith.lock.own_claim import Known, OwnClaim
from locksmith.lock.prepared import Prepared
from locksmith.lock.records import keys
from locksmith.lock.records import reboot as reboot_record
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import HELD, about
from locksmith.lock.records.reboot import RebootRecord
from locksmith.lock.releasing import Release, Released
from locksmith.lock.take import Take
from locksmith.lock.unchanged import Unchanged
from locksmith.store.meter import Meter
from locksmith.store.protocol import Also, Change, Check, Delete, Entry, Put, Reading, Store, any_change


class RebootLock:
    """The lock of one group, as one machine uses it.

    An operation that lost a race, or its response, is tried again for `limit` seconds; after that no attempt begins.
    Each attempt is a few calls of the store, which end within its own deadline. `unchanged` is what the program has
    seen of orders and presence before, if it opens a lock for each of its calls. Attempts of such locks take `turn`s.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        guard: Callable[[], Awaitable[None]] | None = None,
        rng: Random | None = None,
        limit: float = 30.0,
        meter: Meter | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        rules: GroupRules = GroupRules(),  # noqa: B008 - immutable
        mark: Watermark | None = None,
        unchanged: Unchanged | None = None,
        turn: Turn = nullcontext,
    ) -> None:
        self.guarded = Guarded(store, group, rng=rng, limit=limit, meter=meter, clock=clock, turn=turn)
        self._admission = Admission(store, group, rules, mark, clock, unchanged=unchanged)
        self._own = OwnClaim(self.guarded, self._admission)
        self._take = Take(self.guarded, self._own, self._admission, guard)

    @property
    def key(self) -> str:
        """The key of the semaphore."""
        return self.guarded.key

    @property
    def history(self) -> History:
        """The group's history."""
        return self.guarded.history

    @property
    def slots(self) -> int:
        """How many slots the group had when the semaphore was last seen."""
        return self._own.slots

    async def read(self) -> LockState:
        """Read who holds the lock and why; writes nothing, also where the key does not exist yet."""
        return await self.guarded.read()

    async def revision(self) -> int:
        """Give the store's revision by now: one key, where `read` reads every record."""
        return (await self.guarded.store.get(self.key)).revision

    async def take(
        self, claim: Claim, leaving: Sequence[Entry] = (), prepared: Prepared | None = None, position: int = 1
    ) -> bool:
        """Take a slot for a claim; taking it again for the same claim writes nothing.

        `leaving` is its place in the queue with its ticket, which go with the same write. True: they have gone. False:
        they may still be there.
        `prepared` is what an earlier attempt has read, with the semaphore as it is by now: one swap from that is
        tried first, and where it is not done, everything is read again. `position` is that of the place: a slot must be
        free for each place before it too.

        `SlotsBusyError`, `OtherClaimError`, `CorruptValueError`: not taken. `NotAdmittedError`: nor now, but an earlier
        try may win still. `OutcomeUnknownError`: undecided; call again, or `release` with `fence_pending`.
        `RepeatedError`: this machine has rebooted for the same version. `OlderJournalError`: see `release`.
        """
        retry, take = self.guarded.retry, self._take.attempt
        if not leaving and prepared is None:
            return await retry.contend(lambda: take(claim, position, (), None), SlotsBusyError)
        # Only at first: where the place has expired meanwhile, the slot is taken without it, but for a client.
        first, later = [(leaving, prepared)], (leaving if claim.is_clients else (), None)
        return await retry.run(lambda: take(claim, position, *(first.pop() if first else later)))

    async def check(self, claim: Claim) -> bool:
        """Tell whether this very claim holds a slot. `OtherClaimError`: another one does, for the same id."""
        holder_state = await self._own.holder_state(claim.holder)
        if holder_state.listed and not holder_state.holds(claim):
            raise OtherClaimError(holder_state.describe(), holder_state.reading.revision, holder_state.claim)
        return holder_state.listed

    def recall(self, known: Known) -> None:
        """Have the next release start from what was just read, guarded by all of it, before it reads by itself."""
        self._own.recall(known)

    async def refuse_hold(self, claim: Claim) -> None:
        """Raise `NotAdmittedError` if an operator holds the machine of this claim back."""
        await self._admission.refuse_hold(claim, await self.guarded.store.get(self._admission.hold_key(claim.holder)))

    async def commit(self, claim: Claim) -> float:
        """Pass the point of no return: write it into the record, guarded by the semaphore's not having changed.

        Gives when the write was sent that did it, by the clock of the loop: until then the slot was held for certain.
        `LostClaimError`: the claim holds nothing any more, and must not reboot. `NotAdmittedError`: it must not now.
        `RepeatedError`: what the claim is for by now is what the machine has rebooted for.
        """
        return await self.guarded.retry.run(lambda: self._commit(claim))

    async def report_failure(self, claim: Claim, state: str, failure: str) -> Claim | None:
        """Write what went wrong with the reboot of this claim into its record, where it still holds a slot.

        Gives the record as it is then: an operator may have acknowledged it. None: it holds none.
        """
        return await self.guarded.retry.run(lambda: self._note(claim, lambda was: was.gone_wrong(state, failure)))

    async def note_hooks(self, claim: Claim, hooks: str) -> Claim | None:
        """Write into the record of this claim how far its hooks are, and give the record; None: it holds no slot.

        A record past its point of no return changes only as `Claim.with_hooks` says.
        """
        return await self.guarded.retry.run(lambda: self._note(claim, lambda was: was.with_hooks(hooks)))

    async def release(
        self, claim: Claim, *, fence_pending: bool = False, why: str = "", rebooted: bool = False
    ) -> Claim | None:
        """Release the claim's slot, and give the claim as its record had it; the history says `why`.

        None: it held no slot; at most the record that it may have left is removed. With `fence_pending`, a take of this
        claim whose response was lost is made unable to win later. Unless it has `rebooted`, the group forgets that it
        was to.
        `OlderJournalError`: the record knows of a reboot that the claim does not; nothing was written.
        """
        return (await self.hand_over(claim, fence_pending=fence_pending, why=why, rebooted=rebooted)).claim

    async def hand_over(
        self,
        claim: Claim,
        *,
        fence_pending: bool = False,
        why: str = "",
        rebooted: bool = False,
        places: Sequence[str] = (),
        held: bool = False,
    ) -> Released:
        """Do what `release` does, and say whether the claim has left the queue: then none of `places` exists.

        The history's record goes with the write that frees the slot. Its lease is asked for while it reads, if the
        claim is believed to have `held` a slot.
        """
        clock, retry = self.guarded.clock, self.guarded.retry
        with Release(claim, places, self.history, lambda freed: about(freed, clock(), HELD, detail=why)) as work:
            if held:
                work.record.begin()
            work.known = self._own.take_known()
            freed = await retry.run(lambda: self._release(work, fence_pending=fence_pending, rebooted=rebooted))
            if freed is not None:
                await work.record.ensure(freed)
            return Released(freed, unqueued=work.unqueued)

    async def release_legacy(self, holder: str) -> bool:
        """Free an id that holds a slot without a record, and nothing else; False where it does not."""
        lost: LostWrites[HolderState] = LostWrites()
        return await self.guarded.retry.run(lambda: self._release_legacy(holder, lost))

    async def peek(self) -> Reading:
        """Read the semaphore alone."""
        return await self.guarded.store.get(self.key)

    def free_slots(self, reading: Reading) -> int:
        """Count the free slots of the semaphore as it was read; `CorruptValueError`: it is none."""
        return self.guarded.semaphore_in(reading).available

    async def wait(self, after: int, limit: float, key: str = "", slots: int | None = None) -> Change | None:
        """Wait for a change of the semaphore, or of `key`, after a revision, for at most `limit` seconds.

        With a number of `slots`, until so many are free.
        """
        until = any_change if key else partial(self._own.frees, slots)
        return await self.guarded.store.wait(key or self.key, after, limit=limit, until=until)

    def now(self) -> datetime:
        """Tell the time by this machine's clock."""
        return self.guarded.clock()

    async def close(self) -> None:
        """Let go of the store."""
        await self.guarded.store.close()

    async def _commit(self, claim: Claim) -> float:
        key, own, memory = self._own.keys(claim.holder)
        read = await self._own.read(claim, [key, own, memory, *self._admission.keys(claim.holder)])
        holder_state, last = self._own.holder_state_in(claim.holder, read[key], read[own]), read[memory]
        orders = self._admission.orders(claim.holder, read)
        if not holder_state.holds(claim):
            raise LostClaimError(f"the claim of {claim.holder} no longer holds a slot in {self.key}")
        if holder_state.claim is not None and holder_state.claim.hooks != claim.hooks:
            raise OtherServerError(f"the hooks of {claim.holder} ran, or run, on another server")
        holder_state.refuse_older(claim.committed())  # an earlier attempt of this very commit may have been applied
        await self._admission.check(claim, holder_state, orders, held=True, last=True, read_too=read)
        known = self._admission.refuse_repeat(claim, last)  # what is wanted by now may be what it has rebooted for
        self._admission.keep_mark()
        await self._admission.begin_spacing(claim, orders.spacing)
        committed = replace(claim.committed(), taken=holder_state.claim.taken if holder_state.claim else None)
        record = RebootRecord.of(committed, self.guarded.clock(), known)
        remember = Put(memory, reboot_record.encode(record), last.version)
        sent = asyncio.get_running_loop().time()
        put, entry = await self.guarded.rewrite(holder_state, committed, [remember])
        self._own.remember(
            holder_state, entry, put, Reading(replace(entry, key=memory, value=remember.value), entry.version)
        )
        return sent

    async def _note(self, claim: Claim, change: Callable[[Claim], Claim]) -> Claim | None:
        holder_state = await self._own.holder_state(claim.holder)
        if not holder_state.holds(claim) or holder_state.claim is None:
            return None
        noted = change(holder_state.claim)
        if noted != holder_state.claim:
            await self.guarded.rewrite(holder_state, noted)
        return noted

    async def _release(self, work: Release, *, fence_pending: bool, rebooted: bool) -> Claim | None:
        known, work.known = work.known, None
        if known is not None and (freed := await self._release_known(work, known, rebooted=rebooted)):
            return freed
        claim = work.claim
        key, own, memory = self._own.keys(claim.holder)
        reading, record, last, *places = await self.guarded.store.read([key, own, memory, *work.places])
        holder_state = self._own.holder_state_in(claim.holder, reading, record)
        holder_state.refuse_older(claim)
        if holder_state.holds(claim) and holder_state.claim is not None:
            forget = None if rebooted else _forgotten(claim, memory, last)
            also: list[Also] = [forget] if forget else []
            await self._free(work, holder_state, holder_state.claim, [*also, *work.checks(places)])
            return holder_state.claim
        if not holder_state.listed and holder_state.is_of(claim):
            await self.guarded.remove(holder_state, work.lost)
        elif not holder_state.listed and fence_pending:
            await self.guarded.fence(holder_state.reading)
        return next((was.claim for was in work.lost if was.holds(claim)), None)

    async def _release_known(self, work: Release, known: Known, *, rebooted: bool) -> Claim | None:
        """Free the slot from what is known; None: nothing was written, and it takes a fresh read to say why."""
        claim, now, last = work.claim, known.holder_state, known.last
        memory = keys.reboot_key(self.guarded.group, claim.holder)
        if now.holder != claim.holder or not now.holds(claim) or now.claim is None:
            return None
        forget = None if rebooted else _forgotten(claim, memory, last)
        also: list[Also] = [forget or Check(memory, last.version)]
        try:
            now.refuse_older(claim)
            await self._free(work, now, now.claim, [*also, *work.checks()])
        except (LockError, ConflictError):
            return None
        return now.claim

    async def _free(self, work: Release, holder_state: HolderState, claim: Claim, also: Sequence[Also]) -> None:
        """Free a slot with its record of the history; if the store refuses that record, without it."""
        note = await work.record.note(claim)
        try:
            await self.guarded.remove(holder_state, work.lost, [*also, *note])
        except StoreRefusedError:
            if not note:
                raise
            await self.guarded.remove(holder_state, work.lost, also)
        else:
            work.record.written = bool(note)
        work.freed()

    async def _release_legacy(self, holder: str, lost: LostWrites[HolderState]) -> bool:
        now = await self.guarded.holder_state(holder)
        if not now.listed or now.record is not None:
            return bool(lost)
        await self.guarded.remove(now, lost)
        return True


def _forgotten(claim: Claim, key: str, remembered: Reading) -> Put | Delete | None:
    """Give the write that forgets the reboot of a claim alone; None: the last reboot is of another claim."""
    if remembered.entry is None:
        return None
    try:
        last = reboot_record.decode(remembered.entry.value, key)
    except CorruptValueError:
        return None
    if last.nonce != claim.nonce:
        return None
    before = last.before
    return Put(key, reboot_record.encode(before), remembered.version) if before else Delete(key, remembered.version)
