"""Untrusted JSON: values with checked types, and errors that name the field."""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from locksmith.errors import LocksmithError
from locksmith.util import limits
from locksmith.util.text import cut, plain

T = TypeVar("T")
MISSING: Any = object()


class BadJsonError(LocksmithError, ValueError):
    """Cannot be read: JSON that is not what it must be. The text says where, and has at most 400 characters."""

    def __init__(self, problem: str) -> None:
        super().__init__(cut(plain(problem), _LONGEST_PROBLEM))


_LONGEST_PROBLEM = 400


def load_record(raw: bytes, most: int) -> dict[str, Any]:
    """Read one JSON object of at most so many bytes, and of a depth at which it can be written again."""
    if len(raw) > most:
        raise BadJsonError(f"it has {len(raw)} bytes, and at most {most} are read")
    value = load_object(raw)
    check_depth(value, raw)
    return value


def check_depth(value: Any, raw: bytes) -> None:
    """Refuse a value that is too deep to be written, as JSON or for a person.

    Python's own bound is lower in a deeper call: a value that was read there could not be written here.
    """
    # Most records have fewer brackets in all than may be nested.
    if raw.count(b"{") + raw.count(b"[") > limits.DEEPEST and _depth(value) > limits.DEEPEST:
        raise BadJsonError(f"it has more than {limits.DEEPEST} lists or objects within one another")


def check_plain(value: Any) -> None:
    """Refuse a whole number of more than 64 bits, and a text that is no Unicode: no store takes them."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
        elif isinstance(one, int) and not -(2**63) <= one < 2**63:
            raise BadJsonError("a whole number has more than 64 bits")
        elif isinstance(one, str) and not _is_unicode(one):
            raise BadJsonError("a text has half of a surrogate pair")


def load_object(raw: bytes | str) -> dict[str, Any]:
    """Read one JSON object. A name that appears twice, NaN, and a number beyond the largest are refused."""
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        value = _DECODER.decode(text)
    except BadJsonError:
        raise
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadJsonError(f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadJsonError(f"a JSON object is needed, not {_name(value)}")
    return value


def read(obj: dict[str, Any], name: str, kind: type[T], default: T = MISSING) -> T:
    """Give the field `name` of type `kind`; if it is absent, the default; without a default, an error.

    A boolean is no number here, unlike in Python.
    """
    value = obj.get(name, MISSING)
    if value is MISSING:
        if default is MISSING:
            raise BadJsonError(f"the field {name!r} is missing")
        return default
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = _finite(str(value))
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadJsonError(f"the field {name!r} must be {_KINDS.get(kind, kind.__name__)}, not {_name(value)}")
    return value


def convert(name: str, text: str, parse: Callable[[str], T]) -> T:
    """Parse the text of a field; a `ValueError` of the parser becomes a `BadJsonError` with the field's name."""
    try:
        return parse(text)
    except ValueError as error:
        raise BadJsonError(f"the field {name!r}: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    obj = dict(pairs)
    if len(obj) != len(pairs):
        raise BadJsonError(f"the field {twice(name for name, _ in pairs)!r} appears twice")
    return obj


def twice(names: Iterable[str]) -> str | None:
    """Give the first name that appears a second time; None: none does."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _depth(value: Any) -> int:
    """Count the nested lists and objects, level by level: recursion would have another limit."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = (held.values() if isinstance(held, dict) else held for held in level if isinstance(held, dict | list))
        level = [held for values in inner for held in values if isinstance(held, dict | list)]
    return depth


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadJsonError(f"the number {text:.20} is too large")
    return number


def _no_constant(text: str) -> Any:
    raise BadJsonError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)

_KINDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def shown(value: Any) -> str:
    """Name a value for an error. A list or an object has its kind only: it may be deeper than Python can write."""
    return _name(value) if isinstance(value, list | dict) else f"{value!r:.80}"


def _name(value: Any) -> str:
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)
