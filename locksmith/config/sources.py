"""The sources of settings: the file and its drop-ins, the environment, the flags. Each setting has its origin."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from locksmith.config.keys import FLAGS, KEYS, LENGTH, RIVALS, START, TABLES, Key
from locksmith.config.values import type_name
from locksmith.errors import HostError, UsageError
from locksmith.host.trust import read_regular, refuse_changeable
from locksmith.util import limits

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


def from_files(path: Path) -> Settings:
    """Give the settings of the configuration's file and, over it, of its drop-ins by their names.

    A missing file sets nothing. A file that cannot be read, or has an error, is a `UsageError`.
    """
    settings = Settings()
    for file in [*_present(path), *_drop_ins(path.with_name(f"{path.name}.d"))]:
        settings = settings.under(_from_file(file))
    return settings


def from_environment(environ: Mapping[str, str], variables: Mapping[str, Key[Any]]) -> Settings:
    """Read a program's variables; an empty variable counts as unset, as in CoreOS locksmith."""
    # Chosen first, then read: a variable that another overrides may have any value.
    chosen = {key.name: (key, variable) for variable, key in variables.items() if environ.get(variable)}
    settings = Settings(
        {name: _read(key, key.kind.text, environ[variable], variable) for name, (key, variable) in chosen.items()}
    )
    _whole_window(settings)
    return settings


def from_flags(flags: Mapping[str, object]) -> Settings:
    """Read flags by their names (`etcd_cafile` is `etcd-cafile`); None, or a list of nothing, was not given."""
    given = {name.replace("_", "-"): value for name, value in flags.items() if value not in (None, (), [])}
    return Settings({FLAGS[name].name: _from_flag(name, value) for name, value in given.items()})


def _from_flag(name: str, value: object) -> Setting:
    key, origin = FLAGS[name], f"--{name}"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return _read(key, key.kind.text if isinstance(value, str) else key.kind.typed, value, origin)


def _read(key: Key[Any], reader: Callable[[Any], object], value: object, origin: str) -> Setting:
    try:
        return Setting(key, reader(value), origin)
    except ValueError as error:
        raise UsageError(f"{origin}: {key.name} {error}") from None


def _whole_window(settings: Settings) -> None:
    start, length = settings.of(START), settings.of(LENGTH)
    alone = start or length
    if alone and not (start and length):
        other = "_LENGTH" if start else "_START"
        raise UsageError(
            f"{alone.origin} is set without {alone.origin.rpartition('_')[0]}{other}: a window needs both, or neither"
        )


def _present(path: Path) -> list[Path]:
    # A link without a target is an error: it is kept here, so that reading it fails.
    try:
        return [path] if path.is_symlink() or path.exists() else []
    except OSError as error:
        raise _unreadable(path, error) from None


def _drop_ins(folder: Path) -> list[Path]:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from None
    return [folder / name for name in names if name.endswith(".toml") and not name.startswith(".")]


def _from_file(path: Path) -> Settings:
    entries = ((_known(name, value, path), value) for name, value in _flat(_toml(path)))
    return Settings({key.name: _read(key, key.kind.typed, value, str(path)) for key, value in entries})


def _toml(path: Path) -> dict[str, Any]:
    try:
        text = read_regular(path, limits.CONFIGURATION).decode()
        refuse_changeable(path, "the configuration")
    except HostError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
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
    if name in TABLES:
        raise UsageError(f"{path}: {name} must be a table, not {type_name(value)}")
    import difflib  # noqa: PLC0415 - only for this error

    near = difflib.get_close_matches(name, KEYS if "." in name else [*KEYS, *TABLES], cutoff=0.75)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(_siblings(name))}"
    raise UsageError(f"{path}: {name} is not a key of the configuration: {hint}")


def _siblings(name: str) -> list[str]:
    table, dot, _ = name.partition(".")
    if dot and table in TABLES:
        return [known for known in KEYS if known.startswith(f"{table}.")]
    return [known for known in KEYS if "." not in known] + [f"[{known}]" for known in sorted(TABLES)]


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be read: {error.strerror}")
