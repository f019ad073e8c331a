"""One `unlock` of an operator, across its attempts: it frees what it found first, and nothing that came later."""

from locksmith.lock.cas import LostWrites
from locksmith.lock.errors import ChangedClaimError, FreedOrNotError
from locksmith.lock.guarded import Guarded
from locksmith.lock.holder import HolderState
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.semaphore import NotHeldError
from locksmith.lock.shown_holder import ShownHolder
from locksmith.store.protocol import ABSENT, Check


class Unlock:
    """The freeing of one id, of any claim; with what was `shown` of it, of that alone."""

    def __init__(self, guarded: Guarded, holder: str, shown: ShownHolder | None) -> None:
        self._guarded = guarded
        self._holder = holder
        self._shown = shown
        self._first: HolderState | None = None
        self._lost: LostWrites[HolderState] = LostWrites()

    async def attempt(self) -> Claim | None:
        """Free it, and give the claim that held it; None: a holder without a record."""
        now = await self._guarded.holder_state(self._holder, even_corrupt=True)
        if (lost := self._lost.last) is not None:
            if now.is_rid_of(lost):
                return lost.claim
            if now.is_uncertain_since(lost):
                raise FreedOrNotError(self._holder, self._guarded.key)
        elif not now.listed and (now.record is None or now.claim is not None):
            raise NotHeldError(f"{self._holder} holds no slot in {self._guarded.key}")
        guards: list[Check] = []
        if self._shown is not None:
            guards = await self._guards(self._shown, now)
        elif self._first is not None and now.nonce != self._first.nonce:
            raise ChangedClaimError(self._holder, f"{now.describe()}, which came while another claim was being freed")
        self._first = self._first or now
        await self._guarded.remove(now, self._lost, guards)
        return now.claim

    async def _guards(self, shown: ShownHolder, now: HolderState) -> list[Check]:
        """Give what else must hold when the slot is freed, or raise `ChangedClaimError`."""
        node = keys.node_key(self._guarded.group, now.holder)
        present = shown.absent and (await self._guarded.store.get(node)).entry is not None
        if change := shown.change(now, present=present):
            lost = self._lost.last
            if lost is not None and lost.reading.version == now.reading.version:
                await self._guarded.fence(now.reading)  # an attempt whose response was lost must not free it later
            raise ChangedClaimError(now.holder, change)
        return [Check(node, ABSENT)] if shown.absent else []
