"""`groups`: a line for each group that has anything in the store."""

from datetime import UTC, datetime

import click

from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import json_flag, note, print_json, say_all
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import Row, table, width
from locksmith.fleet.fields import group_fields
from locksmith.fleet.group import GroupView
from locksmith.fleet.reader import read_groups
from locksmith.lock.records.incident import HaltAfter, halts

NO_GROUP = "there is no group yet: nothing has locked here, and no locksmithd is present"
HEAD = ("GROUP", "MAX", "SHARE", "HELD", "WAITING", "PRESENT", "LOST", "STATE")


@click.command(cls=GoCommand)
@json_flag
@pass_session
def groups(session: Session, *, as_json: bool) -> None:
    """Show every group: its slots, who holds and waits, how many machines are present, and how many are lost."""
    views, problems = session.with_store(read_groups)
    now = datetime.now(UTC)
    if as_json:
        print_json({"groups": [group_fields(view, now) for view in views], "problems": problems})
        return
    if views:
        say_all(table(HEAD, [_row(view, now, session.config.halt.after) for view in views], width()))
    for problem in problems:
        note(problem)
    if not views and not problems:
        note(NO_GROUP)


def _row(view: GroupView, now: datetime, halt_after: HaltAfter) -> Row:
    sums = group_fields(view, now)
    share = f"{view.share.percent}{' (void)' if view.share.is_void(view.semaphore.max) else ''}" if view.share else ""
    lost = str(sums["lost"] or "")
    numbers = (str(sums["held"]), str(sums["waiting"]), str(sums["present"]), lost)
    halted = halts(view.incidents(now), halt_after.of(len(view.machines)))
    overdue = [f"{sums['overdue']} OVERDUE"] if sums["overdue"] else []
    rehearsing = [f"{sums['dry_run']} in a DRY RUN"] if sums["dry_run"] else []
    state = ", ".join([*(["HALTED"] if halted else []), *overdue, *(["frozen"] if view.freeze else []), *rehearsing])
    colour = "red" if lost or halted else "yellow" if view.freeze else ""
    return Row((view.group or "(default)", str(view.semaphore.max), share, *numbers, state), colour)
