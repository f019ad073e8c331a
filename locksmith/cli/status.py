"""`status` and `set-max`, whose output scripts parse: each line is the original's."""

import re

import click

from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import claim_fields, json_flag, print_json
from locksmith.cli.session import Session, pass_session
from locksmith.errors import CorruptValueError, UsageError
from locksmith.rebootlock import RebootLock
from locksmith.semaphore import INT64_MAX
from locksmith.standing import LockState


@click.command(cls=GoCommand)
@json_flag
@pass_session
def status(session: Session, *, as_json: bool) -> None:
    """Show how many slots there are and who holds one."""
    state = session.with_lock(RebootLock.read)
    if as_json:
        print_json(_fields(session.config.group, state))
    else:
        click.echo("\n".join(_lines(state)))


@click.command("set-max", cls=GoCommand, context_settings={"ignore_unknown_options": True})
@click.argument("slots", metavar="N")
@json_flag
@pass_session
def set_max(session: Session, *, slots: str, as_json: bool) -> None:
    """Set the number of slots to N: how many machines may be down at once.

    Whoever holds a slot keeps it.
    """
    new = parse_slots(slots)
    old = session.with_lock(lambda lock: lock.set_max(new))
    if as_json:
        print_json({"group": session.config.group, "old_max": old, "max": new})
    else:
        click.echo(f"Old-Max: {old}\nMax: {new}")


def parse_slots(text: str) -> int:
    """Read a number of slots; `UsageError` for what is none."""
    if not re.fullmatch(r"\+?[0-9]{1,19}", text) or not 1 <= int(text) <= INT64_MAX:
        raise UsageError(f"max must be at least 1, and a whole number below 2^63; {text!r} is not, nothing was changed")
    return int(text)


def _lines(state: LockState) -> list[str]:
    lines = [f"Available: {state.semaphore.available}", f"Max: {state.semaphore.max}"]
    holders = state.semaphore.holders
    return [*lines, "", "MACHINE ID", *holders] if holders else lines


def _fields(group: str, state: LockState) -> dict[str, object]:
    return {
        "group": group,
        "available": state.semaphore.available,
        "max": state.semaphore.max,
        "holders": [_holder(holder, state) for holder in state.semaphore.holders],
    }


def _holder(holder: str, state: LockState) -> dict[str, object]:
    claim = state.claims[holder]
    problem = {"problem": str(claim)} if isinstance(claim, CorruptValueError) else {}
    return {"id": holder, "claim": claim_fields(claim), **problem}
