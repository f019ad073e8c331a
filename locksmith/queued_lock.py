"""The lock with a line before it: first come, first served, and only the first tries the semaphore.

Who may not have a slot at all (its id stands in the semaphore for something else) does not stand in line, or it would
hold up the others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from locksmith.brakes import BrakedError
from locksmith.errors import StoreError
from locksmith.fleet import REBOOT, Claim
from locksmith.meter import Meter
from locksmith.orders import HOLD, SPACING
from locksmith.queue import LOOK_AFTER, Look, Queue
from locksmith.rebootlock import RebootLock
from locksmith.snapshot import Answer, Denied, Granted, Line
from locksmith.standing import LostClaimError, OtherClaimError, SlotsBusyError

log = logging.getLogger(__name__)

LEAVE_LIMIT = 5.0
"""Seconds to give a place up that is not needed any more; then it expires by itself."""
DOUBT = 120.0
"""Seconds for which a take that was cut off may win still. Whoever stands in line then looks each time whether it has a
slot by now: it would wait for itself, and all others with it."""


class QueuedLock:
    """A group's lock for one machine, or for one operator. Errors are those of the lock and of the store."""

    def __init__(self, lock: RebootLock, queue: Queue, meter: Meter | None = None) -> None:
        self.lock = lock
        self._queue = queue
        self._meter = meter or Meter()
        self._nonce = ""
        self._granted = False
        # When a take that may be on its way still was given up (long ago: in an earlier run); None: there is none.
        self._cut_off: float | None = None
        self._watch = _Watch()

    def is_undecided(self, claim: Claim) -> bool:
        """Whether a take of this claim may be on its way still: one that was cut off, here or in an earlier run."""
        return self._cut_off is not None or claim.nonce != self._nonce

    async def take(self, claim: Claim) -> Answer:
        """Stand in line, and as the first try to take a slot. It may, and should, be asked again and again.

        A slot that was had once and is gone was freed by an operator: it is not taken again.
        """
        self._follow(claim)
        try:
            answer = await self._take(claim)
        except OtherClaimError as error:
            self._cut_off = None
            await self._leave_soon(claim)
            self._watch.aim(error, partial(self._slot_freed, error.revision))
            return Denied("clone" if _is_twins(error, claim) else "other_claim", str(error))
        except BrakedError as error:
            # A take that was sent before may still win: whoever gives up settles that.
            if error.code == HOLD:
                await self._leave_soon(claim)
            return self._braked(error)
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
        except BrakedError as error:
            return self._braked(error)
        if self._queue.stands(claim):
            await self._leave_soon(claim)
        return Granted(sent)

    async def blame(self, claim: Claim, state: str, trouble: str) -> bool:
        """Write what went wrong, as `RebootLock.blame` does. True: an operator knows, or there is no slot any more."""
        blamed = await self.lock.blame(claim, state, trouble)
        if blamed is None or blamed.acknowledged:
            self._watch.stop()
            return True
        now = await self.lock.read()
        self._watch.aim((claim.nonce, now.revision), partial(self._slot_freed, now.revision))
        return False

    async def give_back(self, claim: Claim, *, settle: bool, why: str) -> None:
        """Give the slot back, as `RebootLock.give_back` does, and the place in line."""
        freed = await self.lock.give_back(claim, settle=settle, why=why)
        if freed is not None and freed.taken is not None:
            held, waited = datetime.now(UTC) - freed.taken, freed.taken - freed.since
            self._meter.gave_back(max(0.0, waited.total_seconds()), max(0.0, held.total_seconds()))
        await self.leave(claim)

    async def leave(self, claim: Claim) -> None:
        """Give the place up."""
        self._watch.stop()
        self._meter.line(0, 0)
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

    async def _take(self, claim: Claim) -> Answer:
        # One that has its slot may stand in line still, where its place could not be given up.
        doubtful = self._cut_off is not None and _now() - self._cut_off < DOUBT
        if self._granted or doubtful or not self._queue.stands(claim):
            if await self.lock.check(claim):
                return await self._keep(claim)
            if self._granted:
                return Denied("unlocked", f"an operator freed the slot of {claim.holder}", lost=True)
        place = self._queue.place(claim)
        look = await self._queue.stand(claim)
        if place is not None and self._queue.place(claim) != place and await self.lock.check(claim):
            return await self._keep(claim)  # the place went with a take that came late
        self._meter.line(look.line.position, look.line.waiters)
        if look.line.position > 1:
            self._watch.aim(look, partial(self._moved_up, look))
            return Denied("line", _in_line(look.line), line=look.line)
        try:
            left = await self._try(claim)
        except SlotsBusyError as error:
            self._watch.aim(error, partial(self._slot_freed, error.revision))
            return Denied("slot", str(error), line=look.line)
        if left:
            self._left()
        else:
            await self._leave_soon(claim)
        return Granted()

    async def _try(self, claim: Claim) -> bool:
        """Take a slot; where that is cut off, remember that it may win still. True: the place has gone with it."""
        try:
            left = await self.lock.take(claim, self._queue.place(claim))
        except SlotsBusyError:
            self._cut_off = None
            raise
        except BaseException:
            self._cut_off = _now()
            raise
        self._cut_off = None
        return left

    async def _keep(self, claim: Claim) -> Granted:
        """Keep the slot that the claim has, unless the group is held back, and give up a place that is left."""
        await self.lock.take(claim)
        self._cut_off = None
        if self._queue.stands(claim):
            await self._leave_soon(claim)
        return Granted()

    def _braked(self, error: BrakedError) -> Denied:
        self._watch.aim(error, partial(self._let_go, error.key, error.revision))
        return Denied(error.code, str(error), called_off=error.held and error.code != SPACING)

    async def _let_go(self, key: str, after: int) -> None:
        """Wait for a change of what holds back; without one, look at everything again."""
        if not await self.lock.wait(after, LOOK_AFTER, key):
            self._queue.look_again()

    async def _moved_up(self, look: Look) -> None:
        await self._queue.wait(look)
        self._queue.look_again()

    async def _slot_freed(self, after: int) -> None:
        """Wait for a change of the semaphore; without one, look at the line as well, whoever is first in it by now."""
        if not await self.lock.wait(after, LOOK_AFTER):
            self._queue.look_again()

    def _left(self) -> None:
        self._queue.left()
        self._watch.stop()
        self._meter.line(0, 0)

    async def _leave_soon(self, claim: Claim) -> None:
        """Give the place up; where that fails, the commit tries once more, and else it expires."""
        try:
            async with asyncio.timeout(LEAVE_LIMIT):
                await self.leave(claim)
        except (StoreError, TimeoutError) as error:
            log.info("a place in line is not given up yet, it expires by itself: %s", error)


