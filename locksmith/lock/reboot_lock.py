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
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random

from locksmith.errors import ConflictError, CorruptValueError, LockError, StoreRefusedError
from locksmith.lock.acknowledge import Acknowledgement
from locksmith.lock.admission import Admission, GroupRules, Others, Watermark
from locksmith.lock.cas import Decider, remembered
from locksmith.lock.errors import ChangedClaimError, FreedOrNotError, LostClaimError, OtherClaimError, SlotsBusyError
from locksmith.lock.history import History
from locksmith.lock.holder import HolderState, LockState, read_record
from locksmith.lock.prepared import Prepared, PreparedBusyError, TakeReadings
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records import reboot as reboot_record
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import EXPIRE, HELD, about
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.reboot import RebootRecord
from locksmith.lock.records.semaphore import NoFreeSlotError, NotHeldError, Semaphore
from locksmith.lock.records.share import Share
from locksmith.lock.releasing import Known, Release, Released
from locksmith.lock.share_policy import Shares
from locksmith.lock.shown import Shown
from locksmith.store.meter import Meter
from locksmith.store.protocol import ABSENT, Also, Change, Check, Delete, Entry, Put, Reading, Store, any_change
from locksmith.util.words import named

LOOK_LATER = 0.003
"""Seconds after which a prepared take looks at the other keyspace: a guarded write takes about as long."""


