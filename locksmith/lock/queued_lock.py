"""The lock with a queue before it: first come, first served, and as many try the semaphore as slots are free.

Who may not have a slot at all (its id stands in the semaphore for something else) does not stand in line, or it would
hold up the others. A machine that cannot take one for reasons of its own leaves the line, and returns later: as the
first it would block every machine after it.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

from locksmith.errors import CorruptValueError, StoreError, StoreFullError
from locksmith.lock.answer import Answer, Denied, Granted, LastReboot, QueuePosition
from locksmith.lock.backoff import Absence, BackOff
from locksmith.lock.errors import (
    DeniedError,
    HaltedError,
    LostClaimError,
    NotAdmittedError,
    OtherClaimError,
    RepeatedError,
    SlotsBusyError,
)
from locksmith.lock.prepared import Prepared, PreparedBusyError
from locksmith.lock.queue import LOOK_AFTER, Look, Queue
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import DAEMON, HELD, REBOOT, Claim
from locksmith.lock.records.order import OWN_DENIALS, SPACING, TAKE_FAILS
from locksmith.lock.watching import Watching
from locksmith.store.meter import Meter
from locksmith.store.protocol import Entry, Reading

log = logging.getLogger(__name__)

LEAVE_LIMIT = 5.0
"""Seconds to give a place up that is not needed any more; then it expires by itself."""
DOUBT = 120.0
"""Seconds for which a take that was cut off may win still. Whoever stands in line then looks each time whether it has a
slot by now: it would wait for itself, and all others with it."""
RETURN_DELAY = 1.0
"""Seconds between a change that may end a machine's denial and its return: `resume` acknowledges after its record."""


