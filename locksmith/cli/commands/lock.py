"""`lock` and `unlock`: an operator's own claim, and the freeing of any claim.

Standard output stays empty without `--json`, as that of CoreOS locksmith does; standard error says what was done.
"""

import asyncio
from functools import partial

import click

from locksmith.cli.commands.free_slot import free, tell_freed
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import claim_fields, json_flag, note, print_json
from locksmith.cli.reboot.interrupt import unless_interrupted
from locksmith.cli.reboot.wait import QueueWait, timeout_option, wait_option
from locksmith.cli.reboot.wait import queue_wait as read_queue_wait
from locksmith.cli.session import Session, act_on, new_claim, pass_session, reason_option
from locksmith.errors import LockError, UsageError
from locksmith.fleet.lookup import HOST_NAME, ID, find, is_machine_id
from locksmith.fleet.reader import read_group
from locksmith.lock.errors import OtherClaimError
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import MANUAL, Claim
from locksmith.lock.records.event import LOCK
from locksmith.lock.records.semaphore import NotHeldError
from locksmith.store.protocol import Store
from locksmith.util import boottime
from locksmith.util.words import quoted

ABORT_LIMIT = 30.0
"""Seconds to leave the queue before the program ends; after that the place in the queue expires."""

machine_argument = click.argument("machine", metavar="[MACHINE-ID]", required=False)


@click.command(cls=GoCommand)
@machine_argument
@click.option("--reason", cls=GoOption, default="", help="Why, for people who find the slot taken.")
@wait_option
@timeout_option
@json_flag
@pass_session
def lock(
    session: Session, *, machine: str | None, reason: str, waits: bool, timeout: str | None, as_json: bool
) -> None:
    """Take a slot manually for a machine (without an id, for this one), until `unlock`.

    No daemon uses or releases such a slot: while it is held, the machine does not reboot by itself. If the machine has
    a manual lock already, nothing changes.
    """
    queue_wait = read_queue_wait(note, waits=waits, timeout=timeout)
    holder = _holder(session, machine)
    if named := _named(session, holder):
        raise LockError(
            f"{holder} is the host name of {named}; nothing was locked. Run `locksmithctl lock {quoted(named)}`"
        )
    claim = new_claim(holder, MANUAL, reason)
    if waits:
        held = boottime.run(_wait_in_queue(session, claim, queue_wait))
    else:
        held = session.with_store(partial(_lock, claim, session.config.group))
    if as_json:
        fields = {"id": held.holder, "already": held.nonce != claim.nonce, "claim": claim_fields(held)}
        print_json({"group": session.config.group, **fields})
    else:
        note(f"{held.holder} {'was locked already: ' if held.nonce != claim.nonce else 'is '}{held.describe()}")
        session.name_group()


@click.command(cls=GoCommand)
@machine_argument
@click.option("--stale", cls=GoOption, is_flag=True, help="Go through all slots that no machine seems to release.")
@click.option("--yes", cls=GoOption, is_flag=True, help="With --stale: do not ask.")
@reason_option
@json_flag
@pass_session
def unlock(session: Session, *, machine: str | None, stale: bool, yes: bool, reason: str, as_json: bool) -> None:
    """Free the slot of a machine (without an id, of this one), and say which claim that undid.

    --stale asks for each slot of a lost machine, and for each slot that a legacy node, a legacy lock or a manual lock
    has held for long: the store does not show whether their machines are alive. No slot is ever freed by itself.
    """
    if stale:
        from locksmith.cli.commands.stale import unlock_stale

        unlock_stale(session, machine, reason, sure=yes, as_json=as_json)
        return
    holder = _holder(session, machine)
    try:
        claim = session.with_admin(partial(free, holder, reason))
    except NotHeldError as error:
        if named := _named(session, holder):
            raise LockError(
                f"{error}: it is the host name of {named}. Run `locksmithctl unlock {quoted(named)}`"
            ) from None
        raise
    if as_json:
        print_json({"group": session.config.group, "id": holder, "undone": claim_fields(claim)})
    tell_freed(holder, claim, as_json=as_json)
    if not as_json:
        session.name_group()


async def _lock(claim: Claim, group: str, store: Store) -> Claim:
    """Take a slot; give the claim that holds it, which an earlier `lock` may have made."""
    lock = RebootLock(store, group)
    try:
        await lock.take(claim)
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
        await queue_wait.obtain(partial(lock.take, claim), lock.changed)
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


def _named(session: Session, holder: str) -> str:
    """Give the id of the present machine that has this as its host name, where no id is meant by it; else nothing."""
    if is_machine_id(holder):
        return ""
    view = session.with_store(lambda store: read_group(store, session.config.group))
    matches = [one for one in find(view, holder) if one.how in {ID, HOST_NAME}]
    own = [one for one in matches if one.how == ID]
    present = [one for one in matches if one.machine_id in view.machines]
    return "" if own or not present else present[0].machine_id


def _holder(session: Session, machine: str | None) -> str:
    if machine is None:
        session.own_config()
        return session.machine_id
    if not machine or not machine.isprintable():
        raise UsageError(f"{machine!r} is no machine's id")
    return machine
