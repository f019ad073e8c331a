"""The readers of configured values: of typed values in TOML, and of text in variables and flags.

Every reader raises `ValueError` with the end of a sentence that begins with the key's name.

Above 300 lines, in one piece: one reader for each kind of value, and a table of them.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Generic, TypeVar

from locksmith.config.urls import base_url, endpoint, fleet_lock_url, fleet_server_url
from locksmith.errors import UsageError
from locksmith.host.settings import ALL, INTERACTIVE, NONE
from locksmith.lock.records.incident import HaltAfter, parse_halt_after
from locksmith.window.blackout import Blackout
from locksmith.window.calendar import Calendar, parse_zone
from locksmith.window.duration import format_duration, parse_duration
from locksmith.window.window import Window
from locksmith.window.window_set import WindowSet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """The kind of a key's values, and how they are read."""

    typed: Callable[[object], T]
    text: Callable[[str], T]


def _from_text(read: Callable[[str], T]) -> Kind[T]:
    """Give the kind of a value that is a string in TOML too."""
    return Kind(lambda value: read(_string(value)), lambda text: read(_clean(text)))


def _clean(text: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("must not have control characters in it, nor bytes that are not UTF-8")
    return text


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {type_name(value)}")  # noqa: TRY004 (one kind of error for all readers)
    return _clean(value)


def _full(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _strategy(text: str) -> str:
    if text == "best-effort":
        raise ValueError(
            "'best-effort' is gone, as it rebooted without a lock whenever etcd was down: "
            "use 'etcd-lock' where etcd runs, or 'reboot' to do without a lock"
        )
    return _full(text)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {type_name(value)}")  # noqa: TRY004 (as above)
    return value


def _boolean_text(text: str) -> bool:
    """Read a boolean as Go's `strconv.ParseBool` does."""
    if text in {"1", "t", "T", "TRUE", "true", "True"}:
        return True
    if text in {"0", "f", "F", "FALSE", "false", "False"}:
        return False
    raise ValueError(f"must be true or false, not {text!r}")


def _whole(lowest: int, highest: int) -> Kind[int]:
    def check(number: int) -> int:
        if not lowest <= number <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}, not {number}")
        return number

    def typed(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be a whole number from {lowest} to {highest}, not {type_name(value)}")  # noqa: TRY004 (as above)
        return check(value)

    def text(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,9}", text):
            raise ValueError(f"must be a whole number from {lowest} to {highest}, not {text!r}")
        return check(int(text))

    return Kind(typed, text)


def _span(longest: timedelta) -> Kind[timedelta]:
    def check(text: str) -> timedelta:
        value = parse_duration(text)
        if not timedelta(0) < value <= longest:
            raise ValueError(f"must be longer than 0s and at most {format_duration(longest)}, not {text!r}")
        return value

    return _from_text(check)


def _span_or_none(longest: timedelta) -> Kind[timedelta]:
    """Give the kind of a duration that may be 0, which means off."""

    def check(text: str) -> timedelta:
        value = parse_duration(text)
        if not timedelta(0) <= value <= longest:
            raise ValueError(f"must be at least 0s and at most {format_duration(longest)}, not {text!r}")
        return value

    return _from_text(check)


def _halt_after(value: object) -> HaltAfter:
    if isinstance(value, int) and not isinstance(value, bool):
        return parse_halt_after(str(value))
    return parse_halt_after(_string(value))


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ValueError(f"must be a regular expression, and {text!r} is none: {error}") from None


def _one_of(*words: str) -> Kind[str]:
    def check(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(map(repr, words))}, not {text!r}")
        return text

    return _from_text(check)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of strings, not {type_name(value)}")  # noqa: TRY004 (as above)
    return tuple(_full(_string(text)) for text in value)


_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.(service|socket|target|device|mount|automount|swap|timer|path|slice|scope)"
)
"""The name of a unit, as systemd.unit(5) has it; the name of a template alone is no unit."""


def _units(value: object) -> tuple[str, ...]:
    names = _texts(value)
    for name in names:
        if not _UNIT.fullmatch(name):
            raise ValueError(f"has {name!r}, which is no name of a unit: {_unit_hint(name)}")
    return names


def _unit_hint(name: str) -> str:
    if "@." in name:
        return "name an instance of the template, like getty@tty1.service"
    likely = f"{name}.service"
    return f"did you mean {likely}?" if _UNIT.fullmatch(likely) else "it must be like kubelet.service"


def _statuses(value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of exit statuses, not {type_name(value)}")  # noqa: TRY004 (as above)
    return tuple(_STATUS.typed(number) for number in value)


def _parts(parse: Callable[[str], T]) -> Kind[tuple[T, ...]]:
    """Give the kind of a list of windows or blackouts; in text they are separated by `;`."""

    def check(texts: tuple[str, ...]) -> tuple[T, ...]:
        try:
            return tuple(map(parse, texts))
        except UsageError as error:
            raise ValueError(f"cannot be used: {error}") from None

    return Kind(lambda value: check(_texts(value)), lambda text: check(_texts(text.split(";"))))


def _zone(text: str) -> str:
    try:
        return text and parse_zone(text).key
    except ValueError as error:
        raise ValueError(f"cannot be used: {error}") from None


def _percent(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?%", text) or float(text[:-1]) > 100:  # noqa: PLR2004 - 100%
        raise ValueError(f"must be a share from 0% to 100%, like 25%, not {text!r}")
    return float(text[:-1]) / 100


def _window_sets(value: object) -> Mapping[str, WindowSet]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table of tables, not {type_name(value)}")  # noqa: TRY004 (as above)
    return {_full(name): _window_set(name, fields) for name, fields in value.items()}


def _window_set(name: str, fields: object) -> WindowSet:
    if not isinstance(fields, dict):
        raise ValueError(f"must have a table for {name!r}, not {type_name(fields)}")  # noqa: TRY004 (as above)
    if unknown := fields.keys() - {"open", "blackouts", "zone"}:
        raise ValueError(f"has {name}.{min(unknown)}, which is no key of a set: known are open, blackouts, zone")
    try:
        windows, blackouts = (WINDOWS.typed(fields.get("open", [])), BLACKOUT_LIST.typed(fields.get("blackouts", [])))
        zone = ZONE_NAME.typed(fields.get("zone", ""))
    except ValueError as error:
        raise ValueError(f"has the set {name!r}, which {error}") from None
    if not windows and not blackouts:
        raise ValueError(f"has the set {name!r} with neither a window nor a blackout")
    return WindowSet(windows, blackouts, zone)


def _no_text(_text: str) -> Mapping[str, WindowSet]:
    raise ValueError("is for a file alone")


def _path(value: object) -> Path | None:
    path = _path_text(_string(value))
    if path is not None and not path.is_absolute():
        raise ValueError(f"must be a path from the root on (or empty for none), not {str(path)!r}")
    return path


def _paths(texts: tuple[str, ...]) -> tuple[Path, ...]:
    paths = tuple(dict.fromkeys(map(Path, texts)))
    if wrong := [path for path in paths if not path.is_absolute()]:
        raise ValueError(f"must have paths from the root on, not {str(wrong[0])!r}")
    return paths


def _path_text(text: str) -> Path | None:
    return Path(_clean(text)) if text else None


def _endpoints(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of URLs, not {type_name(value)}")  # noqa: TRY004 (as above)
    if not value:
        raise ValueError("must name one endpoint at least")
    return tuple(dict.fromkeys(endpoint(_string(url)) for url in value))


def _fleet_servers(value: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fleet_server_url(url) for url in _texts(value)))


def type_name(value: object) -> str:
    """Name the type of a TOML value as its manual does."""
    return _TYPES.get(type(value), "a date or a time")


_TYPES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number with a point",
    str: "a string",
    list: "a list",
    dict: "a table",
}

TEXT = _from_text(str)
FULL_TEXT = _from_text(_full)
STRATEGY_NAME = _from_text(_strategy)
BOOLEAN = Kind(_boolean, _boolean_text)
API_VERSION = _whole(2, 3)
PORT = _whole(0, 65535)
TIMEOUT = _span(timedelta(minutes=1))
SPAN = _span(timedelta(days=1))
WINDOW_START = _from_text(Calendar.parse)
WINDOW_LENGTH = _from_text(parse_duration)
VERY_LONG_SPAN_OR_NONE = _span_or_none(timedelta(days=3650))
_STATUS = _whole(0, 255)
STATUSES = Kind(_statuses, lambda text: tuple(_STATUS.text(part.strip()) for part in text.split(",")))
WINDOWS = _parts(lambda text: Window.parse(text).lasting())
BLACKOUT_LIST = _parts(Blackout.parse)
ZONE_NAME = _from_text(_zone)
PERCENT = _from_text(_percent)
WINDOW_SETS_KIND = Kind(_window_sets, _no_text)
PATH = Kind(_path, _path_text)
PATHS = Kind(lambda value: _paths(_texts(value)), lambda text: _paths(_texts(text.split(","))))
WHOLE = _whole(0, 1_000_000)
PER_DAY = _whole(1, 24)
LONG_SPAN = _span(timedelta(days=30))
SPAN_OR_NONE = _span_or_none(timedelta(days=30))
HALT_AFTER = Kind(_halt_after, parse_halt_after)
PATTERN = _from_text(_pattern)
URL = _from_text(base_url)
FLEET_LOCK_SERVER = _from_text(fleet_lock_url)
UNITS = Kind(_units, lambda text: _units([part.strip() for part in text.split(",")]))
TEXTS = Kind(_texts, lambda text: _texts([part.strip() for part in text.split(",")]))
SESSIONS = _one_of(INTERACTIVE, ALL, NONE)
FLEET_SERVERS = Kind(_fleet_servers, lambda text: _fleet_servers([url.strip() for url in text.split(",")]))
URLS = Kind(_endpoints, lambda text: _endpoints([url.strip() for url in text.split(",")]))
