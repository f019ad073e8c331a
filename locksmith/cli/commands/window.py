"""`window`: is it open, until when, what comes next. The sets of windows in etcd are in a module of their own."""

from datetime import datetime, timedelta, tzinfo

import click

from locksmith.cli import complete
from locksmith.cli.commands.freeze import group_option
from locksmith.cli.commands.window_options import calendar_options, read_written, read_zone
from locksmith.cli.commands.window_sets import remove, set_, show
from locksmith.cli.commands.window_view import lines, warning
from locksmith.cli.go_flags import GoGroup, GoOption
from locksmith.cli.moments import shown
from locksmith.cli.output import json_flag, note, print_json, say_all
from locksmith.cli.rehearsing import note_dry_run
from locksmith.cli.session import Session
from locksmith.daemon.windows import ConfiguredWindows
from locksmith.errors import LockError, UsageError
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import read_group
from locksmith.fleet.window_fields import Asked, window_fields
from locksmith.lock.window_sets import WindowStore
from locksmith.util import boottime
from locksmith.util.records import moment
from locksmith.util.words import listed
from locksmith.window import window_set
from locksmith.window.duration import parse_duration
from locksmith.window.window_set import WindowSet
from locksmith.window.windows import Windows


@click.group(cls=GoGroup, invoke_without_command=True)
@click.option("--spec", "specs", cls=GoOption, multiple=True, metavar="W", help="A window to show: 'Fri 22:00 for 4h'.")
@click.option("--blackout", "blackouts", cls=GoOption, multiple=True, metavar="B", help="A blackout to show with it.")
@calendar_options[0]
@calendar_options[1]
@click.option(
    "--set",
    "names",
    cls=GoOption,
    multiple=True,
    metavar="NAME",
    shell_complete=complete.window_sets,
    help="A set of windows in etcd to show.",
)
@click.option(
    "--next", "count", cls=GoOption, type=click.IntRange(1, 1000), default=5, help="How many openings to show."
)
@click.option("--at", cls=GoOption, metavar="T", help="Show this time: 18:30, 2026-12-24, or 2026-12-24T18:30.")
@click.option("--zone", cls=GoOption, metavar="Z", help="The time zone of what names none, and of what is shown.")
@click.option(
    "--min-remaining", "least", cls=GoOption, metavar="D", help="How much has to be left when a reboot begins."
)
@group_option
@json_flag
@click.pass_context
def window(
    context: click.Context,
    /,
    *,
    specs: tuple[str, ...],
    blackouts: tuple[str, ...],
    open_files: tuple[str, ...],
    black_files: tuple[str, ...],
    names: tuple[str, ...],
    count: int,
    at: str | None,
    zone: str | None,
    least: str | None,
    as_json: bool,
) -> None:
    """Show whether a reboot window is open, until when, the next ones, and the month.

    Without flags it is this machine's; with --group, those of the machines of a group; with --spec and --blackout, what
    they say, which needs no node and no etcd. The exit code is 0, open or closed.
    """
    if context.invoked_subcommand is not None:
        return
    session = context.ensure_object(Session)
    shown_in = read_zone(zone)
    is_written = bool(specs or blackouts or open_files or black_files)
    asked = Asked(_moment(at, shown_in), shown_in, count, _least(session, least, checks=is_written))
    if is_written:
        written = read_written(specs, blackouts, zone or "", open_files, black_files)
        found = {"the specification": window_set.union([written])}
    elif names:
        found = {f"set {name}": window_set.union([_stored(session, name)]) for name in names}
    elif "group" in session.flags and session.flags["group"] is not None:
        found = _of_group(session)
    else:
        found = {"this machine": _of_machine(session, asked.at)}
        note_dry_run(session)
    for name, of in found.items():
        if never := warning(of, asked.least, asked.zone):
            note(f"{name}: {never}")
    if as_json:
        print_json({"at": moment(asked.at), "windows": [window_fields(name, of, asked) for name, of in found.items()]})
        return
    for number, (name, of) in enumerate(found.items()):
        say_all([*([""] if number else []), *lines(name, of, asked)])


window.add_command(set_)
window.add_command(show)
window.add_command(remove)


def _moment(text: str | None, zone: tzinfo) -> datetime:
    now = datetime.now(zone)
    return now if text is None else shown(text, now, zone, "--at")


def _least(session: Session, text: str | None, *, checks: bool) -> timedelta:
    """Take what is said, else this machine's own, else nothing where a specification is checked without a node."""
    if text is None:
        return timedelta(0) if checks else session.config.window.least
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--min-remaining: {error}") from None


def _stored(session: Session, name: str) -> WindowSet:
    found = session.with_store(lambda store: WindowStore(store).read(name))
    if found is None:
        raise LockError(f"there is no set of windows {name!r} in the store: see `locksmithctl window show`")
    return found


def _of_machine(session: Session, at: datetime) -> Windows | None:
    """Read what the configuration of this machine says, and from etcd only what it names there."""
    from locksmith.store.connect import open_store

    async def read() -> Windows | None:
        source = ConfiguredWindows(session.config.window, lambda: open_store(session.config.store), boottime.boot_time)
        try:
            sight = await source.check(at, wanted=True)
        finally:
            await source.close()
        if sight.error:
            raise LockError(f"this machine does not reboot: {sight.error}")
        return sight.windows

    return boottime.run(read())


def _of_group(session: Session) -> dict[str, Windows | None]:
    """Give the windows of a group's machines, those that have the same ones together."""
    group = session.config.group
    view = session.with_store(lambda store: read_group(store, group))
    by_windows: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for node in view.machines.values():
        by_windows.setdefault((node.windows, node.blackouts), []).append(node.name)
    if not by_windows:
        raise LockError(f"no machine of {group_name(group)} shows itself: see `locksmithctl nodes`")
    return {
        f"{group_name(group)} ({listed(sorted(names))})": window_set.union([WindowSet.parse(*texts)])
        for texts, names in by_windows.items()
    }
