"""The freeing of a slot by an operator, and what the operator is told of it."""

from dataclasses import replace

from locksmith.cli.output import note
from locksmith.cli.session import act, act_on
from locksmith.lock.admin import LockAdmin
from locksmith.lock.records.claim import COMMITTED, Claim
from locksmith.lock.records.event import UNLOCK
from locksmith.lock.shown_holder import ShownHolder


async def free(holder: str, reason: str, lock: LockAdmin, shown: ShownHolder | None = None) -> Claim | None:
    """Free the slot of this id, write that into the history, and give the claim that held the slot.

    With `shown`, the slot is freed only if its holder is as it was shown.
    """
    claim = await lock.unlock(holder, shown)
    undone = f"it {was(claim).removeprefix('which ')}"
    done = act_on(claim, UNLOCK, reason, undone) if claim else replace(act(UNLOCK, reason, undone), holder=holder)
    await lock.history.add(done)
    return claim


def tell_freed(holder: str, claim: Claim | None, *, as_json: bool) -> None:
    """Say what was freed, for people, and in any case what nothing stops any more."""
    if not as_json:
        note(f"unlocked {holder}, {was(claim)}")
    if claim is not None and claim.state == COMMITTED:
        name = claim.hostname or holder
        note(f"Warning: {name} is rebooting or about to, which nothing stops now; its slot is free for another already")


def was(claim: Claim | None) -> str:
    """Say what a slot that was freed was held for."""
    if claim is None:
        return "which held a slot without a record that can be read: a legacy node, or a legacy lock"
    return f"which was {claim.describe()}"
