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
from locksmith.lock.queue import CHECK_AFTER, Queue, QueueView
from locksmith.lock.reboot_lock import RebootLock
from locksmith.store.protocol import Reading

RETURN_DELAY = 1.0
"""Seconds between a change that may end a machine's denial and its return: `resume` acknowledges after its record."""


class _SemaphoreSeen(NamedTuple):
    """The semaphore, read or told by its watch, since a read of the queue."""

    view: QueueView
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

    def for_turn(self, view: QueueView) -> None:
        """Wait until the place before is gone, or until the semaphore has a free slot for each place up to this."""
        self._watch.aim(view, partial(self._moved_up, view))

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

    async def has_slots_for_all(self, view: QueueView) -> bool:
        """Tell whether a slot is free for each place up to this one. The semaphore is read once for each view."""
        if self._semaphore is None or self._semaphore.view.revision != view.revision:
            self._semaphore = _SemaphoreSeen(view, await self._lock.peek())
        return self._lock.free_slots(self._semaphore.reading) >= view.queued.position

    def saw_no_slot(self, view: QueueView, revision: int) -> None:
        """Note that too few slots were free at a revision after this view."""
        self._semaphore = _SemaphoreSeen(view, Reading(None, revision))

    async def _semaphore_changed(self, after: int) -> None:
        """Wait for a change of the semaphore; without a change, the queue is read as well: the first may have left."""
        change = await self._lock.wait(after, CHECK_AFTER)
        if change is None:
            self._queue.look_again()
        elif self._prepared is not None and change.reading is not None:
            self._prepared = self._prepared.after(change.reading)

    async def _moved_up(self, view: QueueView) -> None:
        waits = [self._left_before(view)]
        if self._semaphore is not None and self._semaphore.view.revision == view.revision:
            waits.append(self._freed_for(view, self._semaphore.reading.revision))
        await first_of(*waits)

    async def _left_before(self, view: QueueView) -> None:
        if not await self._queue.wait(view):
            self._queue.look_again()

    async def _freed_for(self, view: QueueView, after: int) -> None:
        while (change := await self._lock.wait(after, CHECK_AFTER, slots=view.queued.position)) is None:
            continue
        # If the watch did not tell the value, it is read.
        self._semaphore = _SemaphoreSeen(view, change.reading) if change.reading else None

    async def _admitted(self, denied: NotAdmittedError) -> None:
        """Wait for a change of the key that holds back; without a change, everything is read again."""
        limit = CHECK_AFTER if denied.left is None else min(CHECK_AFTER, denied.left)
        if not await self._lock.wait(denied.revision, limit, denied.key):
            self._queue.look_again()

    async def _until_back(self, absence: Absence, over: Callable[[], None]) -> None:
        limit = max(0.0, min(CHECK_AFTER, absence.ends - asyncio.get_running_loop().time()))
        if not absence.key:
            await asyncio.sleep(limit)
        elif await self._lock.wait(absence.revision, limit, absence.key):
            await asyncio.sleep(RETURN_DELAY)
            over()
