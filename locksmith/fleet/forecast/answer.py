"""The answer to a plan: when a rollout is done, what limits it, and what would help. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from locksmith.fleet.forecast.limit import Limit
from locksmith.fleet.forecast.model import GroupRun, run_group
from locksmith.fleet.forecast.openings import Openings
from locksmith.fleet.forecast.plan import GroupPlan, RolloutPlan

Told = Callable[[str, int, int], None]
"""Told what is being done, and how many steps of how many are."""

PLAYS = "playing the rollout"


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """What the runs of a group say: Unix times when it is done in half of them and in 95 of 100.

    `spent`: what its time went to in its own run that is done at `p50`, in seconds; together they are all of it.
    `last`: in which share of the runs no group ends later.
    """

    plan: GroupPlan
    p50: float
    p95: float
    openings: float
    most: int
    failed: float
    spent: dict[Limit, float]
    last: float

    @property
    def limit(self) -> Limit:
        """What most of its time went to."""
        most = max(Limit, key=lambda limit: self.spent[limit])
        return most if self.spent[most] else Limit.REBOOT


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole: its groups, and when all are done.

    `typical` is the number of the run that is done at `p50`; `last` the group that most often ends last.
    """

    plan: RolloutPlan
    seed: int
    groups: tuple[GroupAnswer, ...]
    p50: float
    p95: float
    typical: int
    last: GroupAnswer
    ends: tuple[tuple[float, ...], ...]
    """Of each group, when each run of it ended."""

    def drawn(self) -> list[GroupRun]:
        """Play the typical run once more, with all its reboots."""
        return [run_once(group, Openings(group, self.plan.start), self.seed, self.typical, keep=True)
                for group in self.plan.groups]  # fmt: skip


def forecast(plan: RolloutPlan, runs: int, seed: int, told: Told = lambda *_: None) -> Answer:
    """Play a plan so many times. `UsageError`: a group never ends."""
    by_group = []
    for place, group in enumerate(plan.groups):
        by_group.append(play(group, plan, range(runs), seed, lambda one, place=place: told(  # type: ignore[misc]
            PLAYS, place * runs + one, runs * len(plan.groups))))  # fmt: skip
    ends = [max(group[number].ended for group in by_group) for number in range(runs)]
    ordered = sorted(ends)
    p50 = quantile(ordered, 0.5)
    typical = ends.index(p50)
    groups = tuple(_sum_up(group, ends) for group in by_group)
    last = max(groups, key=lambda group: (group.last, group.p50))
    each = tuple(tuple(run.ended for run in group) for group in by_group)
    return Answer(plan, seed, groups, p50, quantile(ordered, 0.95), typical, last, each)


def play(
    group: GroupPlan, plan: RolloutPlan, numbers: Sequence[int], seed: int, told: Callable[[int], None] = lambda _: None
) -> list[GroupRun]:
    """Play some runs of a group; `told` how many of them are done."""
    openings, done = Openings(group, plan.start), []
    for number in numbers:
        done.append(run_once(group, openings, seed, number))
        told(len(done))
    return done


def run_once(group: GroupPlan, openings: Openings, seed: int, number: int, *, keep: bool = False) -> GroupRun:
    """Play one run of a group, the same each time; a group that is changed meets the same chances."""
    rng = Random(f"{seed} {group.name} {number}")  # noqa: S311 - a forecast, no secret
    return run_group(group, openings, rng, keep=keep)


def _sum_up(runs: Sequence[GroupRun], whole: Sequence[float]) -> GroupAnswer:
    """`whole`: when each run of all groups together ended."""
    ends = sorted(run.ended for run in runs)
    p50 = quantile(ends, 0.5)
    return GroupAnswer(
        runs[0].plan,
        p50,
        quantile(ends, 0.95),
        sum(run.openings for run in runs) / len(runs),
        max(run.most for run in runs),
        sum(run.failed for run in runs) / len(runs),
        next(run.spent for run in runs if run.ended == p50),
        sum(run.ended == end for run, end in zip(runs, whole, strict=True)) / len(runs),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Give the smallest that so large a share does not exceed."""
    return ordered[max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1)]
