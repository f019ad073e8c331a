"""`unlock --stale`: the slots that no machine seems to release, one after another, each confirmed by a person.

Between the question and the answer a slot may change: its machine comes back, commits, or another claim takes its
place. So only what was shown is freed.
"""

import sys
from datetime import datetime
from functools import partial

from locksmith.cli.commands.free_slot import free, tell_freed
from locksmith.cli.output import ask, note, print_json
from locksmith.cli.session import Session
from locksmith.errors import LockError, UsageError
from locksmith.fleet.fields import claim_fields
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, HolderStatus, holder_statuses
from locksmith.fleet.phrases import holder_words
from locksmith.fleet.reader import read_group
from locksmith.lock.admin import LockAdmin
from locksmith.lock.errors import ChangedClaimError, FreedOrNotError
from locksmith.lock.records.semaphore import NotHeldError
from locksmith.lock.shown_holder import ShownHolder


def unlock_stale(session: Session, machine: str | None, reason: str, *, sure: bool, as_json: bool) -> None:
    """Ask for each of them, and free those that are confirmed and have not changed since the question."""
    if machine is not None:
        raise UsageError("--stale goes through all slots: name no machine with it")
    if not sure and not sys.stdin.isatty():
        raise UsageError(
            "standard input is no terminal, so no question can be asked: see `locksmithctl nodes`, then use --yes"
        )
    view = session.with_store(lambda store: read_group(store, session.config.group))
    now = datetime.now().astimezone()
    freed, refused = [], []
    for one in found(session, view, now):
        try:
            shown = session.with_admin(partial(_shown, one))
            if not sure and not ask(f"Free the slot of {holder_words(one, now)}?"):
                continue
            done = session.with_admin(partial(free, one.holder, reason, shown=shown))
        except (ChangedClaimError, NotHeldError, FreedOrNotError) as error:
            note(f"not unlocked: {error}")
            refused.append({"id": one.holder, "why": str(error)})
            continue
        freed.append({"id": one.holder, "undone": claim_fields(done.claim)})
        tell_freed(one.holder, done, as_json=as_json)
    if as_json:
        print_json({"group": session.config.group, "freed": freed, "refused": refused})
    else:
        session.name_group()
    if refused:
        names = "a slot was" if len(refused) == 1 else f"{len(refused)} slots were"
        raise LockError(f"{names} not freed, as said above: what held it has changed since it was found")
    if not freed and not as_json:
        note("nothing was freed: no slot is lost or stale, or none was confirmed")


def found(session: Session, view: GroupView, now: datetime) -> list[HolderStatus]:
    """Name the holders that are lost, and those that are stale by this machine's configuration."""
    after = session.config.halt.stale_after
    return [one for one in holder_statuses(view) if one.how is HolderKind.LOST or one.is_stale(now, after)]


async def _shown(one: HolderStatus, lock: LockAdmin) -> ShownHolder:
    """Give what is about to be shown, as it is in the store; `ChangedClaimError`: it is not so any more."""
    holder_state = await lock.inspect(one.holder)
    if not holder_state.listed:
        raise NotHeldError(f"{one.holder} has released its slot meanwhile")
    if holder_state.claim != one.claim or (holder_state.record is None) != (one.how is HolderKind.LEGACY):
        raise ChangedClaimError(one.holder, f"{holder_state.describe()}: that is not what was found")
    return ShownHolder(holder_state, absent=one.how in {HolderKind.LOST, HolderKind.UNSEEN})
