"""`set-max`, whose output scripts parse: the lines of CoreOS locksmith first."""

import re
from functools import partial

import click

from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.session import Session, act, pass_session, reason_option
from locksmith.errors import CorruptValueError, UsageError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.records import share
from locksmith.lock.records.event import SET_MAX
from locksmith.lock.records.semaphore import INT64_MAX
from locksmith.lock.records.share import Share


@click.command("set-max", cls=GoCommand, context_settings={"ignore_unknown_options": True})
@click.argument("slots", metavar="N|N%")
@reason_option
@json_flag
@pass_session
def set_max(session: Session, *, slots: str, reason: str, as_json: bool) -> None:
    """Set the number of slots to N: how many machines may be down at once. Every holder keeps its slot.

    N% keeps it at that share of the machines present, at least 1: each machine that takes the lock counts them again.
    """
    percent = parse_share(slots) if share.is_share(slots) else ""
    number = 0 if percent else parse_slots(slots)
    session.group_config()
    old, new, ended = session.with_admin(partial(_set_max, number, percent, reason))
    if as_json:
        print_json({"group": session.config.group, "old_max": old, "max": new, "share": percent or None})
        return
    say(f"Old-Max: {old}", f"Max: {new}")
    if ended:
        note(ended)
    if percent:
        note(
            f"max follows {percent} of the machines present from now on; a plain number ends that: "
            f"`locksmithctl set-max {new}`"
        )
    session.name_group()


async def _set_max(number: int, percent: str, reason: str, lock: LockAdmin) -> tuple[int, int, str]:
    before = await lock.share()
    old, new = await lock.set_share(percent) if percent else (await lock.set_max(number), number)
    shared = f", {percent} of the machines present" if percent else ""
    ended = _ended(before, percent, old)
    detail = "; ".join(filter(None, (f"max {old} -> {new}{shared}", ended)))
    await lock.history.add(act(SET_MAX, reason, detail))
    return old, new, ended


def _ended(before: Share | CorruptValueError | None, percent: str, old: int) -> str:
    """Say which share is over, and whether it still was one."""
    if isinstance(before, CorruptValueError):
        return "a share that could not be read is gone"
    if before is None or (before.percent == percent and not before.is_void(old)):
        return ""
    void = f", which was void: max {old} was set manually" if before.is_void(old) else ""
    return f"the share of {before.percent} is over{void}"


def parse_share(text: str) -> str:
    """Read a share in percent; `UsageError` for what is none."""
    try:
        return share.parse(text)
    except ValueError as error:
        raise UsageError(f"{error}; nothing was changed") from None


def parse_slots(text: str) -> int:
    """Read a number of slots; `UsageError` for what is none."""
    if re.fullmatch(r"[+-]?0+", text):
        raise UsageError(
            "max must be at least 1; `locksmithctl freeze --reason=maintenance` keeps a group from rebooting"
        )
    if not re.fullmatch(r"\+?[0-9]{1,19}", text) or not 1 <= int(text) <= INT64_MAX:
        raise UsageError(f"max must be at least 1, and a whole number below 2^63; {text!r} is not, nothing was changed")
    return int(text)
