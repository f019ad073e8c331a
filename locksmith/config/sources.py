"""The sources of settings: the file and its drop-ins, the environment, the flags. Each setting has its origin."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from locksmith.config.folders import DROP_INS
from locksmith.config.keys import FLAGS, KEYS, LENGTH, OLDER, RIVALS, SERVER_GROUPS, START, STRATEGY, TABLES, Key
from locksmith.config.problems import EVERYTHING, Problems
from locksmith.config.served_rules import refuse_fewer_rules
from locksmith.config.values import type_name
from locksmith.errors import HostError, UsageError
from locksmith.host.layered import Layered
from locksmith.host.trust import read_regular, refuse_changeable
from locksmith.util import limits

NO_KEY = "which has no key"
"""Ends the origin of the strategy `off` that a file without any key sets."""

_TOO_DEEP = re.compile(r"(?:[\w\"'-]{1,99}[ \t]{0,9}\.[ \t]{0,9}){64}")
"""A name of a table nested in so many others: the library's time grows faster than their square."""

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that was set; `origin` is its file, variable or flag."""

    key: Key[Any]
    value: object
    origin: str

    def refusal(self, problem: str) -> UsageError:
        """Give the error that names origin and key; `problem` follows the key's name."""
        return UsageError(f"{self.origin}: {self.key.name} {problem}")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, by the keys' names."""

    by_name: Mapping[str, Setting] = field(default_factory=dict)

    def of(self, key: Key[T]) -> Setting | None:
        """Give the setting of a key, if it was set at all."""
        return self.by_name.get(key.name)

    def value(self, key: Key[T], default: D) -> T | D:
        """Give the value of a key, or the default."""
        setting = self.of(key)
        return cast("T", setting.value) if setting else default  # the key's kind has read the value

    def together(self, one: Key[Any], other: Key[Any]) -> None:
        """Refuse one of two keys without the other."""
        for present, absent in ((one, other), (other, one)):
            setting = self.of(present)
            if setting and setting.value is not None and self.value(absent, None) is None:
                raise setting.refusal(f"is set without {absent.name}: set both or neither")

    def under(self, later: "Settings") -> "Settings":
        """Give these settings with later settings over them, key by key."""
        gone = {rival for name in later.by_name for rival in RIVALS.get(name, ())} - later.by_name.keys()
        kept = {name: setting for name, setting in self.by_name.items() if name not in gone}
        return Settings({**kept, **{name: _over(kept.get(name), setting) for name, setting in later.by_name.items()}})


def _over(earlier: Setting | None, later: Setting) -> Setting:
    """Give a setting over an earlier: in a table of tables each table is replaced by its name."""
    if earlier is None or not isinstance(earlier.value, dict) or not isinstance(later.value, dict):
        return later
    return Setting(later.key, {**earlier.value, **later.value}, later.origin)


def from_files(files: Sequence[Layered], problems: Problems) -> Settings:
    """Give the settings of the configuration's file and, over it, of its drop-ins.

    A file that cannot be read, or has an error, is a problem.
    """
    settings = Settings()
    for file in files:
        found = _from_file(file, problems)
        if not found.by_name and file.path.parent.name != DROP_INS:
            # An editor or a full disk may have emptied the file: a lock must not become the default, `reboot`, by that.
            found = _settings([Setting(STRATEGY, "off", f"{file.path}, {NO_KEY}")])
        problems.attempt(partial(_refuse_fewer_rules, settings, found), None)
        settings = settings.under(found)
    return settings


def _refuse_fewer_rules(earlier: Settings, later: Settings) -> None:
    before, after = earlier.of(SERVER_GROUPS), later.of(SERVER_GROUPS)
    if before and after:
        try:
            refuse_fewer_rules(before.value, after.value)
        except ValueError as error:
            raise after.refusal(str(error)) from None


def from_environment(environ: Mapping[str, str], variables: Mapping[str, Key[Any]], problems: Problems) -> Settings:
    """Read a program's variables; an empty variable counts as unset, as in CoreOS locksmith."""
    for name in sorted(environ):
        problems.attempt(lambda name=name: _refuse_unknown(name, environ, variables), None)  # type: ignore[misc]
    # Chosen first, then read: a variable that another overrides may have any value.
    chosen = {key.name: (key, variable) for variable, key in variables.items() if environ.get(variable)}
    read = [_read(key, key.kind.text, environ[variable], variable, problems) for key, variable in chosen.values()]
    settings = _settings(read)
    problems.check(lambda: _whole_window(settings), None, "window")
    return settings


def _refuse_unknown(name: str, environ: Mapping[str, str], variables: Mapping[str, Key[Any]]) -> None:
    """Refuse a variable that looks like one of the program's and would be ignored: a group, or a strategy."""
    prefixes = {known.partition("_")[0] for known in variables if known.startswith("LOCKSMITH")}
    prefix, underscore, _ = name.partition("_")
    if not underscore or prefix not in prefixes or name in variables or not environ[name]:
        return
    # Their common beginning makes any two of them look alike.
    own = {known.removeprefix(f"{prefix}_"): known for known in variables if known.startswith(prefix)}
    rest = name.removeprefix(f"{prefix}_")
    ends_so = [known for short, known in own.items() if short.endswith(f"_{rest}")]
    hint = f"did you mean {' or '.join(ends_so)}?" if ends_so else _near(rest, own, sorted(own), f"{prefix}_")
    raise UsageError(f"{name} is not a variable of the configuration: {hint}")


