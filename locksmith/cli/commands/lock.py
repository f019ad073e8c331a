"""`lock` and `unlock`: an operator's own claim, and the freeing of any claim.

Standard output stays empty without `--json`, as that of CoreOS locksmith does; standard error says what was done.
"""

import asyncio
from dataclasses import replace
from functools import partial

import click

from locksmith.cli import complete
from locksmith.cli.busy import who_holds
from locksmith.cli.commands.free_slot import free, tell_freed
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.named_machine import shown, to_lock, to_unlock
from locksmith.cli.output import ask, can_ask, json_flag, note, print_json
from locksmith.cli.reboot.interrupt import unless_interrupted
from locksmith.cli.reboot.wait import QueueWait, timeout_option, wait_option
from locksmith.cli.reboot.wait import queue_wait as read_queue_wait
from locksmith.cli.session import Session, act_on, new_claim, pass_session, reason_option
from locksmith.errors import LockError, UsageError
from locksmith.fleet.acts import WITHOUT_SLOT, Freed
from locksmith.fleet.fields import claim_fields
from locksmith.fleet.lookup import Match
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reboot_words import reboot_words
from locksmith.lock.errors import MidRebootError, NotManualError, OtherClaimError, SlotsBusyError
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import MANUAL, Claim
from locksmith.lock.records.event import LOCK
from locksmith.lock.records.semaphore import NotHeldError
from locksmith.lock.shown_holder import ShownHolder
from locksmith.lock.unlocking import Frees
from locksmith.store.protocol import Store
from locksmith.util import boottime
from locksmith.util.words import quoted

ABORT_LIMIT = 30.0
"""Seconds to leave the queue before the program ends; after that the place in the queue expires."""


@click.command(cls=GoCommand)
@click.argument("machine", metavar="[MACHINE]", required=False, shell_complete=complete.machines)
@click.option("--reason", cls=GoOption, default="", help="Why, for people who find the slot taken.")
@wait_option
@timeout_option
@json_flag
@pass_session
def lock(
    session: Session, *, machine: str | None, reason: str, waits: bool, timeout: str | None, as_json: bool
) -> None:
    """Take a slot manually for a machine (without a name, for this one), until `unlock`.

    MACHINE is a machine-id, its first letters (four at least), a host name, or a short host name. If no machine has
    that name, the slot is held under the name itself.

    No daemon uses or releases such a slot: while it is held, the machine does not reboot by itself. If the machine has
    a manual lock already, nothing changes.
    """
    queue_wait = read_queue_wait(note, waits=waits, timeout=timeout)
    match, known = to_lock(session, machine)
    claim = new_claim(match.machine_id, MANUAL, reason)
    if waits:
        held = boottime.run(_wait_in_queue(session, claim, queue_wait))
    else:
        held = session.with_store(partial(_lock, claim, session.config.group))
    if as_json:
        fields = {"id": held.holder, "already": held.nonce != claim.nonce, "claim": claim_fields(held)}
        print_json({"group": session.config.group, **fields})
    else:
        done = "was locked already: " if held.nonce != claim.nonce else "is "
        note(f"{shown(match)} {done}{held.describe()}")
        session.name_group()
    if not known:
        note(
            f"no machine that is present in {group_name(session.config.group)} is called {match.machine_id}: the slot "
            "is held under that name, and keeps no machine from its reboot"
        )