class QueuedLock:
    """A group's lock for one machine, or for one operator. Errors are those of the lock and of the store."""

    def __init__(self, lock: RebootLock, queue: Queue, meter: Meter | None = None, rng: Random | None = None) -> None:
        self.lock = lock
        self._queue = queue
        self._meter = meter or Meter()
        self._nonce = ""
        self._rechecked: datetime | None = None
        self._granted = False
        # When a take that may be on its way still was given up (long ago: in an earlier run); None: there is none.
        self._cut_off: float | None = None
        self._watch = Watching()
        self._back_off = BackOff(rng or Random())  # noqa: S311 - when to come back, no secret
        self._absence: Absence | None = None
        self._returns: datetime | None = None
        # What the last attempt as the first has read.
        self._prepared: Prepared | None = None
        # How the semaphore stands, read or told by its watch, since the look at the line.
        self._semaphore: tuple[Look, Reading] | None = None

    def is_undecided(self, claim: Claim) -> bool:
        """Whether a take of this claim may be on its way still: one that was cut off, here or in an earlier run."""
        return self._cut_off is not None or claim.nonce != self._nonce

    async def take(self, claim: Claim) -> Answer:
        """Stand in line, and as the first try to take a slot. It may, and should, be asked again and again.

        A slot that was had once and is gone was freed by an operator: it is not taken again.
        """
        self._follow(claim)
        if self._absence is not None and self._absence.ends <= _now():
            self._absence = None
        before = self._absence
        try:
            answer = await self._take(claim)
        except OtherClaimError as error:
            self._cut_off = None
            await self._leave_soon(claim)
            self._watch.aim(error, partial(self._slot_freed, error.revision))
            orphaned = _is_orphan(error, claim)
            return Denied(
                "clone" if _is_clones(error, claim) else "orphaned" if orphaned else "other_claim", str(error)
            )
        except RepeatedError as error:
            await self._leave_soon(claim)
            return _repeated(error)
        except NotAdmittedError as error:
            # A take that was sent before may still win: whoever gives up settles that.
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
        self._granted = self._granted or isinstance(answer, Granted)
        return answer

    async def changed(self, limit: float) -> bool:
        """Wait, for at most `limit` seconds, until it is worth asking again."""
        return await self._watch.ended(limit)

    async def commit(self, claim: Claim) -> Answer:
        """Pass the point of no return, as `RebootLock.commit` does; nobody is to wait behind one who is past it."""
        try:
            sent = await self.lock.commit(claim)
        except LostClaimError as error:
            return Denied("unlocked", str(error), lost=True)
        except RepeatedError as error:
            return _repeated(error)
        except NotAdmittedError as error:
            return self._not_admitted(error)
        if self._queue.stands(claim):
            await self._leave_soon(claim)
        return Granted(sent)

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:
        """Write what went wrong, as `RebootLock.blame` does. True: an operator knows, or there is no slot any more."""
        gone_wrong = await self.lock.report_failure(claim, state, failure)
        if gone_wrong is None or gone_wrong.acknowledged:
            self._watch.stop()
            return True
        revision = await self.lock.revision()
        self._watch.aim((claim.nonce, revision), partial(self._slot_freed, revision))
        return False

    async def release(self, claim: Claim, *, fence_pending: bool, why: str, rebooted: bool = False) -> None:
        """Give the slot back, as `RebootLock.give_back` does, and the place in line."""
        released = await self.lock.hand_over(
            claim,
            fence_pending=fence_pending,
            why=why,
            rebooted=rebooted,
            places=self._queue.keys(claim),
            held=self._granted or claim.state != HELD,
        )
        freed = released.claim
        if freed is not None and freed.taken is not None:
            held, waited = datetime.now(UTC) - freed.taken, freed.taken - freed.since
            self._meter.gave_back(max(0.0, waited.total_seconds()), max(0.0, held.total_seconds()))
        if released.unqueued and not self._queue.stands(claim):
            self._stop_waiting()
        else:
            await self.leave(claim)

    async def leave(self, claim: Claim) -> None:
        """Give the place up."""
        self._stop_waiting()
        await self._queue.leave(claim)

    async def close(self) -> None:
        """Give up the place that is known here, and let go of the store."""
        self._watch.stop()
        try:
            await self._queue.abandon()
        finally:
            await self.lock.close()

    def _follow(self, claim: Claim) -> None:
        if claim.nonce != self._nonce:
            # The first claim may be one of an earlier run, from the journal, with a take on its way.
            self._cut_off = None if self._nonce else float("-inf")
            self._granted = claim.taken is not None
            self._nonce = claim.nonce
            self._watch.stop()
        if claim.rechecked != self._rechecked:
            self._rechecked = claim.rechecked
            self._absence = None
            self._back_off.forget()

    async def _take(self, claim: Claim) -> Answer:
        known = await self._known(claim)
        if known is not None:
            return known
        if self._absence is not None:
            return await self._away(claim, self._absence)
        place = self._queue.place(claim)
        look = await self._queue.stand(claim, self.lock.slots)
        now = self._queue.place(claim)
        if place and now and now.created != place.created and await self.lock.check(claim):
            return await self._keep(claim)  # the place went with a take that came late
        self._meter.line(look.line.position, look.line.waiters)
        if look.line.position == 1:
            return await self._take_as_first(claim, look.line)
        if look.line.exact and await self._has_slots_for_all(look):
            return await self._take_one_of_several(claim, look)
        return self._is_queued(look)

    async def _known(self, claim: Claim) -> Answer | None:
        """Look whether the claim has its slot, where that may be; None: it has to ask for one."""
        # One that has its slot may stand in line still, where its place could not be given up.
        uncertain = self._cut_off is not None and _now() - self._cut_off < DOUBT
        if self._granted or uncertain or not self._queue.stands(claim):
            if await self.lock.check(claim):
                return await self._keep(claim)
            if self._granted:
                return Denied("unlocked", f"an operator freed the slot of {claim.holder}", lost=True)
        return None

    async def _has_slots_for_all(self, look: Look) -> bool:
        """Tell whether there is a free slot for each place up to this one. The semaphore is read once for each look."""
        if self._semaphore is None or self._semaphore[0].revision != look.revision:
            self._semaphore = look, await self.lock.peek()
        return self.lock.free_slots(self._semaphore[1]) >= look.line.position

    def _is_queued(self, look: Look) -> Denied:
        self._watch.aim(look, partial(self._moved_up, look))
        return Denied("line", _queued(look.line), line=look.line)

    async def _take_one_of_several(self, claim: Claim, look: Look) -> Answer:
        """Take a slot although others stand before this machine: there is one for each of them too."""
        try:
            return await self._take_slot(claim, position=look.line.position)
        except SlotsBusyError as error:
            self._back_off.answered()
            self._semaphore = look, Reading(None, error.revision)
            return self._is_queued(look)

    async def _take_as_first(self, claim: Claim, line: QueuePosition) -> Answer:
        prepared, self._prepared = self._prepared, None
        try:
            return await self._take_slot(claim, prepared)
        except SlotsBusyError as error:
            self._back_off.answered()
            self._prepared = error.prepared if isinstance(error, PreparedBusyError) else None
            self._watch.aim(error, partial(self._slot_freed, error.revision))
            return Denied("slot", str(error), line=line)

    async def _take_slot(self, claim: Claim, prepared: Prepared | None = None, position: int = 1) -> Granted:
        if await self._attempt(claim, self._queue.entries(claim), prepared, position):
            self._left()
        else:
            await self._leave_soon(claim)
        return Granted()

    async def _attempt(
        self, claim: Claim, leaving: Sequence[Entry] = (), prepared: Prepared | None = None, position: int = 1
    ) -> bool:
        """Take a slot, or keep it; where that is cut off, remember that it may win still. True: the place has gone too.

        Where it fails again and again, the machine is to leave the line: `_absence` says so.
        """
        began = _now()
        try:
            left = await self.lock.take(claim, leaving, prepared, position)
        except SlotsBusyError:
            self._cut_off = None
            raise
        except (OtherClaimError, NotAdmittedError):
            self._cut_off = _now()
            raise
        except BaseException as error:
            self._cut_off = _now()
            # Whether the store answers at all is seen by the next look at the line: only then does the next try count.
            self._queue.look_again()
            if not _binds_everybody(error, claim):
                text = f"its attempts to take a slot fail: {str(error) or 'they take too long'}"
                self._absence = self._back_off.failed(TAKE_FAILS, text, _now(), began=began)
            raise
        self._cut_off = None
        return left

    async def _binds_this_machine_alone(self, error: NotAdmittedError) -> bool:
        """Tell a denial that others may not get from those that bind the whole group."""
        if isinstance(error, HaltedError):
            return not await self._queue.halts_all(error.incidents)
        return error.code in OWN_DENIALS

    async def _away(self, claim: Claim, absence: Absence) -> Denied:
        """Stay out of the line, and say why and until when."""
        left = timedelta(seconds=max(0.0, absence.ends - _now()))
        until = (self.lock.now() + left).replace(microsecond=0) + timedelta(seconds=1)
        # The same absence ends at the same moment, unless the clock was stepped.
        if self._returns is None or abs(until - self._returns) > timedelta(seconds=2):
            self._returns = until
        if self._queue.stands(claim):
            await self._leave_soon(claim)
        self._watch.aim(absence, partial(self._until_back, absence))
        return Denied(absence.code, absence.text, until=self._returns)

    async def _until_back(self, absence: Absence) -> None:
        """Wait for the end of an absence, or for a change of what the machine was denied for."""
        limit = max(0.0, min(LOOK_AFTER, absence.ends - _now()))
        if not absence.key:
            await asyncio.sleep(limit)
        elif await self.lock.wait(absence.revision, limit, absence.key):
            await asyncio.sleep(RETURN_DELAY)
            if self._absence is absence:
                self._absence = None
                self._back_off.forget()

    async def _keep(self, claim: Claim) -> Answer:
        """Keep the slot that the claim has, unless the group is held back, and give up a place that is left.

        A machine that cannot go on with its slot would keep it for ever: after as many failures it gives it back.
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

    def _not_admitted(self, error: NotAdmittedError) -> Denied:
        self._watch.aim(error, partial(self._let_go, error))
        return Denied(error.code, str(error), must_release=error.held and error.code != SPACING)

    async def _let_go(self, error: NotAdmittedError) -> None:
        """Wait for a change of what holds back, or its end; without one, look at everything again."""
        limit = LOOK_AFTER if error.left is None else min(LOOK_AFTER, error.left)
        if not await self.lock.wait(error.revision, limit, error.key):
            self._queue.look_again()

    async def _moved_up(self, look: Look) -> None:
        """Wait until the place before is gone, or until the semaphore has a free slot for each place up to this."""
        tasks = [asyncio.ensure_future(self._left_before(look))]
        if self._semaphore is not None and self._semaphore[0].revision == look.revision:
            tasks.append(asyncio.ensure_future(self._freed_for(look, self._semaphore[1].revision)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _left_before(self, look: Look) -> None:
        if not await self._queue.wait(look):
            self._queue.look_again()

    async def _freed_for(self, look: Look, after: int) -> None:
        while (change := await self.lock.wait(after, LOOK_AFTER, slots=look.line.position)) is None:
            continue
        # Where how it stands was not told, it is read.
        self._semaphore = (look, change.reading) if change.reading else None

    async def _slot_freed(self, after: int) -> None:
        """Wait for a change of the semaphore; without one, look at the line as well, whoever is first in it by now."""
        change = await self.lock.wait(after, LOOK_AFTER)
        if change is None:
            self._queue.look_again()
        elif self._prepared is not None and change.reading is not None:
            self._prepared = self._prepared.after(change.reading)

    def _left(self) -> None:
        self._queue.left()
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._watch.stop()
        self._meter.line(0, 0)

    async def _leave_soon(self, claim: Claim) -> None:
        """Give the place up; where that fails, the commit tries once more, and else it expires."""
        try:
            async with asyncio.timeout(LEAVE_LIMIT):
                await self.leave(claim)
        except (StoreError, TimeoutError) as error:
            log.info("a place in line is not given up yet, it expires by itself: %s", error)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _binds_everybody(error: BaseException, claim: Claim) -> bool:
    """Tell an error that every machine would get: a store without space, or a value of the group's own."""
    if isinstance(error, CorruptValueError):
        return error.key.rpartition("/")[2] != keys.segment(claim.holder)
    return isinstance(error, StoreFullError)


def _is_clones(error: OtherClaimError, own: Claim) -> bool:
    """Tell another machine of the same id from this one's own other business."""
    other = error.claim
    return other is not None and other.kind == own.kind == REBOOT and other.hostname != own.hostname


def _is_orphan(error: OtherClaimError, own: Claim) -> bool:
    """Tell a claim that this machine's own daemon has made, and forgotten."""
    other = error.claim
    if other is None or not other.kind == own.kind == REBOOT:
        return False
    return other.who == own.who == DAEMON and other.hostname == own.hostname


def _repeated(error: RepeatedError) -> Denied:
    return Denied("repeated", str(error), done=LastReboot(error.last.version, error.last.at))


def _queued(line: QueuePosition) -> str:
    about = "" if line.counted else "about "
    if line.exact:
        behind = f", behind {line.behind}" if line.behind else ""
        return f"number {line.position} of {about}{line.waiters} in line for a slot{behind}"
    return f"in line for a slot, far back: {line.position - 1} or more are before it"
