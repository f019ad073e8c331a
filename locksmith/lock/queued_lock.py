"""The lock with a queue before it: first come, first served, and as many try the semaphore as slots are free.

A machine whose id holds a slot for another claim does not wait in the queue: it would block the others. A machine that
cannot take a slot for reasons of its own leaves the queue, and returns later: as the first it would block every machine
after it.

Above 300 lines, in one piece: each method is a step of one claim, with what its lock and its queue know.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random

from locksmith.errors import StoreError
from locksmith.lock import denials
from locksmith.lock.answer import Answer, Denied, Granted, QueuePosition
from locksmith.lock.backoff import Absence, BackOff, ReturnTime
from locksmith.lock.errors import (
    DeniedError,
    HaltedError,
    LostClaimError,
    NotAdmittedError,
    OtherClaimError,
    RepeatedError,
    SlotsBusyError,
)
from locksmith.lock.pending_take import PendingTake
from locksmith.lock.prepared import Prepared
from locksmith.lock.queue import Queue, QueueView
from locksmith.lock.queue_sight import KNOWN_FOR_A_SLOT
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import HELD, Claim
from locksmith.lock.records.order import OWN_DENIALS, TAKE_FAILS
from locksmith.lock.slot_wait import SlotWait
from locksmith.store.meter import Meter
from locksmith.store.protocol import Entry


class QueuedLock:
    """A group's lock for one machine, or for one operator. Errors are those of the lock and of the store."""

    def __init__(self, lock: RebootLock, queue: Queue, meter: Meter | None = None, rng: Random | None = None) -> None:
        self.lock = lock
        self._queue = queue
        self._meter = meter or Meter()
        self._nonce = ""
        self._rechecked: datetime | None = None
        self._granted = False
        self._unheld = False
        self._pending = PendingTake()
        self._wait = SlotWait(lock, queue)
        self._back_off = BackOff(rng or Random())  # noqa: S311 - when to come back, no secret
        self._absence: Absence | None = None
        self._return_time = ReturnTime()

    def is_undecided(self, claim: Claim) -> bool:
        """Whether a take of this claim may be on its way still: one that was cut off, here or in an earlier run."""
        return self._pending.may_win or claim.nonce != self._nonce

    def resume(self, claim: Claim, place: tuple[Entry, Entry] | None) -> None:
        """Begin with what was just read of a claim: it has no slot, and this ticket and place."""
        self._follow(claim)
        self._unheld = True
        if place is not None:
            self._queue.resume(claim, *place)

    async def take(self, claim: Claim) -> Answer:
        """Wait in the queue, and as the first try to take a slot. It may, and should, be asked again and again.

        A slot that was had once and is gone was freed by an operator: it is not taken again.
        """
        self._follow(claim)
        if self._absence is not None and self._absence.ends <= _now():
            self._absence = None
        before = self._absence
        try:
            answer = await self._take(claim)
        except OtherClaimError as error:
            self._pending.decided()
            await self._leave_soon(claim)
            self._wait.for_slot(error)
            return denials.other_claim(error, claim)
        except RepeatedError as error:
            await self._leave_soon(claim)
            return denials.repeated(error)
        except NotAdmittedError as error:
            # A take that was sent before may still win: an abort fences it.
            if not error.held and await self._binds_this_machine_alone(error):
                key = error.resume if isinstance(error, HaltedError) else error.key
                self._absence = self._back_off.denied(error.code, str(error), _now(), key=key, revision=error.revision)
                return await self._away(claim, self._absence)
            self._back_off.answered()
            return self._not_admitted(error)
        except Exception:
            if self._absence is None or self._absence is before:
                raise
            return await self._away(claim, self._absence)
        if isinstance(answer, Granted):
            self._absence = None
            self._back_off.forget()
            self._granted = True
        return answer

    async def take_soon(self, claim: Claim, limit: float) -> Answer:
        """Do what `take` does. One of the first, for whom a slot may be free in a moment, waits so long for it."""
        ends = _now() + limit
        try:
            answer = await self.take(claim)
            while self._is_near(answer) and await self._has_changed(ends - _now()):
                answer = await self.take(claim)
        finally:
            self._wait.stop()
        return answer

    async def changed(self, limit: float) -> bool:
        """Wait, for at most `limit` seconds, until it is worth asking again."""
        return await self._wait.ended(limit)

    async def commit(self, claim: Claim) -> Answer:
        """Pass the point of no return, and leave the queue: no machine waits for one that is past it."""
        try:
            sent = await self.lock.commit(claim)
        except LostClaimError as error:
            return Denied("unlocked", str(error), lost=True)
        except RepeatedError as error:
            return denials.repeated(error)
        except NotAdmittedError as error:
            return self._not_admitted(error)
        if self._queue.stands(claim):
            await self._leave_soon(claim)
        return Granted(sent)

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:
        """Write what went wrong into the record. True: an operator knows, or there is no slot any more."""
        gone_wrong = await self.lock.report_failure(claim, state, failure)
        if gone_wrong is None or gone_wrong.acknowledged:
            self._wait.stop()
            return True
        revision = await self.lock.revision()
        self._wait.for_change(claim.nonce, revision)
        return False

    async def release(self, claim: Claim, *, fence_pending: bool, why: str, rebooted: bool = False) -> None:
        """Release the slot, as `RebootLock.release` does, and remove the place in the queue."""
        released = await self.lock.hand_over(
            claim,
            fence_pending=fence_pending,
            why=why,
            rebooted=rebooted,
            places=self._queue.keys(claim),
            held=self._granted or claim.state != HELD,
        )
        if (freed := released.claim) is not None and freed.taken is not None:
            held, waited = datetime.now(UTC) - freed.taken, freed.taken - freed.since
            self._meter.gave_back(max(0.0, waited.total_seconds()), max(0.0, held.total_seconds()))
        self._stop_waiting()
        if not released.unqueued or self._queue.stands(claim):
            await self._queue.leave(claim)

    async def leave(self, claim: Claim) -> None:
        """Remove the place in the queue."""
        self._stop_waiting()
        await self._queue.leave(claim)

    def rest(self) -> None:
        """Watch for nothing more; the place stays."""
        self._wait.stop()

    async def close(self) -> None:
        """Remove the place that is known here, and let go of the store."""
        self._wait.stop()
        try:
            await self._queue.abandon()
        finally:
            await self.lock.close()

    def _follow(self, claim: Claim) -> None:
        if claim.nonce != self._nonce:
            # The first claim may be one of an earlier run, from the reboot journal, with a take on its way.
            self._pending.follow(of_earlier_run=not self._nonce)
            self._granted = claim.taken is not None
            self._nonce = claim.nonce
            self._wait.stop()
        if claim.rechecked != self._rechecked:
            self._rechecked = claim.rechecked
            self._absence = None
            self._back_off.forget()

    async def _take(self, claim: Claim) -> Answer:
        if (known := await self._known(claim)) is not None:
            return known
        if self._absence is not None:
            return await self._away(claim, self._absence)
        place = self._queue.place(claim)
        view = await self._queue.stand(claim, self.lock.slots)
        now = self._queue.place(claim)
        if place and now and now.created != place.created and await self.lock.check(claim):
            return await self._keep(claim)  # the place went with a take that came late
        self._meter.queued(view.queued.position, view.queued.waiters)
        if view.queued.position == 1:
            return await self._take_as_first(claim, view.queued)
        if view.queued.exact and await self._wait.has_slots_for_all(view):
            return await self._take_one_of_several(claim, view)
        return self._is_queued(view)

    async def _known(self, claim: Claim) -> Answer | None:
        """Tell whether the claim has its slot, if that is possible; None: the claim has to ask for a slot."""
        if self._unheld:
            self._unheld = False
            return None
        # A claim that has its slot may still be queued, if its place could not be removed.
        if self._granted or self._pending.is_recent(_now()) or not self._queue.stands(claim):
            if await self.lock.check(claim):
                return await self._keep(claim)
            if self._granted:
                return Denied("unlocked", f"an operator freed the slot of {claim.holder}", lost=True)
        return None

    def _is_queued(self, view: QueueView) -> Denied:
        self._wait.for_turn(view)
        return denials.queued(view.queued)

    async def _take_one_of_several(self, claim: Claim, view: QueueView) -> Answer:
        """Take a slot although others wait before this machine: there is one for each of them too."""
        try:
            return await self._take_slot(claim, position=view.queued.position)
        except SlotsBusyError as error:
            self._back_off.answered()
            self._wait.saw_no_slot(view, error.revision)
            return self._is_queued(view)

    async def _take_as_first(self, claim: Claim, place: QueuePosition) -> Answer:
        prepared = self._wait.take_prepared()
        try:
            return await self._take_slot(claim, prepared)
        except SlotsBusyError as error:
            self._back_off.answered()
            self._wait.for_slot(error)
            return Denied("slot", str(error), queued=place)

    async def _take_slot(self, claim: Claim, prepared: Prepared | None = None, position: int = 1) -> Granted:
        if await self._attempt(claim, self._queue.entries(claim), prepared, position):
            self._queue.left()
            self._stop_waiting()
        else:
            self._queue.doubt()
            await self._leave_soon(claim)
        return Granted()

    async def _attempt(
        self, claim: Claim, leaving: Sequence[Entry] = (), prepared: Prepared | None = None, position: int = 1
    ) -> bool:
        """Take a slot, or keep it; where that is cut off, remember that it may win still. True: the place has gone too.

        Where it fails again and again, the machine is to leave the queue: `_absence` says so.
        """
        began = _now()
        try:
            left = await self.lock.take(claim, leaving, prepared, position)
        except SlotsBusyError:
            self._pending.decided()
            raise
        except (OtherClaimError, NotAdmittedError):
            self._pending.cut_off(_now())
            raise
        except BaseException as error:
            self._pending.cut_off(_now())
            # Whether the store answers at all is seen by the next read of the queue: only then does the next try count.
            self._queue.look_again()
            if not denials.binds_every_machine(error, claim):
                text = f"its attempts to take a slot fail: {str(error) or 'they take too long'}"
                self._absence = self._back_off.failed(TAKE_FAILS, text, _now(), began=began)
            raise
        self._pending.decided()
        return left

    async def _binds_this_machine_alone(self, error: NotAdmittedError) -> bool:
        """Tell a denial that others may not get from those that bind the whole group."""
        if isinstance(error, HaltedError):
            return not await self._queue.halts_all(error.incidents)
        return error.code in OWN_DENIALS

    async def _away(self, claim: Claim, absence: Absence) -> Denied:
        """Stay out of the queue, and say why and until when."""
        until = self._return_time.of(absence, _now(), self.lock.now())
        if self._queue.stands(claim):
            await self._leave_soon(claim)
        self._wait.for_return(absence, partial(self._may_return, absence))
        return Denied(absence.code, absence.text, until=until)

    def _may_return(self, absence: Absence) -> None:
        """End an absence, as what the machine was denied for has changed."""
        if self._absence is absence:
            self._absence = None
            self._back_off.forget()

    async def _keep(self, claim: Claim) -> Answer:
        """Keep the slot that the claim has, unless the group is held back, and remove a place that is left.

        A machine that cannot go on with its slot would keep it for ever: after as many failures it releases the slot.
        """
        before = self._absence
        try:
            await self._attempt(claim)
        except Exception as error:
            if isinstance(error, DeniedError) or self._absence is None or self._absence is before:
                raise
            return Denied(TAKE_FAILS, self._absence.text, must_release=True)
        if self._queue.stands(claim):
            await self._leave_soon(claim)
        return Granted()

    async def _has_changed(self, limit: float) -> bool:
        try:
            return limit > 0 and await self.changed(limit)
        except StoreError:
            return False  # what was answered before counts

    def _is_near(self, answer: Answer) -> bool:
        """Tell whether a claim waits for a slot, as one of the first few for each."""
        queued = answer.queued if isinstance(answer, Denied) else None
        return queued is not None and queued.exact and queued.position <= KNOWN_FOR_A_SLOT * self.lock.slots

    def _not_admitted(self, error: NotAdmittedError) -> Denied:
        self._wait.for_admission(error)
        return denials.not_admitted(error)

    def _stop_waiting(self) -> None:
        self._wait.stop()
        self._meter.queued(0, 0)

    async def _leave_soon(self, claim: Claim) -> None:
        """Remove the place; where that fails, the commit tries once more, and else it expires."""
        self._stop_waiting()
        await self._queue.leave_soon(claim)


def _now() -> float:
    return asyncio.get_running_loop().time()
