"""`nodes`: every machine of a group, who holds a slot, who waits for one; what is lost stands first."""

import sys
from datetime import datetime

import click

from locksmith.cli.commands.nodes_view import ID_WIDTH, layout, summary
from locksmith.cli.commands.watch import watch, watch_option
from locksmith.cli.fleet_json import view_fields
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import width
from locksmith.fleet.reader import read_group


@click.command(cls=GoCommand)
@watch_option
@click.option("--ids", cls=GoOption, is_flag=True, help="Show the whole id of each machine.")
@json_flag
@pass_session
def nodes(session: Session, *, watches: bool, ids: bool, as_json: bool) -> None:
    """Show every machine of the group: what it does, since when, why, and when its window opens.

    Lost machines come first, then the other holders of a slot, then the queue in its order, then all others.
    """
    if watches:
        watch(session, as_json=as_json, everything=True, ids=ids)
        return
    view = session.with_store(lambda store: read_group(store, session.config.group))
    if as_json:
        print_json(view_fields(view))
        return
    now = datetime.now().astimezone()
    # Piped, the ids take no room from what else is shown.
    columns = width() + (ID_WIDTH if ids and not sys.stdout.isatty() else 0)
    say(summary(view, now, session.config.halt.after), *layout(view, now, columns, ids=ids))
    for problem in view.problems:
        note(f"cannot be read: {problem}")
