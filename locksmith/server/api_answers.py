"""What the API answers, from what was read of a group. Pure.

Each answer is of the moment at which the store was read, so it stays the same until the store is read again. Only the
sentences about a machine are of now.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from locksmith.errors import LocksmithError
from locksmith.fleet.case import case
from locksmith.fleet.explain import explain
from locksmith.fleet.fields import (
    case_fields,
    group_fields,
    holder_fields,
    member_fields,
    order_fields,
    waiter_fields,
)
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import holder_statuses
from locksmith.fleet.lookup import find, known_names
from locksmith.fleet.past import Past, began, named, of_machine, past_fields
from locksmith.fleet.progress import progress, progress_fields
from locksmith.fleet.timeline import complete_from, timeline, timeline_fields
from locksmith.fleet.window_fields import Asked, window_fields
from locksmith.lock.history import KEPT, MOST
from locksmith.lock.records.event import HELD, REBOOTED, Event
from locksmith.lock.records.incident import HaltAfter, halts
from locksmith.lock.records.node import Node
from locksmith.server.api_endpoints import DEFAULT_GROUP, VERSION
from locksmith.util import records
from locksmith.util.commands import naming_group
from locksmith.window import window_set
from locksmith.window.window_set import WindowSet

MOST_WAITERS: Final = 100
MOST_WINDOWS: Final = 10
NEXT_OPENINGS: Final = 3
TIMELINE_SPAN: Final = timedelta(hours=24)
LONGEST_TIMELINE: Final = timedelta(days=31)


class NotFoundError(Exception):
    """There is no such group or machine, or a name means several: one sentence."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of a group: its view, the youngest events of its history, and why it is stale (empty: it is not).

    `halt_after` is what the server's configuration says, and `prefix` the path below which clients find the API.
    """

    view: GroupView
    events: Sequence[Event]
    stale: str
    halt_after: HaltAfter
    prefix: str = ""

    @property
    def at(self) -> datetime:
        """When it was read."""
        return self.view.at or datetime.now(UTC)

    @property
    def head(self) -> dict[str, object]:
        """Begin an answer."""
        return {
            "schema": records.SCHEMA,
            "revision": self.view.revision,
            "at": records.moment(self.at),
            "stale": self.stale or None,
        }

    @property
    def is_halted(self) -> bool:
        """Whether no machine of the group may reboot, because reboots went wrong."""
        return halts(self.view.incidents(self.at), self.halt_after.of(len(self.view.machines)))


def group_path(group: str, prefix: str) -> str:
    """Give the address of a group, below the path of the API."""
    return f"{prefix}{VERSION}/groups/{quote(group or DEFAULT_GROUP, safe='')}"


def sums(seen: Seen) -> dict[str, object]:
    """Give a group in numbers."""
    head = {name: value for name, value in seen.head.items() if name != "schema"}
    return {
        **group_fields(seen.view, seen.at),
        "halted": seen.is_halted,
        "progress": progress_fields(progress(seen.view, seen.events)),
        "path": group_path(seen.view.group, seen.prefix),
        **head,
    }


def group(seen: Seen) -> dict[str, object]:
    """Give a group, without its machines."""
    view = seen.view
    return {
        **seen.head,
        **sums(seen),
        "holders": [holder_fields(one) for one in holder_statuses(view)],
        "waiters": [waiter_fields(one) for one in view.waiters[:MOST_WAITERS]],
        "windows": _windows(seen),
        "absent": len(view.absent),
        "problems": [str(problem) for problem in view.problems],
    }


def _windows(seen: Seen) -> list[dict[str, Any]]:
    asked = Asked(seen.at, UTC, NEXT_OPENINGS, timedelta(0))
    by_windows = Counter((node.windows, node.blackouts) for node in seen.view.machines.values())
    found = []
    for texts, machines in by_windows.most_common(MOST_WINDOWS):
        try:
            fields = window_fields("", window_set.union([WindowSet.parse(*texts)]), asked)
        except (LocksmithError, ValueError):  # of a later version
            continue
        found.append({"machines": machines, **{name: fields[name] for name in fields if name not in {"of", "month"}}})
    return found


@dataclass(frozen=True, slots=True)
class MachinePage:
    """Some machines of a group: those present and those remembered; `next` is the last id if more follow."""

    nodes: Sequence[Node]
    absent: Sequence[str]
    next: str | None


def machine_page(view: GroupView, query: Mapping[str, Any], default: int = 1000) -> MachinePage:
    """Give the machines that a query asks for, by their ids."""
    state, text, after = query.get("state"), query.get("name", "").casefold(), query.get("cursor", "")
    limit = query.get("limit", default)
    there: dict[str, str] = {} if state is not None else {one: held.hostname for one, held in view.absent.items()}
    there |= {one: node.hostname for one, node in view.machines.items() if state is None or node.state == state}
    ids = sorted(
        one
        for one, name in there.items()
        if one > after and (not text or text in one.casefold() or text in name.casefold())
    )
    shown = ids[:limit]
    return MachinePage(
        [view.machines[one] for one in shown if one in view.machines],
        [one for one in shown if one not in view.machines],
        shown[-1] if len(ids) > limit else None,
    )


def machine(seen: Seen, wanted: str, now: datetime) -> dict[str, object]:
    """Give a machine, and why it does not reboot; `now` is aware, in the zone of the sentences. `NotFoundError`."""
    view = seen.view
    machine_id = _machine_id(view, wanted)
    found = case(view, machine_id, now, seen.halt_after)
    hold, member = view.holds.get(machine_id), view.absent.get(machine_id)
    return {
        **seen.head,
        **case_fields(found, [naming_group(sentence, view.group) for sentence in explain(found)]),
        "absent": member_fields(member) if member else None,
        "hold": order_fields(hold) if hold else None,
    }


def _machine_id(view: GroupView, wanted: str) -> str:
    if wanted in view.machines or wanted in view.absent or wanted in view.semaphore.holders:
        return wanted
    found = find(view, wanted)
    if not found:
        raise NotFoundError(f"no machine of the group is called {wanted!r}, nor has an id that begins so")
    if len(found) > 1:
        some = ", ".join(one.machine_id for one in found[:5])
        raise NotFoundError(f"{wanted!r} may mean {len(found)} machines: ask by id, such as {some}")
    return found[0].machine_id


def history(seen: Seen, query: Mapping[str, Any]) -> dict[str, object]:
    """Give the youngest events that a query asks for, the oldest first, and who holds a slot. `NotFoundError`.

    The cursor of older ones is the moment of the oldest event here, and how many of that moment were given. Who holds
    a slot is on the first page alone.
    """
    past = Past([*seen.events], sorted(seen.view.claims.items(), key=began))
    if wanted := query.get("machine"):
        found = named(past.events, wanted, known_names(seen.view))
        if len(found) != 1:
            what = (
                f"may mean {len(found)} machines: ask by id" if found else "is no machine of the group or its history"
            )
            raise NotFoundError(f"{wanted!r} {what}")
        past = of_machine(past, found[0].machine_id)
    every = [one for one in past.events if _matches(one, query)]
    cursor = query.get("cursor")
    matching = _before(every, cursor) if cursor else every
    limit = query.get("limit", 100)
    shown = matching[-limit:]
    fields = past_fields(Past(shown, past.holds if not cursor else []), seen.at)
    following = _cursor(every, shown[0]) if len(matching) > limit else None
    return {**seen.head, "group": seen.view.group, **fields, "next": following}


def _matches(event: Event, query: Mapping[str, Any]) -> bool:
    begin, end, kind = query.get("from"), query.get("to"), query.get("event")
    if (begin and event.at < begin) or (end and event.at >= end):
        return False
    if kind == REBOOTED:
        return event.act == HELD and event.detail == REBOOTED
    return kind is None or event.act == kind


def _cursor(every: Sequence[Event], oldest: Event) -> str:
    """Say where to go on: events of one second may be on both sides."""
    same = [one for one in every if one.at == oldest.at]
    given = len(same) - next(place for place, one in enumerate(same) if one is oldest)
    return f"{records.moment(oldest.at)}~{given}"


def _before(every: Sequence[Event], cursor: str) -> list[Event]:
    text, _, number = cursor.partition("~")
    at, given = records.parse_moment(text), int(number)
    same = [one for one in every if one.at == at]
    return [*(one for one in every if one.at < at), *same[: max(0, len(same) - given)]]


def timeline_of(seen: Seen, query: Mapping[str, Any]) -> dict[str, object]:
    """Give the holds between two moments. `ValueError`: they are in the wrong order, or too far from each other."""
    end = min(query.get("to", seen.at), seen.at)
    begin = query.get("from", end - TIMELINE_SPAN)
    if begin >= end:
        raise ValueError(f"the timeline would end before it begins, at {records.moment(begin)}")
    if end - begin > LONGEST_TIMELINE:
        raise ValueError(f"a timeline has at most {LONGEST_TIMELINE.days} days")
    kept_from = complete_from(seen.events, seen.at, timedelta(seconds=KEPT), MOST)
    return {**seen.head, **timeline_fields(timeline(seen.view, seen.events, begin, end, kept_from))}