def from_flags(flags: Mapping[str, object], problems: Problems) -> Settings:
    """Read flags by their names (`etcd_cafile` is `etcd-cafile`); None, or a list of nothing, was not given."""
    given = {name.replace("_", "-"): value for name, value in flags.items() if value not in (None, (), [])}
    return _settings([_from_flag(name, value, problems) for name, value in given.items()])


def _settings(read: Iterable[Setting | None]) -> Settings:
    return Settings({setting.key.name: setting for setting in read if setting is not None})


def _from_flag(name: str, value: object, problems: Problems) -> Setting | None:
    key, origin = FLAGS[name], f"--{name}"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return _read(key, key.kind.text if isinstance(value, str) else key.kind.typed, value, origin, problems)


def _read(
    key: Key[Any], reader: Callable[[Any], object], value: object, origin: str, problems: Problems
) -> Setting | None:
    def setting() -> Setting:
        try:
            return Setting(key, reader(value), origin)
        except ValueError as error:
            raise UsageError(f"{origin}: {key.name} {error}") from None

    return problems.attempt_value(setting, key.name.partition(".")[0])


def _whole_window(settings: Settings) -> None:
    start, length = settings.of(START), settings.of(LENGTH)
    alone = start or length
    if alone and not (start and length):
        other = "_LENGTH" if start else "_START"
        raise UsageError(
            f"{alone.origin} is set without {alone.origin.rpartition('_')[0]}{other}: a window needs both, or neither"
        )


def _from_file(file: Layered, problems: Problems) -> Settings:
    path, found = file.path, list[Setting | None]()
    for name, value in _flat(problems.attempt_value(lambda: _toml(file), EVERYTHING) or {}):
        key = _known_or_none(name, value, path, problems)
        found += [_read(key, key.kind.typed, value, str(path), problems)] if key else []
    return _settings(found)


def _known_or_none(name: str, value: object, path: Path, problems: Problems) -> Key[Any] | None:
    return problems.attempt_value(lambda: _known(name, value, path), name.partition(".")[0])


def _toml(file: Layered) -> dict[str, Any]:
    path = file.path
    try:
        text = "" if file.is_mask else read_regular(path, limits.CONFIGURATION).decode()
        refuse_changeable(path, "the configuration")
    except HostError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    if not text.strip() and not file.is_mask and path.parent.name == DROP_INS:
        # A full disk leaves such a file too: the strategy that it had set must not be lost by that.
        raise UsageError(f"{path} is empty: write it again, or remove it; a link to /dev/null masks other files")
    too_deep = UsageError(f"{path} is not TOML that can be read: it is nested too deeply")
    if _TOO_DEEP.search(text):
        raise too_deep
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise too_deep from None
    except ValueError as error:  # bad TOML, bad UTF-8, a number of thousands of digits
        raise UsageError(f"{path} is not TOML: {error}") from None


def _flat(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if name in KEYS or not isinstance(value, dict) or not (value or name in TABLES):
            yield _plain(name), value
        else:
            yield from ((f"{_plain(name)}.{_plain(inner)}", held) for inner, held in value.items())


def _plain(name: str) -> str:
    """Quote a name with a dot, so that it does not look like a key of a table."""
    return f'"{name}"' if "." in name else name


def _known(name: str, value: object, path: Path) -> Key[Any]:
    if name in KEYS:
        return KEYS[name]
    if new := OLDER.get(name):
        raise UsageError(f"{path}: {name} is not a key of the configuration any more: write {new} instead")
    if name in TABLES:
        raise UsageError(f"{path}: {name} must be a table, not {type_name(value)}")
    hint = _near(name, KEYS if "." in name else [*KEYS, *TABLES], _siblings(name))
    raise UsageError(f"{path}: {name} is not a key of the configuration: {hint}")


def _near(name: str, known: Iterable[str], instead: list[str], prefix: str = "") -> str:
    """Suggest the nearest known names, or name those that there are."""
    import difflib  # noqa: PLC0415 - only for this error

    near = difflib.get_close_matches(name, list(known), cutoff=0.75)
    names = [f"{prefix}{one}" for one in near or instead]
    return f"did you mean {' or '.join(names)}?" if near else f"known are {', '.join(names)}"


def _siblings(name: str) -> list[str]:
    table, dot, _ = name.partition(".")
    if dot and table in TABLES:
        return [known for known in KEYS if known.startswith(f"{table}.")]
    return [known for known in KEYS if "." not in known] + [f"[{known}]" for known in sorted(TABLES)]


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be read: {error.strerror}")
