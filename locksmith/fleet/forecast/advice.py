"""What would help a rollout: changes are tried, and what they save of the whole is told. Pure.

A change of one group saves only until the next group ends last; so it is always the whole that is played again, and
groups that end nearly together are changed together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from locksmith.fleet.forecast.answer import Answer, GroupAnswer, Told, play, quantile
from locksmith.fleet.forecast.changes import Change, pairs, small, whole
from locksmith.fleet.forecast.plan import GroupPlan, RolloutPlan
from locksmith.util.words import listed

WORTH = 0.05
"""The share of a rollout's length that a change has to save to be named."""
OFTEN = 0.25
"""The share of the runs in which a group ends last that is to be changed together with the one that mostly does."""
NAMED = 3
ENOUGH = 200_000
"""Reboots that are played for one change: of large fleets fewer runs, which differ little."""
FEWEST = 3
TRIES = "trying what would help"


@dataclass(frozen=True, slots=True)
class Saving:
    """What a change saves of the whole, in seconds, in half of the runs.

    `what` of the plan it changes (`slots`, `window`, ...), in which `groups`. `plan` is the whole plan with it; `then`
    the group that ends last then, where it is another one.
    """

    change: str
    what: str
    groups: tuple[str, ...]
    plan: RolloutPlan
    seconds: float
    then: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """The groups that end last, the one that mostly does first, and what helps most."""

    groups: tuple[GroupAnswer, ...]
    savings: tuple[Saving, ...]


def advise(answer: Answer, told: Told = lambda *_: None) -> Advice:
    """Try the small changes; where none is worth its while, those that take a limit away; then pairs of small ones."""
    began, last = answer.plan.start.timestamp(), answer.last
    near = began + (1 - WORTH) * (answer.p50 - began)
    rivals = (group for group in answer.groups if group is not last and (group.last >= OFTEN or group.p50 >= near))
    together = (last, *rivals)
    plans = [group.plan for group in together]
    for make in (small, whole, pairs):
        tried = _by_kind(plans, make)
        if len(plans) > 1:
            tried.append([change for group in together for change in _best(answer, group, make)])
        found = []
        for number, changes in enumerate(tried):
            told(TRIES, number, len(tried))
            found.append(_saving(answer, changes, plans))
        found = list({saving.change: saving for saving in found}.values())
        worth = [saving for saving in found if saving.seconds > WORTH * (answer.p50 - began)]
        if worth:
            return Advice(together, tuple(sorted(worth, key=lambda saving: -saving.seconds)[:NAMED]))
    return Advice(together, ())


def _best(answer: Answer, group: GroupAnswer, make: Callable[[GroupPlan], Iterator[Change]]) -> list[Change]:
    """Give the change that helps one of several groups most, if any: each may have a limit of its own."""
    numbers = _numbers(answer, group.plan.machines)[:FEWEST]
    tried = [
        (_p50([run.ended for run in play(change.plan, answer.plan, numbers, answer.seed)]), change)
        for change in make(group.plan)
    ]
    return [min(tried, key=lambda one: one[0])[1]] if tried else []


def _by_kind(plans: Iterable[GroupPlan], make: Callable[[GroupPlan], Iterator[Change]]) -> list[list[Change]]:
    """Give the changes of several groups, those of one kind together."""
    found: dict[str, list[Change]] = {}
    for plan in plans:
        for change in make(plan):
            found.setdefault(change.kind, []).append(change)
    return list(found.values())


def _saving(answer: Answer, changes: Sequence[Change], together: Sequence[GroupPlan]) -> Saving:
    """Play the changed groups again, in the runs that are nearest to the typical one; the others end as they did."""
    changed = {change.plan.name: change.plan for change in changes}
    plan = replace(answer.plan, groups=tuple(changed.get(group.name, group) for group in answer.plan.groups))
    numbers = _numbers(answer, sum(group.machines for group in changed.values()))
    ends = [
        [run.ended for run in play(group, plan, numbers, answer.seed)]
        if group.name in changed
        else [before[number] for number in numbers]
        for group, before in zip(plan.groups, answer.ends, strict=True)
    ]
    was = _p50([max(ends[number] for ends in answer.ends) for number in numbers])
    now = [max(each) for each in zip(*ends, strict=True)]
    typical = now.index(_p50(now))
    last = plan.groups[max(range(len(ends)), key=lambda place: ends[place][typical])].name
    return Saving(
        _words(changes, [group.name for group in together]),
        ", ".join(dict.fromkeys(change.kind for change in changes)),
        tuple(changed),
        plan,
        was - _p50(now),
        "" if last in {group.name for group in together} else last,
    )


def _numbers(answer: Answer, machines: int) -> list[int]:
    runs = len(answer.ends[0])
    ends = [max(group[number] for group in answer.ends) for number in range(runs)]
    most = max(FEWEST, ENOUGH // max(1, machines))  # a group may have slots, and no machine
    return sorted(range(runs), key=lambda number: abs(ends[number] - answer.p50))[:most]


def _p50(ends: Sequence[float]) -> float:
    return quantile(sorted(ends), 0.5)


def _words(changes: Sequence[Change], together: Sequence[str]) -> str:
    """Say a change: in which groups, where several end together."""
    if len(together) == 1:
        return changes[0].words
    groups: dict[str, list[str]] = {}
    for change in changes:
        groups.setdefault(change.words, []).append(change.plan.name)
    return " and ".join(f"{words} in {'each of ' * (len(names) > 1)}{listed(names)}" for words, names in groups.items())
