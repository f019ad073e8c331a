"""`etcd-lock`: this machine reboots while it holds a slot of its group's semaphore in etcd."""

from functools import cached_property

from locksmith.agent.strategy import StrategyContext
from locksmith.lock.answer import Answer
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records.claim import COMMITTED, HELD, WENT_WRONG, Claim
from locksmith.lock.records.event import REBOOTED


class EtcdLock:
    """Queues for a slot, takes a slot to give permission, and releases the slot after the reboot."""

    reboots = True
    present = True

    def __init__(self, context: StrategyContext) -> None:
        self._context = context

    @cached_property
    def _lock(self) -> QueuedLock:
        return self._context.open_lock()

    async def request(self, claim: Claim) -> Answer:
        """Take a slot as the first in the queue, or say what the take waits for."""
        return await self._lock.take(claim)

    async def changed(self, limit: float) -> bool:
        """Watch the place before this machine's; as the first, watch the semaphore."""
        return await self._lock.changed(limit)

    async def commit(self, claim: Claim) -> Answer:
        """Read the semaphore, linearizably, and write the point of no return into the record."""
        return await self._lock.commit(claim)

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:
        """Write the failure into the record, which halts the rollout; True: an operator has acknowledged it."""
        return await self._lock.report_failure(claim, state, failure)

    async def abort(self, claim: Claim, reason: str) -> None:
        """Give the slot and the place back, and make sure that no take that is still on its way can win."""
        await self._lock.release(claim, fence_pending=self._lock.is_undecided(claim), why=reason)

    async def complete(self, claim: Claim) -> None:
        """Release the slot; the group remembers the reboot.

        A claim without a commit may still have a take on its way, and had no reboot.
        """
        if claim.state == HELD:
            await self._lock.release(claim, fence_pending=True, why="booted before its reboot was ordered")
            return
        why = f"{claim.state}: {claim.failure}" if claim.state in WENT_WRONG else REBOOTED
        await self._lock.release(claim, fence_pending=claim.state != COMMITTED, why=why, rebooted=True)

    async def adopt(self, holder: str) -> bool:
        """Release a slot that this machine holds without a record, as CoreOS locksmith does at every start."""
        return self._context.adopt and await self._lock.lock.release_legacy(holder)

    async def close(self) -> None:
        """Leave the queue, and let go of the store, if it was ever opened."""
        if "_lock" in self.__dict__:
            await self._lock.close()
