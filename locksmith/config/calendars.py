"""The iCalendar files of the configuration: each is read as a whole, or the configuration is refused."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from locksmith.config import keys
from locksmith.config.sources import Setting, Settings
from locksmith.errors import HostError, UsageError
from locksmith.host.clock import local_zone
from locksmith.host.trust import read_regular, refuse_changeable
from locksmith.util import limits
from locksmith.window.calendar import parse_zone
from locksmith.window.window_set import WindowSet

T = TypeVar("T")

CALENDARS = (keys.OPEN_CALENDARS, keys.BLACKOUT_CALENDARS)


def read_calendars(settings: Settings) -> WindowSet:
    """Give the events of all files, with the zone of the windows. `UsageError`: one cannot be used."""
    name = settings.value(keys.ZONE, "")
    if not any(settings.value(key, ()) for key in CALENDARS):
        return WindowSet((), (), name)
    from locksmith.window import ical  # noqa: PLC0415 - each call of the tool reads the configuration

    zone = parse_zone(name) if name else local_zone()
    opens, blackouts = map(settings.of, CALENDARS)
    return WindowSet(
        tuple(_events(opens, lambda text: ical.windows(text, zone))), tuple(_events(blackouts, ical.blackouts)), name
    )


def _events(setting: Setting | None, read: Callable[[str], Iterable[T]]) -> list[T]:
    paths = setting.value if setting is not None and isinstance(setting.value, tuple) else ()
    return [event for path in paths for event in read_calendar(path, read, setting)]


def read_calendar(path: Path, read: Callable[[str], Iterable[T]], setting: Setting | None = None) -> list[T]:
    """Give the events of a file, as `read` makes them. `UsageError`: the file cannot be used."""
    try:
        raw = read_regular(path, limits.CALENDAR)
        refuse_changeable(path, "the calendar")
        return list(read(raw.decode()))
    except OSError as error:
        problem = f"{path}, which cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = f"{path}, which cannot be used: it is not UTF-8"
    except (HostError, UsageError, ValueError) as error:
        problem = f"{path}, which cannot be used: {error}"
    raise UsageError(f"the calendar is {problem}") if setting is None else setting.refusal(f"names {problem}")
