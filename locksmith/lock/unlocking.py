"""One `unlock` of an operator, across its attempts: it frees what it found first, and nothing that came later."""

from enum import Enum, auto

from locksmith.errors import CorruptValueError
from locksmith.lock.cas import LostWrites
from locksmith.lock.errors import ChangedClaimError, FreedOrNotError, MidRebootError, NotManualError
from locksmith.lock.guarded import Guarded
from locksmith.lock.holder import HolderState
from locksmith.lock.records import keys, node, states
from locksmith.lock.records.claim import COMMAND, HELD, MANUAL, Claim
from locksmith.lock.records.node import Node
from locksmith.lock.records.semaphore import NotHeldError
from locksmith.lock.shown_holder import ShownHolder
from locksmith.store.protocol import ABSENT, Check, Entry

ShownNode = Node | CorruptValueError | None
"""What a machine shows of itself: also a record that cannot be read. None: it is not present."""

MID_REBOOT = {states.REBOOTING, states.VERIFYING, states.RELEASING, states.STUCK, *states.SICK}
"""States of a machine between its point of no return and the proof that it is healthy."""


class Frees(Enum):
    """Which slots an `unlock` may free."""

    ANY = auto()
    """Every slot: an operator insists."""
    UNASKED = auto()
    """Every slot but these: of a present machine that may be going down, or has not proved itself healthy after a boot;
    of a command (`locksmithctl run`), which may still run. `MidRebootError`."""
    MANUAL = auto()
    """Manual locks alone: `NotManualError` for every other slot."""


class Unlock:
    """The freeing of one id, of the claims that `frees` names; with what was `shown` of it, of that alone."""

    def __init__(
        self, guarded: Guarded, holder: str, shown: ShownHolder | None = None, frees: Frees = Frees.ANY
    ) -> None:
        self._guarded = guarded
        self._holder = holder
        self._shown = shown
        self._frees = frees
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
        if self._shown is not None:
            guards = await self._guards_of_shown(self._shown, now)
        elif self._first is not None and now.nonce != self._first.nonce:
            raise ChangedClaimError(self._holder, f"{now.describe()}, which came while another claim was being freed")
        else:
            guards = await self._guards_of_kind(now)
        self._first = self._first or now
        await self._guarded.remove(now, self._lost, guards)
        return now.claim

    async def _guards_of_shown(self, shown: ShownHolder, now: HolderState) -> list[Check]:
        """Give what else must hold when the slot is freed, or raise `ChangedClaimError`."""
        key = keys.node_key(self._guarded.group, now.holder)
        present = shown.absent and (await self._guarded.store.get(key)).entry is not None
        if change := shown.change(now, present=present):
            await self._refuse(now)
            raise ChangedClaimError(now.holder, change)
        return [Check(key, ABSENT)] if shown.absent else []

    async def _guards_of_kind(self, now: HolderState) -> list[Check]:
        """Give what else must hold when the slot of such a claim is freed, or raise why it is not.

        A machine that commits meanwhile moves the semaphore. So only its presence needs a guard of its own.
        """
        if self._frees is Frees.MANUAL and (now.claim is None or now.claim.kind != MANUAL):
            await self._refuse(now)
            raise NotManualError(now)
        if self._frees is not Frees.UNASKED or (now.claim is not None and now.claim.kind == MANUAL):
            return []
        reading = await self._guarded.store.get(keys.node_key(self._guarded.group, now.holder))
        presence = read_presence(now.holder, reading.entry)
        if _is_under_way(now.claim, presence):
            await self._refuse(now)
            raise MidRebootError(now, presence)
        # What the machine shows has decided, so it must not have changed.
        return [Check(keys.node_key(self._guarded.group, now.holder), reading.version)]

    async def _refuse(self, now: HolderState) -> None:
        """Make sure that no earlier attempt, whose response was lost, frees the slot later."""
        lost = self._lost.last
        if lost is not None and lost.reading.version == now.reading.version:
            await self._guarded.fence(now.reading)


def read_presence(holder: str, entry: Entry | None) -> ShownNode:
    """Read what a machine shows of itself. No clock decides: two machines' clocks may differ."""
    if entry is None:
        return None
    try:
        return node.decode(entry.value, entry.key, holder)
    except CorruptValueError as error:
        return error


def _is_under_way(claim: Claim | None, presence: ShownNode) -> bool:
    """Tell whether another machine must not go down by now, as far as this one is not known to be well.

    A command's machine may have no locksmithd, so no presence tells that the command has ended. Before the point of no
    return, and without a record, only the machine's own word tells: it may have crashed, or go down by another order.
    Where its word cannot be read, it counts as a yes.
    """
    if claim is not None and claim.kind == COMMAND:
        return True
    if presence is None:
        return False
    if claim is not None and claim.state != HELD:
        return True
    return not isinstance(presence, Node) or presence.state in MID_REBOOT
