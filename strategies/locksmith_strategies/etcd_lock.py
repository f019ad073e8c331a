"""`etcd-lock`: this machine reboots while it holds a slot of its group's semaphore in etcd."""

from functools import cached_property

from locksmith.fleet import COMMITTED, Claim
from locksmith.rebootlock import RebootLock
from locksmith.snapshot import Answer, Denied, Granted
from locksmith.standing import DeniedError, LostClaimError, OtherClaimError
from locksmith.strategy import StrategyContext


class EtcdLock:
    """Takes a slot to give permission, and gives it back after the reboot."""

    reboots = True

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._denied_at = 0
        # A claim from the journal may have a take on its way that a crash left undecided.
        self._undecided = True

    @cached_property
    def _lock(self) -> RebootLock:
        return self._context.open_lock()

    async def request(self, claim: Claim) -> Answer:
        """Take a slot, or say who has it. Any other end, a cancellation too, leaves the take undecided."""
        answer: Answer = Granted()
        self._undecided = True
        try:
            await self._lock.take(claim)
        except DeniedError as error:
            self._denied_at = error.revision
            answer = Denied("other_claim" if isinstance(error, OtherClaimError) else "slot", str(error))
        self._undecided = False
        return answer

    async def changed(self, limit: float) -> bool:
        """Watch the semaphore from the revision at which it said no."""
        return await self._lock.wait(self._denied_at, limit)

    async def commit(self, claim: Claim) -> Answer:
        """Look at the semaphore, linearizably, and write the point of no return into the record."""
        try:
            await self._lock.commit(claim)
        except LostClaimError as error:
            return Denied("unlocked", str(error), lost=True)
        return Granted()

    async def withdraw(self, claim: Claim) -> None:
        """Give the slot back, and make sure that no take that is still on its way can win."""
        await self._lock.give_back(claim, settle=self._undecided)

    async def complete(self, claim: Claim) -> None:
        """Give the slot back; a claim that never came to its commit may have a take on its way still."""
        await self._lock.give_back(claim, settle=claim.state != COMMITTED)

    async def adopt(self, holder: str) -> bool:
        """Give back a slot this machine holds without a record, as a node of the original does at every start."""
        return self._context.adopt and await self._lock.give_back_bare(holder)

    async def close(self) -> None:
        """Let go of the store, if it was ever opened."""
        if "_lock" in self.__dict__:
            await self._lock.close()
