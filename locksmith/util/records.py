"""The common parts of all records: their schema number, their JSON, and times as text."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from locksmith.util import jsonread
from locksmith.util.secret import redacted

SCHEMA = 1

_IDS = {"holder", "hostname", "nonce", "boot_id", "instance", "hardware", "claim", "clone", "clone_boot", "twin_boot"}
_WORDS = {"kind", "state", "code", "act", "how", "group", "strategy", "need", "who", "cluster", "replaces", "system"}
_CREDENTIALS = {"role", "digest", "groups", "source", "proof"}
DECIDING: Final = frozenset(_IDS | _WORDS | _CREDENTIALS | {"zone", "open", "percent", "halt_after"})
"""The fields by which machines decide. They have no text of other programs, and stay as they are."""


def dump(fields: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> bytes:
    """Write a record as JSON, without secrets; `extra` are the fields of a later version, as they were read."""
    return json.dumps({**(extra or {}), **redacted(fields, DECIDING)}, separators=(",", ":")).encode()


def moment(when: datetime) -> str:
    """Write a moment for people and for records: UTC, to the second."""
    return f"{when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def parse_moment(text: str) -> datetime:
    """Read an ISO 8601 moment with its offset. `ValueError`: it is something else, or has no time in UTC."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    try:
        return when.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the calendar") from None


def optional_moment(when: datetime | None) -> str:
    """Write a moment; None: an empty text."""
    return moment(when) if when else ""


def read_moment(fields: dict[str, Any], name: str) -> datetime:
    """Read the moment of a field, or raise `BadJsonError`."""
    return jsonread.convert(name, jsonread.read(fields, name, str), parse_moment)


def read_optional_moment(fields: dict[str, Any], name: str) -> datetime | None:
    """Read the moment of a field that may be missing or empty, or raise `BadJsonError`."""
    text = jsonread.read(fields, name, str, "")
    return jsonread.convert(name, text, parse_moment) if text else None
