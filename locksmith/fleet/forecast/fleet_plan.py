"""The plan of a fleet as it is: its groups, their slots, machines and windows, as the store has them. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from locksmith.fleet.forecast.plan import GroupPlan
from locksmith.fleet.forecast.spread import Spread
from locksmith.fleet.group import GroupView
from locksmith.lock.records.event import HELD, REBOOTED, Event
from locksmith.window import window_set
from locksmith.window.window_set import WindowSet
from locksmith.window.windows import Windows

ENOUGH = 5
"""Reboots in the history that say how long one takes."""


def group_plan(view: GroupView, seen: Sequence[float], reboot: Spread) -> GroupPlan | None:
    """Make a group's plan; None: no machine of it is present.

    `seen` are the seconds for which its slots were held for reboots; `reboot` is for a group with too few of them.
    Machines of one group may have windows of their own: those that most of them have count.
    """
    if not view.machines:
        return None
    plan = GroupPlan(view.group or "(default)", len(view.machines), max(1, view.semaphore.max), windows=_windows(view))
    return replace(plan, reboot=Spread.of_seen(seen) if len(seen) >= ENOUGH else reboot)


def times_seen(events: Iterable[Event]) -> list[float]:
    """Give for how many seconds slots were held for reboots that came to their end."""
    return [
        max(0.0, (event.at - event.taken).total_seconds())
        for event in events
        if event.act == HELD and event.detail == REBOOTED and event.taken is not None
    ]


def _windows(view: GroupView) -> Windows | None:
    by_windows = Counter((node.windows, node.blackouts) for node in view.machines.values())
    [(texts, _)] = by_windows.most_common(1)
    return window_set.union([WindowSet.parse(*texts)])
