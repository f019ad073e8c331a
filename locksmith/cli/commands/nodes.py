"""`nodes`: every machine of a group, who holds a slot, who waits for one; what is lost comes first."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

from locksmith.cli import complete
from locksmith.cli.commands.freeze import group_option
from locksmith.cli.commands.groups import NO_GROUP
from locksmith.cli.commands.nodes_filter import Shown
from locksmith.cli.commands.nodes_filter import only as machines_only
from locksmith.cli.commands.nodes_view import layout, machine_rows, summary
from locksmith.cli.commands.watch import watch, watch_option
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.group_names import note_unknown_group
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import width
from locksmith.errors import UsageError
from locksmith.fleet.fields import view_fields
from locksmith.fleet.group import GroupView
from locksmith.fleet.reader import read_group, read_groups


def _filter(flag: str, name: str, completion: complete.Offer, text: str) -> Callable[[Any], Any]:
    """Give an option that may be there several times: a machine is shown if one of its values fits."""
    return click.option(
        f"--{flag}", name, cls=GoOption, multiple=True, metavar=flag[0].upper(), shell_complete=completion, help=text
    )


@click.command(cls=GoCommand)
@watch_option
@click.option("--ids", cls=GoOption, is_flag=True, help="Show the whole id of each machine.")
@_filter("state", "states", complete.states_of_machines, "Only machines in this state, like queued.")
@_filter("name", "names", complete.machines, "Only machines of this name: 'web-*'.")
@_filter("trigger", "triggers", complete.triggers, "Only machines that need a reboot for this trigger.")
@_filter("strategy", "strategies", complete.strategies, "Only machines with this strategy.")
@click.option("--all-groups", "everywhere", cls=GoOption, is_flag=True, help="Show every group.")
@group_option
@json_flag
@pass_session
def nodes(
    session: Session,
    *,
    watches: bool,
    ids: bool,
    states: tuple[str, ...],
    names: tuple[str, ...],
    triggers: tuple[str, ...],
    strategies: tuple[str, ...],
    everywhere: bool,
    as_json: bool,
) -> None:
    """Show every machine of the group: what it does, since when, why, and when its window opens.

    Lost machines come first, then the other holders of a slot, then the queue in its order, then all others.
    """
    only = Shown(states, names, triggers, strategies)
    if everywhere and session.flags.get("group") is not None:
        raise UsageError("--all-groups is about every group: name no group with it")
    if watches:
        if only or everywhere:
            raise UsageError("--watch shows a whole group: leave out --all-groups and all filters")
        watch(session, as_json=as_json, everything=True, ids=ids)
    elif everywhere:
        _show_all(session, only, ids=ids, as_json=as_json)
    else:
        view = session.with_store(lambda store: read_group(store, session.config.group))
        now = datetime.now().astimezone()
        if as_json:
            print_json(_fields(view, now, only))
            return
        _show(session, view, now, only, ids=ids)
        if not any((view.machines, view.absent, view.semaphore.holders, view.waiters)):
            note_unknown_group(session)
        elif only and not layout(view, now, width(), only=only):
            note(only.none(machine_rows(view, now)))


def _show_all(session: Session, only: Shown, *, ids: bool, as_json: bool) -> None:
    views, problems = session.with_store(read_groups)
    now = datetime.now().astimezone()
    if as_json:
        print_json({"groups": [_fields(view, now, only) for view in views], "problems": problems})
        return
    # With a filter, a group without such a machine is not shown.
    shown = [view for view in views if not only or layout(view, now, width(), only=only)]
    for number, view in enumerate(shown):
        _show(session, view, now, only, [""] if number else [], ids=ids)
    for problem in problems:
        note(problem)
    if only and not shown:
        note(only.none(row for view in views for row in machine_rows(view, now)))
    elif not views and not problems:
        note(NO_GROUP)


def _show(
    session: Session, view: GroupView, now: datetime, only: Shown, before: Sequence[str] = (), *, ids: bool
) -> None:
    say(*before, summary(view, now, session.config.halt.after), *layout(view, now, width(), only=only, ids=ids))
    for problem in view.problems:
        note(f"cannot be read: {problem}")


def _fields(view: GroupView, now: datetime, only: Shown) -> dict[str, object]:
    if not only:
        return view_fields(view, now)
    return machines_only(
        view_fields(view, now), {machine_id for machine_id, _ in only.of(view, machine_rows(view, now))}
    )
