"""`window set`, `window show`, `window rm`: the sets of windows that an operator keeps in etcd."""

from datetime import UTC, datetime, timedelta

import click

from locksmith.cli import complete
from locksmith.cli.commands.window_options import calendar_options, read_written
from locksmith.cli.commands.window_view import warning
from locksmith.cli.empty import not_empty
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.session import Session, invoking_user, pass_session, reason_option
from locksmith.errors import CorruptValueError, LockError, UsageError
from locksmith.fleet.window_fields import set_fields
from locksmith.host.clock import local_zone
from locksmith.lock.window_sets import WindowStore
from locksmith.store.protocol import Store
from locksmith.util.records import moment
from locksmith.util.words import listed, quoted
from locksmith.window.window_set import EXAMPLE, WindowSet

set_name = not_empty("NAME", "name the set, as window.sets has it")


@click.command("set", cls=GoCommand)
@click.argument("name", callback=set_name, shell_complete=complete.window_sets)
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
    read = read_written(windows, blackouts, zone, open_files, black_files)
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
        note(f"the set before it could not be read: {before.problem}")


@click.command("show", cls=GoCommand)
@click.argument(
    "name",
    required=False,
    callback=not_empty("NAME", "name a set, or leave it out for all"),
    shell_complete=complete.window_sets,
)
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
        note(f"there is no set of windows in the store; `locksmithctl window set nights {EXAMPLE}` makes one")


@click.command("rm", cls=GoCommand)
@click.argument("name", shell_complete=complete.window_sets)
@pass_session
def remove(session: Session, *, name: str) -> None:
    """Remove a set of windows from etcd. Machines that still name it do not reboot until they have another."""
    session.with_store(lambda store: WindowStore(store).remove(name))
    say(f"set {name} is removed; a machine whose window.sets still names it does not reboot")
