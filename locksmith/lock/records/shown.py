"""Records as people are shown them: their texts name no command. Pure.

What decides about the lock reads the records themselves.
"""

from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

from locksmith.util.text import plain

T = TypeVar("T")

_IDS = frozenset({"machine_id", "holder", "nonce", "claim"})
"""Fields by which records are found, or belong together."""


def shown(record: T) -> T:
    """Give a record, or what was read from one, with each text `plain`; ids stay as they are."""
    texts = {}
    kind: Any = type(record)
    for name in _names(kind):
        value = getattr(record, name)
        if value and (text := _plain(value)) is not value and not (name in _IDS and type(value) is str):
            texts[name] = text
    return replace(record, **texts) if texts else record  # type: ignore[type-var] # it has fields


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def _plain(value: Any) -> Any:
    """Give the value itself if it has no backquote."""
    if type(value) is str:
        return plain(value) if "`" in value else value
    if type(value) is tuple:
        found = tuple(map(_plain, value))
        return found if found != value else value
    return shown(value) if is_dataclass(value) else value
