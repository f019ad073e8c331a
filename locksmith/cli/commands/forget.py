"""`forget`: have a group forget a machine that is gone for good."""

import click

from locksmith.cli import complete
from locksmith.cli.choose import choose
from locksmith.cli.empty import not_empty
from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.session import Session, act, pass_session, reason_option
from locksmith.errors import LockError
from locksmith.fleet.group import GroupView
from locksmith.fleet.lookup import find
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import read_group
from locksmith.lock import membership
from locksmith.lock.history import History
from locksmith.lock.records.event import FORGET
from locksmith.store.protocol import Store
from locksmith.util.words import quoted


@click.command(cls=GoCommand)
@click.argument(
    "machine",
    metavar="MACHINE",
    callback=not_empty("MACHINE", "give a machine-id, or a host name"),
    shell_complete=complete.absent_machines,
)
@reason_option
@json_flag
@pass_session
def forget(session: Session, *, machine: str, reason: str, as_json: bool) -> None:
    """Have the group forget a machine that is gone for good: `nodes` no longer shows it as absent.

    MACHINE is a machine-id, its first letters (four at least), a host name, or a short host name. A slot that it holds
    stays taken.
    """
    group = session.config.group

    async def work(store: Store) -> tuple[GroupView, str]:
        view = await read_group(store, group)
        matches = find(view, machine)
        # One whose record cannot be read is found by its id alone.
        machine_id = choose(matches, machine, f" in {group_name(group)}") if matches else machine
        if machine_id in view.machines:
            raise LockError(
                f"{machine} is present in {group_name(group)}: its locksmithd shows it again, so stop that first"
            )
        if not await membership.forget(store, group, machine_id):
            raise LockError(f"{group_name(group)} remembers no machine {machine}: see `locksmithctl nodes`")
        await History(store, group).add(act(FORGET, reason, f"{machine} ({machine_id})"))
        return view, machine_id

    view, machine_id = session.with_store(work)
    holds = machine_id in view.semaphore.holders
    if as_json:
        print_json({"group": group, "id": machine_id, "holds": holds})
        return
    say(f"{group_name(group)} has forgotten {machine}")
    if holds:
        note(f"Warning: it still holds a slot: `locksmithctl unlock {quoted(machine_id)}` frees it")
