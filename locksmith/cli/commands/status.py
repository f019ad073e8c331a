"""`status`, whose output scripts parse: each line is that of CoreOS locksmith."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import json_flag, note, print_json, say_all
from locksmith.cli.rehearsing import note_dry_run, note_not_configured, note_server
from locksmith.cli.session import Session, pass_session
from locksmith.host.installations import warnings as of_installations
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.semaphore import Semaphore

if TYPE_CHECKING:
    from locksmith.errors import CorruptValueError
    from locksmith.lock.admin import LockAdmin
    from locksmith.lock.holder import LockState
    from locksmith.lock.records.share import Share
    from locksmith.store.protocol import Store


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
        from locksmith.fleet.fields import slots_fields

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
        say_all(_lines(session.with_store(lambda store: _semaphore(store, session.config.group)), {}))
        session.name_group()
    note_server(session)


async def _semaphore(store: "Store", group: str) -> Semaphore:
    """Read the semaphore alone: the records of its holders are not shown."""
    key = keys.semaphore_key(group)
    entry = (await store.get(key)).entry
    return semaphore.decode(entry.value, key) if entry else Semaphore()


async def _with_share(lock: "LockAdmin") -> "tuple[LockState, Share | CorruptValueError | None]":
    return await lock.read(), await lock.share()


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
