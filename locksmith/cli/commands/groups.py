"""`groups`: a line for each group that has anything in the store."""

from datetime import UTC, datetime

import click

from locksmith.cli.fleet_json import group_fields
from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import json_flag, note, print_json, say_all
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import Row, table, width
from locksmith.errors import LocksmithError
from locksmith.fleet.group import GroupView
from locksmith.fleet.reader import list_groups, read_group
from locksmith.lock.records.incident import HaltAfter, halts
from locksmith.store.protocol import Store
from locksmith.util.commands import with_group

NO_GROUP = "there is no group yet: nothing has locked here, and no locksmithd is present"
HEAD = ("GROUP", "MAX", "SHARE", "HELD", "WAITING", "PRESENT", "LOST", "STATE")


@click.command(cls=GoCommand)
@json_flag
@pass_session
def groups(session: Session, *, as_json: bool) -> None:
    """Show every group: its slots, who holds and waits, how many machines are present, and how many are lost."""
    views, problems = session.with_store(read_groups)
    if as_json:
        print_json({"groups": [group_fields(view) for view in views], "problems": problems})
        return
    if views:
        say_all(table(HEAD, [_row(view, session.config.halt.after) for view in views], width()))
    for problem in problems:
        note(problem)
    if not views and not problems:
        note(NO_GROUP)


async def read_groups(store: Store) -> tuple[list[GroupView], list[str]]:
    """Read every group, and say of those that cannot be read why."""
    views, problems = [], []
    for name in await list_groups(store):
        try:
            views.append(await read_group(store, name))
        except LocksmithError as error:
            problems.append(f"{name or 'the default group'}: {with_group(str(error), name)}")
    return views, problems


def _row(view: GroupView, halt_after: HaltAfter) -> Row:
    sums = group_fields(view)
    share = f"{view.share.percent}{' (void)' if view.share.is_void(view.semaphore.max) else ''}" if view.share else ""
    lost = str(sums["lost"] or "")
    numbers = (str(sums["held"]), str(sums["waiting"]), str(sums["present"]), lost)
    halted = halts(view.incidents(datetime.now(UTC)), halt_after.of(len(view.machines)))
    overdue = [f"{sums['overdue']} OVERDUE"] if sums["overdue"] else []
    rehearsing = [f"{sums['dry_run']} in a DRY RUN"] if sums["dry_run"] else []
    state = ", ".join([*(["HALTED"] if halted else []), *overdue, *(["frozen"] if view.freeze else []), *rehearsing])
    colour = "red" if lost or halted else "yellow" if view.freeze else ""
    return Row((view.group or "(default)", str(view.semaphore.max), share, *numbers, state), colour)