@click.command(cls=GoCommand)
@click.argument("machine", metavar="[MACHINE]", required=False, shell_complete=complete.holders)
@click.option("--stale", cls=GoOption, is_flag=True, help="Go through all slots that no machine seems to release.")
@click.option("--yes", cls=GoOption, is_flag=True, help="With --stale: do not ask.")
@click.option("--manual", cls=GoOption, is_flag=True, help="End a manual lock only; for scripts and units.")
@click.option("--force", cls=GoOption, is_flag=True, help="Do not ask, also if the machine is not through its reboot.")
@reason_option
@json_flag
@pass_session
def unlock(
    session: Session,
    *,
    machine: str | None,
    stale: bool,
    yes: bool,
    manual: bool,
    force: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Free the slot of a machine (without a name, of this one), and say which claim that undid.

    MACHINE is the id of a holder, its first letters (four at least), a host name, or a short host name.

    If the machine is present, and may be going down or is not proved healthy yet, it asks; also if the slot is held for
    a command of `run`. Without a terminal that needs --force. --manual frees the slot of a `lock` alone: every other
    slot stays, and that is no error.

    --stale asks for each slot of a lost machine, and for each slot that a legacy node, a legacy lock or a manual lock
    has held for long: the store does not show whether their machines are alive. No slot is ever freed by itself.
    """
    if manual and (stale or force):
        raise UsageError("--manual ends a manual lock only: use it without --stale and --force")
    if stale:
        from locksmith.cli.commands.stale import unlock_stale

        unlock_stale(session, machine, reason, sure=yes, as_json=as_json)
        return
    match = to_unlock(session, machine, manual=manual)
    freed = _unlock_manual(session, match, reason) if manual else _free(session, match, reason, force=force)
    if as_json:
        undone = claim_fields(freed.claim if freed else None)
        fields = {"id": match.machine_id, "freed": freed is not None, "undone": undone}
        print_json({"group": session.config.group, **fields})
    if freed is not None:
        tell_freed(shown(match), freed, as_json=as_json)
    if not as_json:
        session.name_group()


def _free(session: Session, match: Match, reason: str, *, force: bool) -> Freed:
    """Free a slot; ask first where a machine is in the middle of its reboot, and free only what was asked about."""
    holder = match.machine_id
    try:
        frees = Frees.ANY if force else Frees.UNASKED
        return session.with_admin(partial(free, holder, reason, frees=frees))
    except NotHeldError:
        raise LockError(f"{shown(match)} holds no slot in {group_name(session.config.group)}") from None
    except MidRebootError as error:
        words = reboot_words(holder, error.holder_state.claim, error.presence)
        if not can_ask():
            raise LockError(
                f"{words}. {WITHOUT_SLOT}; nothing was unlocked. Inspect the "
                f"machine; `locksmithctl unlock --force {quoted(holder)}` frees its slot all the same. Scripts use "
                f"`locksmithctl unlock --manual {quoted(holder)}`, which ends manual locks only"
            ) from None
        if not ask(f"{words}. {WITHOUT_SLOT}. Free it all the same?"):
            raise LockError("not confirmed; nothing was unlocked") from None
        return session.with_admin(partial(free, holder, reason, shown=ShownHolder(error.holder_state)))


def _unlock_manual(session: Session, match: Match, reason: str) -> Freed | None:
    """End a manual lock; where there is none, there is nothing to do, and a script goes on."""
    try:
        return session.with_admin(partial(free, match.machine_id, reason, frees=Frees.MANUAL))
    except NotHeldError:
        note(f"nothing to unlock: {shown(match)} holds no slot")
    except NotManualError as error:
        claim = error.holder_state.claim
        words = claim.describe() if claim else "held without a record that can be read"
        note(f"nothing to unlock: {shown(match)} has no manual lock. Its slot stays: it is {words}")
    return None


async def _lock(claim: Claim, group: str, store: Store) -> Claim:
    """Take a slot; give the claim that holds it, which an earlier `lock` may have made."""
    lock = RebootLock(store, group)
    try:
        await lock.take(claim)
    except SlotsBusyError as error:
        raise LockError(await who_holds(store, group) or str(error)) from None
    except OtherClaimError as error:
        if error.claim is None or error.claim.kind != MANUAL:
            raise
        return error.claim
    await lock.history.add(act_on(claim, LOCK, claim.reason))
    return claim


async def _wait_in_queue(session: Session, claim: Claim, queue_wait: QueueWait) -> Claim:
    """Wait for a slot in the same queue as the machines.

    If the machine holds a slot for its reboot, this waits for its release as well.
    """
    return await unless_interrupted(session.use_queued_lock(partial(_obtain, claim, queue_wait)))


async def _obtain(claim: Claim, queue_wait: QueueWait, lock: QueuedLock) -> Claim:
    """Get a slot. If the wait ends in another way, neither a slot nor a place in the queue is left."""
    try:
        if held := await _held_manually(claim, lock.lock):
            return held
        told = replace(queue_wait, who_holds=partial(who_holds, lock.lock.guarded.store, lock.lock.guarded.group))
        await told.obtain(partial(lock.take, claim), lock.changed)
    except BaseException:
        async with asyncio.timeout(ABORT_LIMIT):
            await lock.release(claim, fence_pending=lock.is_undecided(claim), why="the operator no longer waits")
        raise
    await lock.lock.history.add(act_on(claim, LOCK, claim.reason))
    return claim


async def _held_manually(claim: Claim, lock: RebootLock) -> Claim | None:
    """Give the claim of an earlier `lock`, which there is no use in waiting for."""
    try:
        await lock.check(claim)
    except OtherClaimError as error:
        return error.claim if error.claim is not None and error.claim.kind == MANUAL else None
    return None
