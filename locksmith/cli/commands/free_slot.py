"""The freeing of a slot by an operator, and what the operator is told of it."""

from dataclasses import dataclass, replace

from locksmith.cli.output import note
from locksmith.cli.session import act, act_on
from locksmith.fleet.reboot_words import reboot_words
from locksmith.lock.admin import LockAdmin
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import UNLOCK
from locksmith.lock.shown_holder import ShownHolder
from locksmith.lock.unlocking import Frees


@dataclass(frozen=True, slots=True)
class Freed:
    """A slot that was freed: the claim that held it (None: no record), and how far its reboot had come, in words."""

    claim: Claim | None
    reboot: str


async def free(
    holder: str, reason: str, lock: LockAdmin, shown: ShownHolder | None = None, frees: Frees = Frees.ANY
) -> Freed:
    """Free the slot of this id, write that into the history, and say what held the slot.

    With `shown`, the slot is freed only if its holder is as it was shown; else if `frees` allows it.
    """
    presence = await lock.presence(holder)
    claim = await lock.unlock(holder, shown, frees)
    freed = Freed(claim, reboot_words(holder, claim, presence))
    undone = "; ".join(filter(None, (f"it {was(claim).removeprefix('which ')}", freed.reboot)))
    done = act_on(claim, UNLOCK, reason, undone) if claim else replace(act(UNLOCK, reason, undone), holder=holder)
    await lock.history.add(done)
    return freed


def tell_freed(holder: str, freed: Freed, *, as_json: bool) -> None:
    """Say what was freed, for people, and in any case how far the reboot had come that the slot was held for."""
    if not as_json:
        note(f"unlocked {holder}, {was(freed.claim)}")
    if freed.reboot:
        note(f"Warning: {freed.reboot}; its slot is free for another machine already")


def was(claim: Claim | None) -> str:
    """Say what a slot that was freed was held for."""
    if claim is None:
        return "which held a slot without a record that can be read: a legacy node, or a legacy lock"
    return f"which was {claim.describe()}"
