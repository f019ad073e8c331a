"""The calls of the API and their parameters: what is read of a request, and what its description says. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from locksmith.lock.history import MOST
from locksmith.lock.records.event import (
    ENROLLED,
    EXPIRE,
    FORGET,
    FREEZE,
    HELD,
    HOLD,
    IMPORT_AIRLOCK,
    LOCK,
    REBOOTED,
    REINSTATED,
    REPAIR,
    RESUME,
    RETIRE,
    REVOKED,
    SET_MAX,
    THAW,
    UNHOLD,
    UNLOCK,
)
from locksmith.util.records import parse_moment
from locksmith.util.text import cut, printable

VERSION: Final = "/api/v1"
DEFAULT_GROUP: Final = "(default)"
"""The name of the default group in an address."""
LONGEST_VALUE: Final = 300
"""Characters of a parameter."""
MOST_MACHINES: Final = 10_000
"""Machines in an answer."""
EVENTS: Final = (
    *(HELD, REBOOTED, LOCK, UNLOCK, SET_MAX, RETIRE, REPAIR, FREEZE, THAW, HOLD, UNHOLD, RESUME, EXPIRE, FORGET),
    *(IMPORT_AIRLOCK, ENROLLED, REVOKED, REINSTATED),
)
"""What the history may be searched for; `rebooted` are those `held` that ended with a reboot."""
PENDING, ALL = "pending", "all"


class BadQueryError(ValueError):
    """A query that cannot be read: one sentence."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query: its schema in the description, and how it is read.

    `ValueError` of `read`: what the error says after its name.
    """

    name: str
    says: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A call: its path, what it says, the schema of its answer, and its parameters."""

    path: str
    says: str
    answer: str
    parameters: tuple[Parameter, ...] = ()


def read_query(endpoint: Endpoint, given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read the parameters of a request. `BadQueryError`: one is unknown, twice there, too long, or cannot be read."""
    known = {one.name: one for one in endpoint.parameters}
    found: dict[str, Any] = {}
    for name, value in given:
        if name not in known:
            has = f"known are {', '.join(known)}" if known else "this call has none"
            raise BadQueryError(f"there is no parameter {_shown(name)}: {has}")
        if name in found:
            raise BadQueryError(f"the parameter {name} is there twice")
        if len(value) > LONGEST_VALUE:
            raise BadQueryError(f"the parameter {name} is longer than {LONGEST_VALUE} characters")
        try:
            found[name] = known[name].read(value)
        except ValueError as error:
            raise BadQueryError(f"the parameter {name} {error}, not {_shown(value)}") from None
    return found


def _shown(text: str) -> str:
    return repr(cut(printable(text), 60))


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= most:
            raise ValueError(f"must be a number from 1 to {most}")
        return int(text)

    return read


def _moment(text: str) -> datetime:
    try:
        # A client that does not escape its plus sign sends a space.
        return parse_moment(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise ValueError("must be a moment like 2026-12-24T18:30:00Z") from None


def _event_cursor(text: str) -> str:
    at, _, number = text.partition("~")
    try:
        parse_moment(at)
    except ValueError:
        at = ""
    if not at or not re.fullmatch("[0-9]{1,6}", number):
        raise ValueError("must be the `next` of another answer")
    return text


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return read


def _text(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _limit(most: int, default: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter("limit", f"How many at most ({default}).", schema, _number(most))


_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": LONGEST_VALUE}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_CURSOR: Final = Parameter("cursor", "Go on after another answer: its `next`.", _TEXT, _text)
_FROM: Final = Parameter("from", "Only what is not before this moment.", _MOMENT, _moment)
_TO: Final = Parameter("to", "Only what is before this moment.", _MOMENT, _moment)

GROUPS: Final = Endpoint("/groups", "All groups, in numbers.", "Groups")
GROUP: Final = Endpoint("/groups/{group}", "A group: its slots, holders, queue, orders, windows and rollout.", "Group")
MACHINES: Final = Endpoint(
    "/groups/{group}/machines",
    "The machines of a group that are present or remembered, by their ids.",
    "Machines",
    (
        Parameter("state", "Only machines that are present and in this state.", _TEXT, _text),
        Parameter("name", "Only machines with this text in their id or host name, in any case.", _TEXT, _text),
        _limit(MOST_MACHINES, 1000),
        _CURSOR,
    ),
)
MACHINE: Final = Endpoint(
    "/groups/{group}/machines/{machine}", "A machine, and the sentences that say why it does not reboot.", "Machine"
)
HISTORY: Final = Endpoint(
    "/groups/{group}/history",
    "What has happened in a group in the last 30 days: the youngest events, the oldest of them first.",
    "History",
    (
        Parameter("machine", "Only what is about this machine: an id, its beginning, or a host name.", _TEXT, _text),
        Parameter(
            "event",
            "Only events of this kind; `rebooted` are those `held` that ended with a reboot.",
            {"enum": list(EVENTS)},
            _one_of(*EVENTS),
        ),
        _FROM,
        _TO,
        _limit(MOST, 100),
        replace(_CURSOR, read=_event_cursor),
    ),
)
TIMELINE: Final = Endpoint(
    "/groups/{group}/timeline",
    "Which slots were held when, and whether their machines were down (the last 24 hours).",
    "Timeline",
    (_FROM, _TO),
)
FORECAST: Final = Endpoint(
    "/groups/{group}/forecast",
    "When the rollout of a group will be done, what limits it, and what would help; it may be a minute old.",
    "Forecast",
    (
        Parameter(
            "of",
            "The machines that need a reboot (`pending`), or each machine that is present (`all`).",
            {"enum": [PENDING, ALL], "default": PENDING},
            _one_of(PENDING, ALL),
        ),
    ),
)
OPENAPI: Final = Endpoint("/openapi.json", "This description.", "Description")

ENDPOINTS: Final = (GROUPS, GROUP, MACHINES, MACHINE, HISTORY, TIMELINE, FORECAST, OPENAPI)
