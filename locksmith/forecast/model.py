"""A reduced model of a rollout, fast enough for a hundred thousand machines. Pure.

A machine at the head of the line takes a slot when one is free, the group is neither halted nor in its pause, and a
window is open with enough left; it holds the slot for its hooks, its reboot and its proof of health. One that fails
keeps the slot until it is repaired. What it leaves out: the hand-over itself (milliseconds), etcd, inhibitors, users,
alerts, checks, tries that are called off, machines of the original beside ours, and what operators do but repair.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from locksmith.errors import UsageError
from locksmith.forecast.plan import GroupPlan

LONGEST = timedelta(days=3650)


@dataclass(slots=True)
class GroupRun:
    """How one run of a group went; moments are Unix times.

    `openings`: in how many of its windows a reboot began. `reboots` are (begin, end, whether it failed); `end` of one
    that failed is when it was repaired.
    """

    plan: GroupPlan
    began: float
    ended: float
    most: int = 0
    openings: int = 0
    failed: int = 0
    reboots: list[tuple[float, float, bool]] = field(default_factory=list)

    def counts(self, at: float) -> tuple[int, int, int, int]:
        """Count the machines at a moment: that wait, are down, have failed, are done."""
        down = sum(begin <= at < end for begin, end, failed in self.reboots if not failed)
        sick = sum(begin <= at < end for begin, end, failed in self.reboots if failed)
        done = sum(end <= at for _, end, _ in self.reboots)
        return self.plan.machines - down - sick - done, down, sick, done


def run_group(plan: GroupPlan, start: datetime, rng: Random, *, keep: bool = False) -> GroupRun:
    """Run a group once; `keep` its reboots, for a picture. `UsageError`: it would never end."""
    doors, began = _Doors(plan, start), start.timestamp()
    run = GroupRun(plan, began, began)
    busy: list[float] = []
    sick: deque[tuple[float, float]] = deque()
    last, opening = -math.inf, -1
    arrivals = sorted(began + rng.random() * plan.arrives for _ in range(plan.machines)) if plan.arrives else None
    for number in range(plan.machines):
        at = max(arrivals[number] if arrivals else began, last + plan.spacing, last)
        at = _permitted(at, plan, busy, sick, doors)
        if doors.index != opening:
            opening, run.openings = doors.index, run.openings + 1
        last, end = at, at + plan.hooks.draw(rng) + plan.reboot.draw(rng) + plan.health.draw(rng)
        failed = rng.random() < plan.failure
        if failed:
            run.failed += 1
            seen, end = end, end + plan.repair.draw(rng)
            sick.append((seen, end))
        heapq.heappush(busy, end)
        run.most = max(run.most, len(busy))
        run.ended = max(run.ended, end)
        if keep:
            run.reboots.append((at, end, failed))
    return run


def _permitted(
    at: float, plan: GroupPlan, busy: list[float], sick: deque[tuple[float, float]], doors: "_Doors"
) -> float:
    """Give the first moment from `at` on with a free slot, no halt, and an open window."""
    while True:
        while busy and busy[0] <= at:
            heapq.heappop(busy)
        if len(busy) >= plan.slots:
            at = busy[0]
            continue
        later = max(_resumed(at, plan, sick), at)
        if later == at:
            later = doors.open_from(at)
        if later == at:
            return at
        at = later


def _resumed(at: float, plan: GroupPlan, sick: deque[tuple[float, float]]) -> float:
    """Give when the group goes on, where it is halted."""
    if plan.halts_at is None or not sick:
        return at
    for one in [one for one in sick if one[1] <= at]:
        sick.remove(one)
    wrong = sorted(end for seen, end in sick if seen <= at)
    return wrong[len(wrong) - plan.halts_at] if len(wrong) >= plan.halts_at else at


class _Doors:
    """The openings of a group's windows, one after another, as they are needed; `index` counts them."""

    def __init__(self, plan: GroupPlan, start: datetime) -> None:
        self._plan = plan
        self._least = plan.least.total_seconds()
        self._ends = start + LONGEST
        self._openings = plan.windows.upcoming(start) if plan.windows else None
        self._opens, self._closes = -math.inf, math.inf if plan.windows is None else -math.inf
        self.index = 0

    def open_from(self, at: float) -> float:
        """Give the first moment from `at` on with enough left; each call is for a later one than the last."""
        while max(at, self._opens) + self._least > self._closes:
            self._next(at)
        return max(at, self._opens)

    def _next(self, at: float) -> None:
        windows = self._plan.windows
        one = next(self._openings, None) if self._openings is not None else None
        if one is None or windows is None or (one.opens is not None and one.opens > self._ends):
            raise UsageError(
                f"group {self._plan.name} never comes to its end: after "
                f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d} no window opens that is long enough"
            )
        self.index += 1
        self._opens = one.opens.timestamp() if one.opens else -math.inf
        if one.closes is None:  # open for longer than is seen: the rest of it is looked at when it comes
            seen = max(at, self._opens)
            self._closes = seen + timedelta(days=7).total_seconds()
            self._openings = windows.upcoming(datetime.fromtimestamp(self._closes, self._ends.tzinfo))
        else:
            self._closes = one.closes.timestamp()


def with_more_slots(plan: GroupPlan, more: int) -> GroupPlan:
    """Give the plan with so many more slots."""
    return replace(plan, slots=plan.slots + more)
