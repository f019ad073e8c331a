"""The answer to a plan: when a rollout is done, and what limits it. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from locksmith.forecast.model import GroupRun, run_group, with_more_slots
from locksmith.forecast.plan import GroupPlan, RolloutPlan
from locksmith.forecast.spread import Spread

WORTH = 0.05
"""The share of a rollout's length that a change has to save to be named."""


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """What the runs of a group say: Unix times when it is done in half of them and in 95 of 100."""

    plan: GroupPlan
    p50: float
    p95: float
    openings: float
    most: int
    failed: float


@dataclass(frozen=True, slots=True)
class Saving:
    """What a change of the plan would save of the whole, in seconds (in half of the runs)."""

    change: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole: its groups, when all are done, the group that ends last, and what would save time there."""

    plan: RolloutPlan
    groups: tuple[GroupAnswer, ...]
    p50: float
    p95: float
    last: GroupAnswer
    savings: tuple[Saving, ...]
    first_runs: tuple[GroupRun, ...]


def forecast(
    plan: RolloutPlan, runs: int, seed: int, told: Callable[[], None] = lambda: None, *, keep: bool = False
) -> Answer:
    """Run a plan so many times; `told` is called after each run of each group. `UsageError`: a group never ends."""
    by_group = [_runs(group, plan, runs, seed, told, keep=keep) for group in plan.groups]
    groups = tuple(_sum_up(group) for group in by_group)
    ends = sorted(max(group[number].ended for group in by_group) for number in range(runs))
    last = max(groups, key=lambda group: group.p50)
    savings = _savings(last, plan, min(runs, 5), seed)
    first = tuple(group[0] for group in by_group)
    return Answer(plan, groups, _quantile(ends, 0.5), _quantile(ends, 0.95), last, savings, first)


def _runs(
    group: GroupPlan, plan: RolloutPlan, runs: int, seed: int, told: Callable[[], None], *, keep: bool = False
) -> list[GroupRun]:
    done = []
    for number in range(runs):
        rng = Random(f"{seed} {group.name} {number}")  # noqa: S311 - a forecast, no secret
        done.append(run_group(group, plan.start, rng, keep=keep and number == 0))
        told()
    return done


def _sum_up(runs: Sequence[GroupRun]) -> GroupAnswer:
    ends = sorted(run.ended for run in runs)
    return GroupAnswer(
        runs[0].plan,
        _quantile(ends, 0.5),
        _quantile(ends, 0.95),
        sum(run.openings for run in runs) / len(runs),
        max(run.most for run in runs),
        sum(run.failed for run in runs) / len(runs),
    )


def _savings(last: GroupAnswer, plan: RolloutPlan, runs: int, seed: int) -> tuple[Saving, ...]:
    """Try what may help the group that ends last, the most helpful first."""
    group, length = last.plan, last.p50 - plan.start.timestamp()
    changes = [("two more slots", with_more_slots(group, 2))]
    if group.windows is not None:
        changes.append(("windows that are always open", replace(group, windows=None)))
    if group.spacing:
        changes.append(("no spacing", replace(group, spacing=0.0)))
    if group.failure:
        changes.append(("no failures", replace(group, failure=0.0)))
    if group.health.mean or group.hooks.mean:
        none = Spread(0.0, 0.0)
        changes.append(("hooks and health that take no time", replace(group, health=none, hooks=none)))
    found = []
    for words, changed in changes:
        ends = sorted(run.ended for run in _runs(changed, plan, runs, seed, lambda: None))
        saved = last.p50 - _quantile(ends, 0.5)
        if length > 0 and saved > WORTH * length:
            found.append(Saving(words, saved))
    return tuple(sorted(found, key=lambda saving: -saving.seconds))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Give the smallest that so large a share does not exceed."""
    return ordered[min(len(ordered) - 1, max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1))]
