"""The forecast of one group as it is: for the machines that need a reboot, or for all of them. Pure.

`locksmithctl simulate --from-etcd` says the same of all groups together.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from locksmith.fleet.forecast.advice import Advice, advise
from locksmith.fleet.forecast.answer import Answer, forecast
from locksmith.fleet.forecast.fleet_plan import group_plan, times_seen
from locksmith.fleet.forecast.plan import RolloutPlan
from locksmith.fleet.forecast.spread import Spread
from locksmith.fleet.group import GroupView
from locksmith.fleet.progress import progress
from locksmith.lock.records.event import Event

UNSEEN_REBOOT = Spread(180.0, 180.0)
"""How long a reboot takes where no history says it, as for `simulate`."""


def outlook_plan(view: GroupView, events: Sequence[Event], start: datetime, *, everything: bool) -> RolloutPlan | None:
    """Make the plan of a group from `start` on; None: no machine of it is present, or none needs a reboot.

    `everything`: each machine that is present is to reboot, needed or not.
    """
    plan = group_plan(view, times_seen(events), UNSEEN_REBOOT)
    machines = len(view.machines) if everything else progress(view, events).left
    if plan is None or not machines:
        return None
    return RolloutPlan(start.replace(microsecond=0), (replace(plan, machines=machines),))


def outlook(plan: RolloutPlan, runs: int, seed: int = 1) -> tuple[Answer, Advice]:
    """Play a plan so many times, and say what would help. `UsageError`: it never ends."""
    answer = forecast(plan, runs, seed)
    return answer, advise(answer)
