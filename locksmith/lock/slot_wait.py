"""What a claim without a slot waits for: a free slot, its turn in the queue, the end of what holds it back."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from locksmith.lock.backoff import Absence
from locksmith.lock.errors import DeniedError, NotAdmittedError, SlotsBusyError
from locksmith.lock.first_of import first_of
from locksmith.lock.kept_wait import KeptWait
from locksmith.lock.prepared import Prepared, PreparedBusyError
from locksmith.lock.queue import LOOK_AFTER, Look, Queue
from locksmith.lock.reboot_lock import RebootLock
from locksmith.store.protocol import Reading

RETURN_DELAY = 1.0
"""Seconds between a change that may end a machine's denial and its return: `resume` acknowledges after its record."""


class _SemaphoreSeen(NamedTuple):
    """The semaphore, read or told by its watch, since a read of the queue."""

    look: Look
    reading: Reading


class SlotWait:
    """The wait of one claim, and what it learns for the next attempt. Errors are the store's."""

    def __init__(self, lock: RebootLock, queue: Queue) -> None:
        self._lock = lock
        self._queue = queue
        self._watch = KeptWait()
        # What the last attempt as the first has read.
        self._prepared: Prepared | None = None
        self._semaphore: _SemaphoreSeen | None = None

    async def ended(self, limit: float) -> bool:
        """Wait, for at most `limit` seconds, until it is worth asking again."""
        return await self._watch.ended(limit)

    def stop(self) -> None:
        """Wait for nothing."""
        self._watch.stop()

    def for_slot(self, denied: DeniedError) -> None:
        """Wait for a change of the semaphore after this denial; what the denial has prepared is kept."""
        if isinstance(denied, SlotsBusyError):
            self._prepared = denied.prepared if isinstance(denied, PreparedBusyError) else None
        self._watch.aim(denied, partial(self._semaphore_changed, denied.revision))

    def for_change(self, nonce: str, revision: int) -> None:
        """Wait for a change of the semaphore after a revision, for the claim with this nonce."""
        self._watch.aim((nonce, revision), partial(self._semaphore_changed, revision))

    def for_turn(self, look: Look) -> None:
        """Wait until the place before is gone, or until the semaphore has a free slot for each place up to this."""
        self._watch.aim(look, partial(self._moved_up, look))

    def for_admission(self, denied: NotAdmittedError) -> None:
        """Wait for a change of what holds back, or its end."""
        self._watch.aim(denied, partial(self._admitted, denied))

    def for_return(self, absence: Absence, over: Callable[[], None]) -> None:
        """Wait for the end of an absence, or call `over` after a change of what the machine was denied for."""
        self._watch.aim(absence, partial(self._until_back, absence, over))

    def take_prepared(self) -> Prepared | None:
        """Give what the last attempt as the first has read, once."""
        prepared, self._prepared = self._prepared, None
        return prepared

    async def has_slots_for_all(self, look: Look) -> bool:
        """Tell whether a slot is free for each place up to this one. The semaphore is read once for each `look`."""
        if self._semaphore is None or self._semaphore.look.revision != look.revision:
            self._semaphore = _SemaphoreSeen(look, await self._lock.peek())
        return self._lock.free_slots(self._semaphore.reading) >= look.queued.position

    def saw_no_slot(self, look: Look, revision: int) -> None:
        """Note that too few slots were free at a revision after this look."""
        self._semaphore = _SemaphoreSeen(look, Reading(None, revision))

    async def _semaphore_changed(self, after: int) -> None:
        """Wait for a change of the semaphore; without a change, the queue is read as well: the first may have left."""
        change = await self._lock.wait(after, LOOK_AFTER)
        if change is None:
            self._queue.look_again()
        elif self._prepared is not None and change.reading is not None:
            self._prepared = self._prepared.after(change.reading)

    async def _moved_up(self, look: Look) -> None:
        waits = [self._left_before(look)]
        if self._semaphore is not None and self._semaphore.look.revision == look.revision:
            waits.append(self._freed_for(look, self._semaphore.reading.revision))
        await first_of(*waits)

    async def _left_before(self, look: Look) -> None:
        if not await self._queue.wait(look):
            self._queue.look_again()

    async def _freed_for(self, look: Look, after: int) -> None:
        while (change := await self._lock.wait(after, LOOK_AFTER, slots=look.queued.position)) is None:
            continue
        # If the watch did not tell the value, it is read.
        self._semaphore = _SemaphoreSeen(look, change.reading) if change.reading else None

    async def _admitted(self, denied: NotAdmittedError) -> None:
        """Wait for a change of the key that holds back; without a change, everything is read again."""
        limit = LOOK_AFTER if denied.left is None else min(LOOK_AFTER, denied.left)
        if not await self._lock.wait(denied.revision, limit, denied.key):
            self._queue.look_again()

    async def _until_back(self, absence: Absence, over: Callable[[], None]) -> None:
        limit = max(0.0, min(LOOK_AFTER, absence.ends - asyncio.get_running_loop().time()))
        if not absence.key:
            await asyncio.sleep(limit)
        elif await self._lock.wait(absence.revision, limit, absence.key):
            await asyncio.sleep(RETURN_DELAY)
            over()
