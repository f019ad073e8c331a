"""What wanted a reboot, as records name it. Pure, and its JSON."""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from locksmith.util import jsonread

OPERATOR = "operator"
"""The trigger of an operator's request. Also the cause of a reboot that `locksmithctl` made."""

MOST_CAUSES = 8
"""The causes of a reboot that are remembered: the first are the most important."""
_LONGEST = 100


class Cause(NamedTuple):
    """What wanted a reboot: a trigger (empty: an earlier version did not say), and the version that it named."""

    trigger: str
    version: str


def cause_of(trigger: str, version: str) -> Cause:
    """Make a cause that is short enough for a record: a long version is known by its digest."""
    return Cause(short(trigger), short(version))


def causes_of(pairs: Iterable[tuple[str, str]]) -> tuple[Cause, ...]:
    """Make the causes of a reboot from triggers and versions, the most important first."""
    return tuple(dict.fromkeys(cause_of(*pair) for pair in pairs))[:MOST_CAUSES]


def encode_causes(causes: Iterable[Cause]) -> list[list[str]]:
    """Give the causes for JSON."""
    return [[one.trigger, one.version] for one in causes]


def read_causes(fields: dict[str, Any]) -> tuple[Cause, ...]:
    """Read the field `causes`, if it is there; `BadJsonError`: it is no list of causes."""
    read = jsonread.read(fields, "causes", list, [])
    for pair in read:
        if not isinstance(pair, list) or [type(text) for text in pair] != [str, str]:
            raise jsonread.BadJsonError("the field 'causes' must be a list of pairs: a trigger and a version")
    return causes_of((trigger, version) for trigger, version in read)


def short(text: str) -> str:
    """Give a text as it is, or the digest of one that is too long for a record, as JSON writes it."""
    escaped = text.count('"') + text.count("\\")
    if text.isascii() and text.isprintable() and len(text) + escaped <= _LONGEST:
        return text
    return f"sha256:{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:32]}"
