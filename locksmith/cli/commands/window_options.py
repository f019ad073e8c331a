"""Windows as they are written on the command line, and in calendars that it names."""

from datetime import tzinfo
from pathlib import Path

import click

from locksmith.cli.go_flags import GoOption
from locksmith.config.calendars import read_calendar
from locksmith.errors import UsageError
from locksmith.host.clock import local_zone
from locksmith.window import ical
from locksmith.window.calendar import parse_zone
from locksmith.window.window_set import WindowSet

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


def read_written(
    specs: tuple[str, ...],
    blackouts: tuple[str, ...],
    zone: str,
    open_files: tuple[str, ...],
    black_files: tuple[str, ...],
) -> WindowSet:
    """Read a set of what is written on the command line and in calendars."""
    of_zone = read_zone(zone or None)
    opens = [one for file in open_files for one in read_calendar(Path(file), lambda text: ical.windows(text, of_zone))]
    blacks = [one for file in black_files for one in read_calendar(Path(file), ical.blackouts)]
    return WindowSet.parse([*specs, *map(str, opens)], [*blackouts, *map(str, blacks)], zone)


def read_zone(name: str | None) -> tzinfo:
    """Give the time zone of a name, or this machine's. `UsageError`: there is none of that name."""
    try:
        return local_zone() if name is None else parse_zone(name)
    except ValueError as error:
        raise UsageError(f"--zone: {error}") from None