class RebootLock:
    """The lock of one group.

    An operation that lost a race, or its answer, is tried again for `limit` seconds; after that no attempt begins. Each
    attempt is a few calls of the store, which end within its own deadline.
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
    ) -> None:
        self.key = keys.semaphore_key(group)
        self.history = History(store, group, rng)
        self._shares = Shares(store, group)
        self._admission = Admission(store, group, rules, mark, clock)
        self._store = store
        self._group = group
        self._guard = guard
        self._clock = clock
        # Who held the other slots when the semaphore was last seen: what is asked of them is read with it.
        self._holders: tuple[str, ...] = ()
        self.slots = 1
        """How many slots the group had when the semaphore was last seen."""
        self._known: Known | None = None
        self._decider = Decider(rng or Random(), limit, meter or Meter())  # noqa: S311 - jitter, no secret

    async def read(self) -> LockState:
        """Read who holds the lock and why; writes nothing, also where the key does not exist yet."""
        now, reading = await self._semaphore()
        listing = await self._store.list(keys.holders_prefix(self._group))
        records = {entry.key: entry for entry in listing.entries}
        claims = {holder: read_record(holder, records.get(self._record_key(holder))) for holder in now.holders}
        return LockState(now, claims, reading.revision)

    async def revision(self) -> int:
        """Give the store's revision by now: one key, where `read` reads every record."""
        return (await self._store.get(self.key)).revision

    async def take(
        self, claim: Claim, leaving: Sequence[Entry] = (), prepared: Prepared | None = None, position: int = 1
    ) -> bool:
        """Take a slot for a claim; taking it again for the same claim writes nothing.

        `leaving` is its place in line with its ticket, which go with the same write. True: they have gone. False: they
        may still be there.
        `prepared` is what an earlier attempt has read, with the semaphore as it stands by now: one swap from that is
        tried first, and where it is not done, everything is read again. `position` is that of the place: a slot must be
        free for each place before it too.

        `SlotsBusyError`, `OtherClaimError`, `CorruptValueError`: not taken. `BrakedError`: nor now, but an earlier try
        may win still. `OutcomeUnknownError`: undecided; call again, or `give_back` with `settle`.
        `RepeatedError`: this machine has rebooted for the same version. `OlderJournalError`: see `give_back`.
        """
        # Only at first: where the place has expired meanwhile, the slot is taken without it.
        if not leaving and prepared is None:
            return await self._decider.contend(lambda: self._take(claim, position, (), None), SlotsBusyError)
        first = [(leaving, prepared)]
        return await self._decider.decide(lambda: self._take(claim, position, *(first.pop() if first else ((), None))))

    async def check(self, claim: Claim) -> bool:
        """Tell whether this very claim holds a slot. `OtherClaimError`: another one does, for the same id."""
        holder_state = await self._holder_state(claim.holder)
        if holder_state.listed and not holder_state.holds(claim):
            raise OtherClaimError(holder_state.describe(), holder_state.reading.revision, holder_state.claim)
        return holder_state.listed

    async def commit(self, claim: Claim) -> float:
        """Pass the point of no return: write it into the record, guarded by the semaphore's not having changed.

        Gives when the write was sent that did it, by the clock of the loop: until then the slot was held for certain.
        `LostClaimError`: the claim holds nothing any more, and must not reboot. `BrakedError`: it must not now.
        `RepeatedError`: what the claim is for by now is what the machine has rebooted for.
        """
        return await self._decider.decide(lambda: self._commit(claim))

    async def report_failure(self, claim: Claim, state: str, failure: str) -> Claim | None:
        """Write what went wrong with the reboot of this claim into its record, where it still holds a slot.

        Gives the record as it stands then: an operator may have acknowledged it. None: it holds none.
        """
        return await self._decider.decide(lambda: self._report_failure(claim, state, failure))

    async def acknowledge(self, words: str, done: list[Incident] | None = None) -> list[Incident]:
        """Acknowledge every reboot of the group that went wrong, in the words of an operator; give what those are.

        `done` is filled with what is acknowledged: where an error comes in between, it has those before that.
        """
        work = Acknowledgement(self._store, self._group, words, self._clock, done)
        while await self._decider.decide(work.some):
            pass
        return work.done

    async def touch(self) -> LockState:
        """Make sure that nothing wins any more that was decided before this, and give how the lock stands then."""
        await self._decider.decide(self._touch_it)
        return await self.read()

    async def release(
        self, claim: Claim, *, settle: bool = False, why: str = "", rebooted: bool = False
    ) -> Claim | None:
        """Give the claim's slot back, and give the claim as its record had it; the history says `why`.

        None: it held no slot; at most the record that it may have left is removed. With `settle`, a take of this claim
        whose answer was lost is made unable to win later. Unless it has `rebooted`, the group forgets that it was to.
        `OlderJournalError`: the record knows of a reboot that the claim does not; nothing was written.
        """
        return (await self.hand_over(claim, settle=settle, why=why, rebooted=rebooted)).claim

    async def hand_over(
        self,
        claim: Claim,
        *,
        settle: bool = False,
        why: str = "",
        rebooted: bool = False,
        places: Sequence[str] = (),
        held: bool = False,
    ) -> Released:
        """Do what `give_back` does, and say whether the claim has left the queue: then none of `places` exists.

        The history's record goes with the write that frees the slot. Its lease is asked for while it reads, if the
        claim is believed to have `held` a slot.
        """
        with Release(claim, places, self.history, lambda freed: about(freed, self._clock(), HELD, detail=why)) as work:
            if held:
                work.record.begin()
            work.known, self._known = self._known, None
            freed = await self._decider.decide(lambda: self._release(work, settle=settle, rebooted=rebooted))
            if freed is not None:
                await work.record.ensure(freed)
            return Released(freed, unqueued=work.unqueued)

    async def look(self, holder: str) -> HolderState:
        """Read how one id stands, also where its record cannot be read."""
        return await self._holder_state(holder, even_corrupt=True)

    async def unlock(self, holder: str, shown: Shown | None = None) -> Claim | None:
        """Free whatever holds this id, and say which claim it was (None: one without a record).

        With what was `shown` of it, free only that: guarded by the record's version, and the machine's absence. On v2
        the absence is looked at right before. `ChangedClaimError`: it is not so any more, or another claim came
        between two attempts. `NotHeldError`: the id is not in the semaphore. `FreedOrNotError`: it may have been freed
        and taken again.
        """
        seen: list[HolderState] = []
        lost: list[HolderState] = []
        return await self._decider.decide(lambda: self._unlock(holder, shown, seen, lost))

    async def release_legacy(self, holder: str) -> bool:
        """Free an id that stands there without a record, and nothing else; False where it does not."""
        lost: list[HolderState] = []
        return await self._decider.decide(lambda: self._release_legacy(holder, lost))

    async def set_max(self, slots: int) -> int:
        """Change the number of slots, and end a share; give the number before. Where neither is, it writes nothing."""
        lost: list[int] = []
        ended: list[Entry] = []
        return await self._decider.decide(lambda: self._set_max(slots, lost, ended))

    async def share(self) -> Share | CorruptValueError | None:
        """Read the share that the number of slots follows, where there is one."""
        return await self._shares.read()

    async def set_share(self, percent: str) -> tuple[int, int]:
        """Have the number of slots follow a share of the machines present; give the number before, and the new one."""
        lost: list[int] = []
        return await self._decider.decide(lambda: self._set_share(percent, lost))

    async def retire(self) -> bool:
        """Set the number of slots to 0 for good while nobody holds one; False where there is no semaphore at all.

        `LockError`: somebody holds a slot.
        """
        return await self._decider.decide(self._retire)

    async def corruption(self) -> tuple[bytes, CorruptValueError] | None:
        """Give the raw value that is no semaphore, and why; None where it is sound."""
        reading = await self._store.get(self.key)
        try:
            semaphore.decode(_raw(reading), self.key)
        except CorruptValueError as error:
            return _raw(reading), error
        return None

    async def repair(self, slots: int, corrupt: bytes) -> Semaphore:
        """Make a corrupt semaphore new, if it is still `corrupt`. Whoever has a record keeps its slot.

        One attempt: after `OutcomeUnknownError`, `corruption` says whether it was done.
        """
        reading = await self._store.get(self.key)
        if _raw(reading) != corrupt:
            raise ConflictError(f"{self.key} has changed meanwhile: read it again")
        prefix = keys.holders_prefix(self._group)
        records = await self._store.list(prefix)
        holders = sorted(keys.unsegment(entry.key.removeprefix(prefix)) for entry in records.entries)
        repaired = Semaphore(slots, tuple(holders))
        await self._store.swap(self.key, semaphore.encode(repaired), reading.version)
        return repaired

    async def peek(self) -> Reading:
        """Read the semaphore alone."""
        return await self._store.get(self.key)

    def free_slots(self, reading: Reading) -> int:
        """Count the free slots of the semaphore as it was read; `CorruptValueError`: it is none."""
        return semaphore.decode(_raw(reading), self.key).available

    async def wait(self, after: int, limit: float, key: str = "", slots: int | None = None) -> Change | None:
        """Wait for a change of the semaphore, or of `key`, after a revision, for at most `limit` seconds.

        With a number of `slots`, until so many are free.
        """
        until = any_change if key else partial(self._frees, slots)
        return await self._store.wait(key or self.key, after, limit=limit, until=until)

    def now(self) -> datetime:
        """Tell the time by this machine's clock."""
        return self._clock()

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    async def _take(self, claim: Claim, position: int, leaving: Sequence[Entry], prepared: Prepared | None) -> bool:
        """Look at the other keyspace beside the reads: between a slot's being free and its being taken, time counts.

        A prepared take begins that look when its swap is on its way: before, the look's own work would delay the swap.
        """
        looking = asyncio.ensure_future(self._look_at_other_keyspace(0.0 if prepared is None else LOOK_LATER))
        looking.add_done_callback(_retrieve)
        try:
            if prepared is not None and await self._take_prepared(claim, leaving, prepared):
                await looking
                return bool(leaving)
            return await self._take_unless_in_use(claim, position, leaving, looking)
        except SlotsBusyError:
            raise  # the look goes on: a prepared take needs its answer
        except BaseException:
            looking.cancel()
            raise

    async def _take_prepared(self, claim: Claim, leaving: Sequence[Entry], prepared: Prepared) -> bool:
        """Try one swap from what was read before; False: nothing was written, and it takes a fresh look to say why."""
        reading, readings = prepared.freed, prepared.readings
        if reading is None:
            return False
        try:
            own = self._record_key(claim.holder)
            holder_state = self._read_holder(claim.holder, reading, readings.read[own])
            now, others = holder_state.semaphore, readings.others.among(holder_state.semaphore.holders)
            rivals = [holder for holder in now.holders if holder != claim.holder]
            foreign = holder_state.claim is not None and not holder_state.is_of(claim)
            if foreign or not prepared.suits(claim, now, _now()) or not self._admission.knows(others, rivals):
                return False
            orders = [readings.read[key] for key in self._admission.keys(claim.holder)]
            await self._admission.judge(claim, holder_state, orders, held=False, last=False, others=others)
            self._admission.refuse_repeat(claim, readings.read[keys.reboot_key(self._group, claim.holder)])
            taken = now.take(claim.holder)
            if (checks := prepared.checks({self.key, own}, others)) is None:
                return False
            put = Put(own, claim_record.encode(self._taken(claim)), holder_state.record_version)
            also: list[Also] = [put, *_removed(leaving), *checks]
            entry = await self._store.swap(self.key, semaphore.encode(taken), reading.version, also=also)
            self._remember(holder_state, entry, put, readings.read[keys.reboot_key(self._group, claim.holder)])
        except (LockError, CorruptValueError, ConflictError):
            return False
        return True

    async def _take_unless_in_use(
        self, claim: Claim, position: int, leaving: Sequence[Entry], looking: "asyncio.Future[None]"
    ) -> bool:
        began = _now()
        own = [self._record_key(claim.holder), keys.reboot_key(self._group, claim.holder)]
        keys_ = [self.key, *own, self._shares.key, *self._admission.keys(claim.holder)]
        read = await self._read(claim, keys_)
        reading, record, last, share, *admission = (read[key] for key in keys_)
        holder_state = self._read_holder(claim.holder, reading, record)
        if holder_state.listed and not holder_state.holds(claim):
            raise OtherClaimError(holder_state.describe(), holder_state.reading.revision, holder_state.claim)
        holder_state.refuse_older(claim)
        held = holder_state.holds(claim)
        others = await self._admission.judge(claim, holder_state, admission, held=held, last=False, read_too=read)
        if held:
            await looking
            return False
        self._admission.refuse_repeat(claim, last)
        holder_state, also = await self._shares.applied(holder_state, share.entry, looking)
        try:
            taken = holder_state.semaphore.take(claim.holder, position)
        except NoFreeSlotError as error:
            if position == 1:
                await self._expire(others, holder_state, admission)
            await self._drop_leftover(holder_state, claim)
            readings = TakeReadings({key: read[key] for key in keys_}, others)
            prepared = Prepared(self._group, claim.nonce, readings, holder_state.semaphore.max, looking, began)
            raise PreparedBusyError(str(error), holder_state.reading.revision, prepared) from None
        await looking
        version = holder_state.reading.version
        if holder_state.claim is not None and holder_state.claim.nonce != claim.nonce:
            version = await self._touch(holder_state)
        put = Put(self._record_key(claim.holder), claim_record.encode(self._taken(claim)), holder_state.record_version)
        siblings: list[Also] = [put, *also, *_removed(leaving)]
        entry = await self._store.swap(self.key, semaphore.encode(taken), version, also=siblings)
        self._remember(holder_state, entry, put, last)
        return bool(leaving)

    async def _commit(self, claim: Claim) -> float:
        memory = keys.reboot_key(self._group, claim.holder)
        keys_ = [self.key, self._record_key(claim.holder), memory, *self._admission.keys(claim.holder)]
        read = await self._read(claim, keys_)
        reading, record, last, *admission = (read[key] for key in keys_)
        holder_state = self._read_holder(claim.holder, reading, record)
        if not holder_state.holds(claim):
            raise LostClaimError(f"the claim of {claim.holder} no longer holds a slot in {self.key}")
        holder_state.refuse_older(claim.committed())  # an earlier attempt of this very commit may have been applied
        await self._admission.judge(claim, holder_state, admission, held=True, last=True, read_too=read)
        self._admission.refuse_repeat(claim, last)  # what is wanted by now may be what it has rebooted for
        self._admission.keep_mark()
        await self._admission.begin_spacing(claim, admission)
        committed = replace(claim.committed(), taken=holder_state.claim.taken if holder_state.claim else None)
        remember = Put(memory, reboot_record.encode(RebootRecord.of(committed, self._clock())), last.version)
        sent = asyncio.get_running_loop().time()
        put, entry = await self._rewrite(holder_state, committed, [remember])
        self._remember(
            holder_state, entry, put, Reading(replace(entry, key=memory, value=remember.value), entry.version)
        )
        return sent

    async def _rewrite(self, holder_state: HolderState, claim: Claim, also: Sequence[Put] = ()) -> tuple[Put, Entry]:
        """Write a record, and the semaphore's same value with it; give both."""
        put = Put(self._record_key(claim.holder), claim_record.encode(claim), holder_state.record_version)
        written = [put, *also]
        return put, await self._store.swap(
            self.key, _raw(holder_state.reading), holder_state.reading.version, also=written
        )

    def _remember(self, before: HolderState, entry: Entry, record: Put, last: Reading) -> None:
        """Take note how the claim stands after a write of the semaphore and its record (on v2: two versions)."""
        if self._store.transactional:
            now = semaphore.decode(entry.value, self.key)
            written = replace(entry, key=record.key, value=record.value)
            claim = claim_record.decode(record.value, record.key, before.holder)
            self._known = Known(HolderState(before.holder, now, Reading(entry, entry.version), written, claim), last)

    async def _report_failure(self, claim: Claim, state: str, failure: str) -> Claim | None:
        holder_state = await self._holder_state(claim.holder)
        if not holder_state.holds(claim) or holder_state.claim is None:
            return None
        gone_wrong = holder_state.claim.gone_wrong(state, failure)
        if gone_wrong != holder_state.claim:
            await self._rewrite(holder_state, gone_wrong)
        return gone_wrong

    async def _touch_it(self) -> None:
        _, reading = await self._semaphore()
        await self._store.swap(self.key, _raw(reading), reading.version)

    async def _expire(self, others: Others, holder_state: HolderState, admission: Sequence[Reading]) -> None:
        """Take the slot of a machine that is lost for too long, where that is configured: an incident stays."""
        gone = self._admission.expired(others)
        if gone is None:
            return
        record = (await self._store.get(self._record_key(gone.holder))).entry
        if record is None or not isinstance(read_record(gone.holder, record), Claim):
            return
        left = semaphore.encode(holder_state.semaphore.release(gone.holder))
        also: list[Put | Delete] = [self._admission.note(gone, others, admission), Delete(record.key, record.version)]
        await self._store.swap(self.key, left, holder_state.reading.version, also=also)
        await self.history.add(about(gone, self._clock(), EXPIRE, who="locksmithd", detail="its machine is lost"))
        raise ConflictError(f"the slot of {gone.holder} has expired: read the lock again")

    async def _look_at_other_keyspace(self, later: float) -> None:
        if self._guard is not None:
            await asyncio.sleep(later)
            await self._guard()

    def _taken(self, claim: Claim) -> Claim:
        return replace(claim, taken=self._clock().replace(microsecond=0))

    async def _drop_leftover(self, holder_state: HolderState, claim: Claim) -> None:
        """Remove what a lost race left on v2; no take that was sent while a slot was free can win any more."""
        if holder_state.record is not None and holder_state.is_of(claim):
            with suppress(ConflictError):
                await self._store.delete(holder_state.record.key, holder_state.record.version)

    async def _release(self, work: Release, *, settle: bool, rebooted: bool) -> Claim | None:
        known, work.known = work.known, None
        if known is not None and (freed := await self._give_back_known(work, known, rebooted=rebooted)):
            return freed
        claim, memory = work.claim, keys.reboot_key(self._group, work.claim.holder)
        keys_ = [self.key, self._record_key(claim.holder), memory, *work.places]
        reading, record, last, *places = await self._store.read(keys_)
        holder_state = self._read_holder(claim.holder, reading, record)
        holder_state.refuse_older(claim)
        if holder_state.holds(claim) and holder_state.claim is not None:
            forget = last.entry is not None and not rebooted and _is_of(claim, last.entry)
            also: list[Also] = [Delete(memory, last.version)] if forget else []
            await self._free(work, holder_state, holder_state.claim, [*also, *work.checks(places)])
            return holder_state.claim
        if not holder_state.listed and holder_state.is_of(claim):
            await self._remove(holder_state, work.lost)
        elif not holder_state.listed and settle:
            await self._touch(holder_state)
        return next((was.claim for was in work.lost if was.holds(claim)), None)

    async def _give_back_known(self, work: Release, known: Known, *, rebooted: bool) -> Claim | None:
        """Free the slot from what is known; None: nothing was written, and it takes a fresh look to say why."""
        claim, now, last = work.claim, known.holder_state, known.last
        memory = keys.reboot_key(self._group, claim.holder)
        if now.holder != claim.holder or not now.holds(claim) or now.claim is None:
            return None
        forget = last.entry is not None and not rebooted and _is_of(claim, last.entry)
        also: list[Also] = [Delete(memory, last.version) if forget else Check(memory, last.version)]
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
            await self._remove(holder_state, work.lost, [*also, *note])
        except StoreRefusedError:
            if not note:
                raise
            await self._remove(holder_state, work.lost, also)
        else:
            work.record.written = bool(note)
        work.freed()

    async def _unlock(
        self, holder: str, shown: Shown | None, seen: list[HolderState], lost: list[HolderState]
    ) -> Claim | None:
        holder_state = await self._holder_state(holder, even_corrupt=True)
        if lost:
            if holder_state.is_rid_of(lost[-1]):
                return lost[-1].claim
            if holder_state.is_uncertain_since(lost[-1]):
                raise FreedOrNotError(holder, self.key)
        elif not holder_state.listed and (holder_state.record is None or holder_state.claim is not None):
            raise NotHeldError(f"{holder} holds no slot in {self.key}")
        guards: list[Check] = []
        if shown is not None:
            guards = await self._guards(shown, holder_state, lost)
        elif seen and holder_state.nonce != seen[0].nonce:
            raise ChangedClaimError(
                holder, f"{holder_state.describe()}, which came while another claim was being freed"
            )
        seen.append(holder_state)
        await self._remove(holder_state, lost, guards)
        return holder_state.claim

    async def _guards(self, shown: Shown, now: HolderState, lost: list[HolderState]) -> list[Check]:
        """Give what else must hold when the slot is freed, or raise `ChangedClaimError`."""
        node = keys.node_key(self._group, now.holder)
        present = shown.absent and (await self._store.get(node)).entry is not None
        if change := shown.change(now, present=present):
            if lost and lost[-1].reading.version == now.reading.version:
                await self._touch(now)  # an attempt whose answer was lost must not free it later
            raise ChangedClaimError(now.holder, change)
        return [Check(node, ABSENT)] if shown.absent else []

    async def _release_legacy(self, holder: str, lost: list[HolderState]) -> bool:
        holder_state = await self._holder_state(holder)
        if not holder_state.listed or holder_state.record is not None:
            return bool(lost)
        await self._remove(holder_state, lost)
        return True

    async def _set_max(self, slots: int, lost: list[int], ended: list[Entry]) -> int:
        await self._shares.end(ended)
        now, reading = await self._semaphore()
        # Behind a share the same number is written too: a take with another one may be on its way.
        if reading.entry is not None and now.max == slots and not ended:
            return lost[-1] if lost else now.max
        with remembered(now.max, lost):
            await self._store.swap(self.key, semaphore.encode(now.resize(slots)), reading.version)
        return now.max

    async def _set_share(self, percent: str, lost: list[int]) -> tuple[int, int]:
        now, reading = await self._semaphore()
        slots, share = await self._shares.begun(percent, now.max)
        with remembered(now.max, lost):
            await self._store.swap(self.key, semaphore.encode(now.resize(slots)), reading.version, also=[share])
        return lost[0] if lost else now.max, slots

    async def _retire(self) -> bool:
        now, reading = await self._semaphore()
        if now.holders:
            raise LockError(f"{self.key} is held by {named(now.holders)}: wait until it is free")
        if reading.entry is not None and now.max != 0:
            await self._store.swap(self.key, semaphore.encode(now.resize(0)), reading.version)
        return reading.entry is not None

    async def _remove(self, holder_state: HolderState, lost: list[HolderState], also: Sequence[Also] = ()) -> None:
        """Take an id out of the semaphore; where it isn't in it, the same value is written and the record goes."""
        now = holder_state.semaphore
        left = now.release(holder_state.holder) if holder_state.listed else now
        record = [Delete(holder_state.record.key, holder_state.record.version)] if holder_state.record else []
        with remembered(holder_state, lost):
            await self._store.swap(
                self.key, semaphore.encode(left), holder_state.reading.version, also=[*also, *record]
            )

    async def _touch(self, holder_state: HolderState) -> int:
        """Write the same value: the one write that changes nothing, and lets no earlier request win after it."""
        return (await self._store.swap(self.key, _raw(holder_state.reading), holder_state.reading.version)).version

    async def _holder_state(self, holder: str, *, even_corrupt: bool = False) -> HolderState:
        reading, record = await self._store.read([self.key, self._record_key(holder)])
        return self._read_holder(holder, reading, record, even_corrupt=even_corrupt)

    def _read_holder(
        self, holder: str, reading: Reading, record: Reading, *, even_corrupt: bool = False
    ) -> HolderState:
        now = semaphore.decode(_raw(reading), self.key)
        self._holders, self.slots = now.holders, now.max
        claim = read_record(holder, record.entry)
        if not isinstance(claim, CorruptValueError):
            return HolderState(holder, now, reading, record.entry, claim)
        if not even_corrupt:
            raise claim
        return HolderState(holder, now, reading, record.entry, None)

    def _frees(self, slots: int | None, change: Change) -> bool:
        """Take note who holds a slot by now, and tell whether so many are free; None: that does not matter."""
        try:
            now = semaphore.decode(_raw(change.reading), self.key) if change.reading else Semaphore()
        except CorruptValueError:
            return True
        self._holders = now.holders
        return slots is None or now.available >= slots

    async def _read(self, claim: Claim, keys_: Sequence[str]) -> dict[str, Reading]:
        """Read keys, and with them what is asked of the holders that were seen last."""
        all_keys = list(dict.fromkeys([*keys_, *self._admission.keys_of(claim, self._holders)]))
        return dict(zip(all_keys, await self._store.read(all_keys), strict=True))

    async def _semaphore(self) -> tuple[Semaphore, Reading]:
        reading = await self._store.get(self.key)
        return semaphore.decode(_raw(reading), self.key), reading

    def _record_key(self, holder: str) -> str:
        return keys.holder_key(self._group, holder)


def _removed(entries: Sequence[Entry]) -> list[Delete]:
    return [Delete(entry.key, entry.version) for entry in entries]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _retrieve(looking: "asyncio.Future[None]") -> None:
    """Take note of an error that nobody waits for any more: nothing was to be taken."""
    if not looking.cancelled():
        looking.exception()


def _is_of(claim: Claim, remembered: Entry) -> bool:
    """Whether a machine's last reboot is that of this claim."""
    try:
        return reboot_record.decode(remembered.value, remembered.key).nonce == claim.nonce
    except CorruptValueError:
        return False


def _raw(reading: Reading) -> bytes:
    """Give the value as it stands; a key that does not exist is a fresh semaphore, as for the original."""
    return reading.entry.value if reading.entry else semaphore.encode(Semaphore())
