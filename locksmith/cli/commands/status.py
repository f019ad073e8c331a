"""`status` and `set-max`, whose output scripts parse: each line is that of CoreOS locksmith."""

import re
import sys
from collections.abc import Mapping
from functools import partial

import click

from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import json_flag, note, print_json, say, say_all
from locksmith.cli.rehearsing import note_dry_run, note_not_configured, note_server
from locksmith.cli.session import Session, act, pass_session, reason_option
from locksmith.errors import CorruptValueError, UsageError
from locksmith.fleet.fields import slots_fields
from locksmith.host.installations import warnings as of_installations
from locksmith.lock.admin import LockAdmin
from locksmith.lock.holder import LockState
from locksmith.lock.records import share
from locksmith.lock.records.event import SET_MAX
from locksmith.lock.records.semaphore import INT64_MAX, Semaphore
from locksmith.lock.records.share import Share


@click.command(cls=GoCommand)
@click.option("--watch", "watches", cls=GoOption, is_flag=True, help="Go on showing it as it changes, until Ctrl-C.")
@json_flag
@pass_session
def status(session: Session, *, watches: bool, as_json: bool) -> None:
    """Show how many slots there are and who holds one; with --watch the queue and the rollout too."""
    note_dry_run(session)
    note_not_configured(session)
    for caution in of_installations(session.paths):
        note(f"Warning: {caution}")
    if watches:
        from locksmith.cli.commands.watch import watch

        watch(session, as_json=as_json, everything=False)
        return
    if as_json:
        state, shared = session.with_admin(_with_share)
        print_json({"group": session.config.group, **slots_fields(state.semaphore, state.claims, shared)})
    elif sys.stdout.isatty():
        from locksmith.fleet.holders import holder_statuses
        from locksmith.fleet.reader import read_slots

        view = session.with_store(lambda store: read_slots(store, session.config.group))
        names = {one.holder: one.name for one in holder_statuses(view) if one.name != one.holder}
        say_all(_lines(view.semaphore, names))
        session.name_group()
    else:
        say_all(_lines(session.with_admin(LockAdmin.read).semaphore, {}))
        session.name_group()
    note_server(session)


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


async def _with_share(lock: LockAdmin) -> tuple[LockState, Share | CorruptValueError | None]:
    return await lock.read(), await lock.share()


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


def _lines(slots: Semaphore, names: Mapping[str, str]) -> list[str]:
    """Write what scripts parse; on a terminal the `names` of the machines, by their ids, stand after the ids."""
    lines, holders = [f"Available: {slots.available}", f"Max: {slots.max}"], slots.holders
    if not holders:
        return lines
    if not names:
        return [*lines, "", "MACHINE ID", *holders]
    wide = max(map(len, holders))
    return [
        *lines,
        "",
        f"{'MACHINE ID':{wide}}  NAME",
        *(f"{one:{wide}}  {names.get(one, '')}".rstrip() for one in holders),
    ]
