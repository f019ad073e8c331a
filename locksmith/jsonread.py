"""Untrusted JSON, read with types, and with the path in the error."""

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
MISSING: Any = object()


class BadJsonError(ValueError):
    """JSON that is not what it must be; its text says where."""


def load_object(raw: bytes | str) -> dict[str, Any]:
    """Read one JSON object; a name that appears twice, NaN and what is beyond the largest number are refused."""
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
    """Take the field `name` of type `kind`; absent, the default, or an error where there is none.

    A boolean is no number, though Python thinks so.
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
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadJsonError(f"the field {twice!r} appears twice")
    return obj


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


def _name(value: Any) -> str:
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)
