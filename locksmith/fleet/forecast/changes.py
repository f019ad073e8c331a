"""What could be changed of a group so that it is done sooner. Pure.

The small changes are what an operator may do tomorrow; the whole ones take a limit away, and say how much there is to
gain at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal

from locksmith.fleet.forecast.limit import Limit
from locksmith.fleet.forecast.plan import GroupPlan, slots_of_share
from locksmith.lock.records.incident import HaltAfter
from locksmith.util.words import count, span
from locksmith.window.window import LONGEST

FEW = 10
"""Slots up to which two more are many."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what it changes, which limit that moves, in words, and the group with it."""

    kind: str
    limit: Limit
    words: str
    plan: GroupPlan


def small(plan: GroupPlan) -> Iterator[Change]:
    """Give the changes of a group that an operator may do tomorrow."""
    yield from _more_slots(plan)
    yield from _longer_windows(plan)
    if plan.windows is not None and plan.least:
        half = plan.least / 2
        words = f"a min-remaining of {span(half)} instead of {span(plan.least)}"
        yield Change("min-remaining", Limit.WINDOW, words, replace(plan, least=half))
    if plan.spacing:
        words = f"a spacing of {_span(plan.spacing / 2)} instead of {_span(plan.spacing)}"
        yield Change("spacing", Limit.SPACING, words, replace(plan, spacing=plan.spacing / 2))
    yield from _fewer_failures(plan)
    if own := plan.hooks.mean + plan.health.mean:
        words = f"hooks and health in {_span(own / 2)} instead of {_span(own)}"
        yield Change(
            "health", Limit.SLOTS, words, replace(plan, hooks=plan.hooks.scaled(0.5), health=plan.health.scaled(0.5))
        )


def whole(plan: GroupPlan) -> Iterator[Change]:
    """Give the changes that take a limit away."""
    if plan.slots < plan.machines:
        yield Change("slots", Limit.SLOTS, "a slot for each machine", replace(plan, slots=plan.machines))
    if plan.windows is not None:
        yield Change("window", Limit.WINDOW, "windows that are always open", replace(plan, windows=None))
    if plan.spacing:
        yield Change("spacing", Limit.SPACING, "no spacing", replace(plan, spacing=0.0))
    if plan.failure:
        yield Change("failure", Limit.FAILURES, "no failures", replace(plan, failure=0.0))
    if plan.arrives:
        yield Change("arrives", Limit.ARRIVAL, "machines that all want it at once", replace(plan, arrives=0.0))


def pairs(plan: GroupPlan) -> Iterator[Change]:
    """Give two small changes at once: where two limits are as narrow, neither helps without the other."""
    for one in small(plan):
        for two in small(one.plan):
            if one.limit < two.limit:
                yield Change(f"{one.kind}, {two.kind}", one.limit, f"{one.words} and {two.words}", two.plan)


def _more_slots(plan: GroupPlan) -> Iterator[Change]:
    more = min(2 if plan.slots <= FEW else round(plan.slots / 5), plan.machines - plan.slots)
    if more < 1:
        return
    words, slots = f"{count(more)} more slot{'' if more == 1 else 's'}", plan.slots + more
    if plan.share is not None:
        share = (Decimal(100) * slots / plan.machines).quantize(Decimal("0.1"), ROUND_CEILING)
        slots = slots_of_share(share, plan.machines)
        words = f"slots for {share.normalize():f}% instead of {plan.share.normalize():f}%"
    yield Change("slots", Limit.SLOTS, words, replace(plan, slots=slots))


def _longer_windows(plan: GroupPlan) -> Iterator[Change]:
    if plan.windows is None:
        return
    windows = plan.windows.windows
    if windows and all(window.length for window in windows):
        longer = tuple(replace(window, length=min(2 * window.length, LONGEST)) for window in windows)
        lengths = {(one.length, two.length) for one, two in zip(windows, longer, strict=True)}
        words = "windows twice as long"
        if len(lengths) == 1:
            [(before, after)] = lengths
            words = f"{'a window' if len(windows) == 1 else 'windows'} of {span(after)} instead of {span(before)}"
        yield Change("window", Limit.WINDOW, words, replace(plan, windows=replace(plan.windows, windows=longer)))
    if plan.windows.blackouts:
        left = replace(plan.windows, blackouts=()) if windows else None
        yield Change("blackouts", Limit.WINDOW, "no blackouts", replace(plan, windows=left))


def _fewer_failures(plan: GroupPlan) -> Iterator[Change]:
    if not plan.failure:
        return
    if plan.repair.mean:
        words = f"repairs within {_span(plan.repair.mean / 2)} instead of {_span(plan.repair.mean)}"
        yield Change("repair", Limit.FAILURES, words, replace(plan, repair=plan.repair.scaled(0.5)))
    percent = 100 * plan.failure
    words = f"failures of {percent / 2:.3g}% instead of {percent:.3g}%"
    yield Change("failure", Limit.FAILURES, words, replace(plan, failure=plan.failure / 2))
    if (halts := plan.halts_at) is not None and halts < plan.slots:
        words = f"a halt after {count(halts + 1)} failures instead of {count(halts)}"
        yield Change("halt-after", Limit.FAILURES, words, replace(plan, halt_after=HaltAfter(halts + 1)))


def _span(seconds: float) -> str:
    return span(timedelta(seconds=seconds))
