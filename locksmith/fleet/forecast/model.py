"""A reduced model of a rollout, fast enough for a hundred thousand machines. Pure.

A machine at the head of the queue takes a slot when one is free, the group is neither halted nor in its pause, and a
window is open with enough left; it holds the slot for its hooks, its reboot and its proof of health. One that fails
keeps the slot until it is repaired. What it leaves out: the hand-over itself (milliseconds), etcd, inhibitors, users,
alerts, checks, aborted tries, legacy nodes in the group, and what operators do but repair.

All the time of a run is put down to what was in the way (`Limit`): where several things were, to the one that let go
last, since nothing is gained where only another one does so sooner.
"""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from locksmith.fleet.forecast.limit import Limit
from locksmith.fleet.forecast.openings import Openings
from locksmith.fleet.forecast.plan import GroupPlan
from locksmith.fleet.forecast.sick import Sick


class Reboot(NamedTuple):
    """One reboot: its slot is taken, it is over (`seen`: for better or worse), its slot is released."""

    begin: float
    seen: float
    end: float


@dataclass(slots=True)
class GroupRun:
    """How one run of a group went; moments are Unix times.

    `openings`: in how many of its windows a reboot began. `spent`: what all its time went to, in seconds.
    """

    plan: GroupPlan
    began: float
    ended: float
    most: int = 0
    openings: int = 0
    failed: int = 0
    spent: dict[Limit, float] = field(default_factory=lambda: dict.fromkeys(Limit, 0.0))
    reboots: list[Reboot] = field(default_factory=list)


def run_group(plan: GroupPlan, openings: Openings, rng: Random, *, keep: bool = False) -> GroupRun:
    """Run a group once, from the beginning of `openings`; `keep` its reboots. `UsageError`: it would never end."""
    run = GroupRun(plan, openings.began, openings.began)
    course = _Course(plan, openings, run)
    arrivals = sorted(rng.random() * plan.arrives for _ in range(plan.machines)) if plan.arrives else None
    takes, repair, chance = _sampler(plan, rng), plan.repair.sampler(rng), rng.random
    for number in range(plan.machines):
        at = course.begin(openings.began + arrivals[number] if arrivals else 0.0)
        seen = end = at + takes()
        if chance() < plan.failure:
            run.failed += 1
            end += repair()
            course.sick.add(seen, end)
        course.hold(seen, end)
        if keep:
            run.reboots.append(Reboot(at, seen, end))
    course.finish()
    return run


def _sampler(plan: GroupPlan, rng: Random) -> Callable[[], float]:
    """Give what draws how long a machine holds its slot when all goes well."""
    hooks, reboot, health = (one.sampler(rng) for one in (plan.hooks, plan.reboot, plan.health))
    return lambda: hooks() + reboot() + health()


class _Course:
    """How far a run has come, and what its time went to."""

    def __init__(self, plan: GroupPlan, openings: Openings, run: GroupRun) -> None:
        self._plan, self._openings, self._run = plan, openings, run
        self._busy: list[float] = []
        self._index, self._number = 0, -1
        self._open = openings.at(0)
        self._shut = openings.began
        self._last, self._next = openings.began, openings.began
        self._over = openings.began
        self.sick = Sick(openings.began)

    def begin(self, arrived: float) -> float:
        """Give the first moment at which the next machine may begin, and begin there."""
        last, busy = self._last, self._busy
        at, limit = last, Limit.SLOTS
        if len(busy) >= self._plan.slots:
            at = max(last, busy[0])
        if self._next > at:
            at, limit = self._next, Limit.SPACING
        if arrived > at:
            at, limit = arrived, Limit.ARRIVAL
        if self.sick or not self._open.opens <= at <= self._open.latest:
            at = self._pass(last, at, limit)
        elif at > last:
            self._run.spent[limit] += at - last
        while busy and busy[0] <= at:
            heapq.heappop(busy)
        if self._open.number != self._number:
            self._number, self._run.openings = self._open.number, self._run.openings + 1
        self._last, self._next = at, at + self._plan.spacing
        return at

    def hold(self, seen: float, end: float) -> None:
        """Hold the slot of the machine that has just begun."""
        heapq.heappush(self._busy, end)
        self._run.most = max(self._run.most, len(self._busy))
        self._over = max(self._over, seen)
        self._run.ended = max(self._run.ended, end)

    def finish(self) -> None:
        """Put down the time after the last one has begun."""
        self._run.spent[Limit.REBOOT] += self._over - self._last
        self._run.spent[Limit.FAILURES] += self._run.ended - self._over

    def _pass(self, last: float, at: float, limit: Limit) -> float:
        """Give the first moment from `at` on at which the group is not halted and a window is open."""
        spent, sick = self._run.spent, self.sick
        closes = min(at, max(last, self._open.latest))
        held, until_closed = sick.held(last), sick.held(closes)
        in_all = sick.held(at) if at > closes else until_closed
        while True:
            goes_on = sick.resumed(at, self._plan.halts_at) if sick else at
            opens = self._opens(goes_on)
            # What goes by while no window is open is the window's, also if something else blocks then.
            since = goes_on if opens == goes_on else max(last, self._shut)
            queued = max(0.0, min(at, since) - last)
            failing = 0.0
            if limit is Limit.SLOTS:
                failing = min(queued, ((in_all if since >= at else until_closed) - held) / self._plan.slots)
            spent[limit] += queued - failing
            spent[Limit.FAILURES] += failing + max(0.0, min(goes_on, since) - at)
            spent[Limit.WINDOW] += opens - since
            if opens == goes_on:
                return opens
            last = at = opens
            held = until_closed = in_all

    def _opens(self, at: float) -> float:
        """Give the first moment from `at` on with enough of a window left."""
        while at > self._open.latest or self._open.latest < self._open.opens:
            if self._open.latest >= self._open.opens:
                self._shut = self._open.latest
            self._index += 1
            self._open = self._openings.at(self._index)
        return max(at, self._open.opens)


def counts(run: GroupRun, times: Sequence[float]) -> list[tuple[int, int, int, int]]:
    """Count the machines at each of some moments: that are done, have failed, are down, wait."""
    begun, seen, ended = (sorted(column) for column in zip(*run.reboots, strict=True))
    found = []
    for at in times:
        began, over, done = (bisect_right(column, at) for column in (begun, seen, ended))
        found.append((done, over - done, began - over, run.plan.machines - began))
    return found
