"""The freeing of a slot by an operator, and what the operator is told of it."""

from locksmith.cli.output import note
from locksmith.cli.session import author
from locksmith.fleet import acts
from locksmith.fleet.acts import Freed, was
from locksmith.lock.admin import LockAdmin
from locksmith.lock.shown_holder import ShownHolder
from locksmith.lock.unlocking import Frees


async def free(
    holder: str, reason: str, lock: LockAdmin, shown: ShownHolder | None = None, frees: Frees = Frees.ANY
) -> Freed:
    """Free the slot of this id, for the person who types."""
    return await acts.free(lock, author(), holder, reason, shown=shown, frees=frees)


def tell_freed(holder: str, freed: Freed, *, as_json: bool) -> None:
    """Say what was freed, for people, and in any case how far the reboot had come that the slot was held for."""
    if not as_json:
        note(f"unlocked {holder}, {was(freed.claim)}")
    if freed.reboot:
        note(f"Warning: {freed.reboot}; its slot is free for another machine already")
