"""`window`: is it open, until when, what comes next; and the sets of windows that an operator keeps in etcd."""

from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import click

from locksmith.cli import complete
from locksmith.cli.commands.freeze import group_option
from locksmith.cli.commands.window_view import lines, warning
from locksmith.cli.go_flags import GoCommand, GoGroup, GoOption
from locksmith.cli.moments import shown
from locksmith.cli.output import json_flag, note, print_json, say, say_all
from locksmith.cli.rehearsing import note_dry_run
from locksmith.cli.session import Session, invoking_user, pass_session, reason_option
from locksmith.config.calendars import read_calendar
from locksmith.daemon.windows import ConfiguredWindows
from locksmith.errors import CorruptValueError, LockError, UsageError
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import read_group
from locksmith.fleet.window_fields import Asked, set_fields, window_fields
from locksmith.host.clock import local_zone
from locksmith.lock.window_sets import WindowStore
from locksmith.store.protocol import Store
from locksmith.util import boottime
from locksmith.util.records import moment
from locksmith.util.words import listed, quoted
from locksmith.window import ical, window_set
from locksmith.window.calendar import parse_zone
from locksmith.window.duration import parse_duration
from locksmith.window.window_set import WindowSet
from locksmith.window.windows import Windows

calendar_options = (
    click.option(
        "--open-calendar",
        "open_files",
        cls=GoOption,
        multiple=True,
        metavar="FILE",
        help="An iCalendar file (.ics): its events are windows.",
    ),
    click.option(
        "--blackout-calendar",
        "black_files",
        cls=GoOption,
        multiple=True,
        metavar="FILE",
        help="An iCalendar file (.ics): its events are blackouts.",
    ),
)


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
    shown_in = _zone(zone)
    is_written = bool(specs or blackouts or open_files or black_files)
    asked = Asked(_moment(at, shown_in), shown_in, count, _least(session, least, checks=is_written))
    if is_written:
        written = _written(specs, blackouts, zone or "", open_files, black_files)
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


@window.command("set", cls=GoCommand)
@click.argument("name", shell_complete=complete.window_sets)
@click.option("--open", "windows", cls=GoOption, multiple=True, metavar="W", help="A window: 'Mon..Fri 02:00 for 3h'.")
@click.option(
    "--blackout", "blackouts", cls=GoOption, multiple=True, metavar="B", help="A blackout: '*-12-20..*-01-06'."
)
@calendar_options[0]
@calendar_options[1]
@click.option(
    "--zone", cls=GoOption, default="", metavar="Z", help="The time zone of what names none; else each machine's own."
)
@reason_option
@pass_session
def set_(
    session: Session,
    *,
    name: str,
    windows: tuple[str, ...],
    blackouts: tuple[str, ...],
    open_files: tuple[str, ...],
    black_files: tuple[str, ...],
    zone: str,
    reason: str,
) -> None:
    """Write a set of windows into etcd, for every machine whose configuration names it in window.sets.

    The events of calendars are written as they are now: after a change of the file, write the set again.

    It replaces the set as a whole. Machines that wait see it within half a minute, all others before they reboot.
    """
    if not (windows or blackouts or open_files or black_files):
        raise UsageError(
            f"a set needs --open or --blackout at least once; to remove it: `locksmithctl window rm {quoted(name)}`"
        )
    read = _written(windows, blackouts, zone, open_files, black_files)
    for one in read.windows:
        one.lasting()
    new = WindowSet(
        read.windows, read.blackouts, read.zone, invoking_user(), datetime.now(UTC).replace(microsecond=0), reason
    )

    async def work(store: Store) -> WindowSet | CorruptValueError | None:
        kept = WindowStore(store)
        try:
            before: WindowSet | CorruptValueError | None = await kept.read(name)
        except CorruptValueError as error:
            before = error
        await kept.write(name, new)
        return before

    before = session.with_store(work)
    say(f"set {name}: {new.resolved()}")
    if never := warning(new.resolved(), timedelta(0), local_zone()):
        note(f"where a machine has no other window, {never}")
    if isinstance(before, WindowSet):
        note(f"before it was: {before.resolved()}")
    elif before is not None:
        note(f"what stood there could not be read: {before.problem}")


@window.command("show", cls=GoCommand)
@click.argument("name", required=False, shell_complete=complete.window_sets)
@json_flag
@pass_session
def show(session: Session, *, name: str | None, as_json: bool) -> None:
    """Show the sets of windows in etcd, or one of them: who wrote it, when and why."""
    sets = session.with_store(lambda store: WindowStore(store).read_all())
    if name is not None:
        if name not in sets:
            raise LockError(
                f"there is no set of windows {name!r} in the store; there is {listed(sorted(sets)) or 'none'}"
            )
        sets = {name: sets[name]}
    if as_json:
        print_json({"sets": {of: set_fields(one) for of, one in sets.items()}})
        return
    for of, one in sets.items():
        if isinstance(one, CorruptValueError):
            note(f"set {of} cannot be read: {one}")
            continue
        by = f" (by {one.who} at {moment(one.since)}{f': {one.reason}' if one.reason else ''})" if one.since else ""
        say(f"{of}: {one.resolved()}{by}")
    if not sets:
        note(
            f"there is no set of windows in the store; `locksmithctl window set nights {window_set.EXAMPLE}` makes one"
        )


@window.command("rm", cls=GoCommand)
@click.argument("name", shell_complete=complete.window_sets)
@pass_session
def remove(session: Session, *, name: str) -> None:
    """Remove a set of windows from etcd. Machines that still name it do not reboot until they have another."""
    session.with_store(lambda store: WindowStore(store).remove(name))
    say(f"set {name} is removed; a machine whose window.sets still names it does not reboot")


def _written(
    specs: tuple[str, ...],
    blackouts: tuple[str, ...],
    zone: str,
    open_files: tuple[str, ...],
    black_files: tuple[str, ...],
) -> WindowSet:
    """Read a set of what is written on the command line and in calendars."""
    of_zone = _zone(zone or None)
    opens = [one for file in open_files for one in read_calendar(Path(file), lambda text: ical.windows(text, of_zone))]
    blacks = [one for file in black_files for one in read_calendar(Path(file), ical.blackouts)]
    return WindowSet.parse([*specs, *map(str, opens)], [*blackouts, *map(str, blacks)], zone)


def _zone(name: str | None) -> tzinfo:
    try:
        return local_zone() if name is None else parse_zone(name)
    except ValueError as error:
        raise UsageError(f"--zone: {error}") from None


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