class _Watch:
    """What is waited for. It goes on between two calls: to open thousands of watches at each heartbeat is a load."""

    def __init__(self) -> None:
        self._aim: object = None
        self._task: asyncio.Task[None] | None = None
        self._wait: Callable[[], Awaitable[None]] | None = None

    def aim(self, at: object, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for something from now on; the same again goes on as it is."""
        if at is not self._aim:
            self.stop()
            self._aim, self._wait = at, wait

    def stop(self) -> None:
        """Wait for nothing."""
        if self._task is not None:
            self._task.cancel()
        self._aim = self._task = self._wait = None

    async def ended(self, limit: float) -> bool:
        """Wait for at most `limit` seconds; True: it is over, and an error of it is raised. With no aim, True."""
        if self._task is None:
            if self._wait is None:
                return True
            self._task = asyncio.ensure_future(self._wait())
            self._task.add_done_callback(_retrieve)
        task = self._task
        done, _ = await asyncio.wait([task], timeout=limit)
        if not done:
            return False
        self.stop()
        task.result()
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()


def _retrieve(task: "asyncio.Task[None]") -> None:
    """Take note of an error that nobody asks for any more."""
    if not task.cancelled():
        task.exception()


def _is_twins(error: OtherClaimError, own: Claim) -> bool:
    """Tell another machine of the same id from this one's own other business."""
    other = error.claim
    return other is not None and other.kind == own.kind == REBOOT and other.hostname != own.hostname


def _in_line(line: Line) -> str:
    if line.exact:
        return f"number {line.position} of {line.waiters} in line for a slot, behind {line.behind}"
    return f"in line for a slot, far back among the {line.waiters} who wait"
