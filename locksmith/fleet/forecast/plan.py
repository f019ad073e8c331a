"""The plan of a rollout: groups, machines, slots, windows, how long a reboot takes, how often it fails. Pure.

start = "2026-12-01T12:00"

[groups.db]
machines = 300
slots = 2                  # or a share: "10%"
reboot = "90s..4m"         # "2m", "90s..4m" (each alike), "3m+-30s" (normal)
health = "20s"
failure = "0.5%"

[groups.db.window]
open = ["Mon..Fri 02:00 for 3h"]
zone = "Europe/Berlin"
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from locksmith.errors import UsageError
from locksmith.fleet.forecast.spread import NOTHING, Spread
from locksmith.lock.records.incident import FIRST, HaltAfter, parse_halt_after
from locksmith.window import window_set
from locksmith.window.calendar import in_zone
from locksmith.window.duration import parse_duration
from locksmith.window.window_set import WindowSet
from locksmith.window.windows import Windows

T = TypeVar("T")

MOST_MACHINES = 1_000_000
_SHARE = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?%")


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """One group. `slots` is a number, of a `share` in percent; `failure` how likely a reboot goes wrong (0 to 1).

    Spans are in seconds.

    `repair` is how long a machine that came up sick keeps its slot, until an operator's `resume`.
    `arrives`: over how long the machines come to need the reboot. `least` of a window must be left when one begins.
    """

    name: str
    machines: int
    slots: int
    reboot: Spread = Spread(180.0, 180.0)  # noqa: RUF009 - immutable
    health: Spread = NOTHING
    hooks: Spread = NOTHING
    failure: float = 0.0
    repair: Spread = Spread(8 * 3600.0, 8 * 3600.0)  # noqa: RUF009 - immutable
    halt_after: HaltAfter = FIRST
    spacing: float = 0.0
    arrives: float = 0.0
    windows: Windows | None = None
    least: timedelta = timedelta(0)
    share: Decimal | None = None

    @property
    def halts_at(self) -> int | None:
        """How many machines that went wrong halt the group; None: it never halts."""
        return self.halt_after.of(self.machines)


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """A rollout from `start` (aware) on."""

    start: datetime
    groups: tuple[GroupPlan, ...]


def parse_plan(text: str, now: datetime) -> RolloutPlan:
    """Read a plan; `now` is its start where it names none, and its zone. `UsageError` names what cannot be used."""
    try:
        fields = tomllib.loads(text)
    except RecursionError:
        raise UsageError("the plan is not TOML that can be read: it is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"the plan is not TOML: {error}") from None
    _known(fields, {"start", "groups"}, "the plan")
    groups = fields.get("groups")
    if not isinstance(groups, dict) or not groups:
        raise UsageError("the plan has no group: write [groups.NAME] with machines and slots")
    return RolloutPlan(_start(fields.get("start"), now), tuple(_group(name, table) for name, table in groups.items()))


def _start(value: object, now: datetime) -> datetime:
    if value is None:
        return now
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise UsageError(f"start must be a time like 2026-12-01T12:00, not {str(value)!r}") from None
    try:
        return in_zone(at, now.tzinfo or UTC)
    except ValueError as error:
        raise UsageError(f"start {at}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Table:
    """A group's table, read key by key; `where` names it in errors."""

    where: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def read(self, name: str, parse: Callable[[str], T], default: T) -> T:
        value = self.fields.get(name)
        if value is None:
            return default
        try:
            return parse(str(value))
        except ValueError as error:
            raise UsageError(f"{self.where}.{name}: {error}") from None


def _group(name: str, fields: object) -> GroupPlan:
    if not name or not name.isprintable():
        raise UsageError(f"a group needs a name that can be printed, not {name!r}")
    where = f"groups.{name}"
    if not isinstance(fields, dict):
        raise UsageError(f"{where} must be a table")
    _known(fields, _KEYS, where)
    table = _Table(where, fields)
    for needed in ("machines", "slots"):
        if needed not in fields:
            raise UsageError(f"{where}.{needed} is missing")
    machines = table.read("machines", _count, 1)
    one: tuple[int, Decimal | None] = (1, None)
    slots, share = table.read("slots", lambda text: _slots(text, machines), one)
    plain = GroupPlan(name, machines, slots, share=share)
    windows, least = _windows(where, fields.get("window", {}))
    return replace(
        plain,
        reboot=table.read("reboot", Spread.parse, plain.reboot),
        health=table.read("health", Spread.parse, plain.health),
        hooks=table.read("hooks", Spread.parse, plain.hooks),
        failure=table.read("failure", lambda text: float(_percent(text) / 100), plain.failure),
        repair=table.read("repair", Spread.parse, plain.repair),
        halt_after=table.read("halt-after", parse_halt_after, plain.halt_after),
        spacing=table.read("spacing", _span, plain.spacing),
        arrives=table.read("arrives", _span, plain.arrives),
        windows=windows,
        least=least,
    )


def _windows(where: str, fields: object) -> tuple[Windows | None, timedelta]:
    if not isinstance(fields, dict):
        raise UsageError(f"{where}.window must be a table")
    _known(fields, {"open", "blackouts", "zone", "min-remaining"}, f"{where}.window")
    try:
        read = WindowSet.parse(_texts(fields, "open"), _texts(fields, "blackouts"), str(fields.get("zone", "")))
        least = timedelta(seconds=_span(str(fields.get("min-remaining", "0s"))))
    except (UsageError, ValueError) as error:
        raise UsageError(f"{where}.window: {error}") from None
    return window_set.union([read]), least


def _texts(fields: dict[str, Any], name: str) -> list[str]:
    value = fields.get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list of strings")  # noqa: TRY004 - one kind of error for all readers
    return [str(text) for text in value]


def _known(fields: Mapping[str, Any], names: set[str], where: str) -> None:
    for name in fields.keys() - names:
        near = difflib.get_close_matches(name, names)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(names))}"
        raise UsageError(f"{where} has {name!r}, which is no key of it: {hint}")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_MACHINES:
        raise ValueError(f"must be a whole number from 1 to {MOST_MACHINES}, not {text}")
    return int(text)


def slots_of_share(percent: Decimal, machines: int) -> int:
    """Give the slots that a share makes: rounded down, at least one, as everywhere (`Share.of`)."""
    return max(1, int(percent * machines / 100))


def _slots(text: str, machines: int) -> tuple[int, Decimal | None]:
    if not text.endswith("%"):
        return _count(text), None
    if not (share := _percent(text)):
        raise ValueError("must be more than 0%: without a slot nothing reboots")
    return slots_of_share(share, machines), share


def _percent(text: str) -> Decimal:
    if not _SHARE.fullmatch(text) or Decimal(text[:-1]) > 100:  # noqa: PLR2004 - percent
        raise ValueError(f"must be a share from 0% to 100%, like 2.5%, not {text}")
    return Decimal(text[:-1])


def _span(text: str) -> float:
    seconds = parse_duration(text).total_seconds()
    if seconds < 0:
        raise ValueError(f"{text!r} is less than nothing")
    return seconds


_KEYS = {
    *("machines", "slots", "reboot", "health", "hooks", "failure", "repair", "halt-after", "spacing", "arrives"),
    "window",
}
