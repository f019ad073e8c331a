"""`lock` and `unlock`: an operator's own claim, and the freeing of any claim.

Standard output stays empty without `--json`, as the original's does; what was done is said on standard error.
"""

import click

from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import claim_fields, json_flag, note, print_json
from locksmith.cli.session import Session, new_claim, pass_session
from locksmith.errors import UsageError
from locksmith.fleet import COMMITTED, MANUAL, Claim
from locksmith.rebootlock import RebootLock
from locksmith.standing import OtherClaimError

machine_argument = click.argument("machine", metavar="[MACHINE-ID]", required=False)


@click.command(cls=GoCommand)
@machine_argument
@click.option("--reason", cls=GoOption, default="", help="Why, for whoever finds the slot taken.")
@json_flag
@pass_session
def lock(session: Session, *, machine: str | None, reason: str, as_json: bool) -> None:
    """Take a slot by hand for a machine (without an id, for this one), until `unlock`.

    No daemon rides on such a slot or gives it back: while it is held, the machine does not reboot by itself. A machine
    that is locked by hand already stays as it is.
    """
    claim = new_claim(_holder(session, machine), MANUAL, reason)
    held = session.with_lock(lambda lock: _lock(lock, claim))
    if as_json:
        fields = {"id": held.holder, "already": held.nonce != claim.nonce, "claim": claim_fields(held)}
        print_json({"group": session.config.group, **fields})
    else:
        note(f"{held.holder} {'was locked already: ' if held.nonce != claim.nonce else 'is '}{held.describe()}")


@click.command(cls=GoCommand)
@machine_argument
@json_flag
@pass_session
def unlock(session: Session, *, machine: str | None, as_json: bool) -> None:
    """Free the slot of a machine (without an id, of this one), whoever took it, and say what that undid."""
    holder = _holder(session, machine)
    claim = session.with_lock(lambda lock: lock.unlock(holder))
    if as_json:
        print_json({"group": session.config.group, "id": holder, "undone": claim_fields(claim)})
    else:
        note(f"unlocked {holder}, {_was(claim)}")
    if claim is not None and claim.state == COMMITTED:
        name = claim.hostname or holder
        note(f"Warning: {name} is rebooting or about to, which nothing stops now; its slot is free for another already")


async def _lock(lock: RebootLock, claim: Claim) -> Claim:
    """Take a slot; give the claim that holds it, which an earlier `lock` may have made."""
    try:
        await lock.take(claim)
    except OtherClaimError:
        held = (await lock.read()).claims.get(claim.holder)
        if not isinstance(held, Claim) or held.kind != MANUAL:
            raise
        return held
    return claim


def _was(claim: Claim | None) -> str:
    if claim is None:
        return "which held a slot without a record that can be read: a node of the original, or a bare lock"
    return f"which was {claim.describe()}"


def _holder(session: Session, machine: str | None) -> str:
    if machine is None:
        return session.machine_id
    if not machine or not machine.isprintable():
        raise UsageError(f"{machine!r} is no machine's id")
    return machine
