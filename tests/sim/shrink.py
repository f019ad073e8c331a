"""Makes a failing plan small: whatever can be left out with the same rule still broken, is.

Each part of a simulation draws from a source of chance of its own, so leaving one fault out leaves the others as they
were.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from tests.sim.daemon import Parts
from tests.sim.fleet import simulate
from tests.sim.plan import Calendars, Faults, Plan
from tests.sim.story import BrokenRuleError

Change = Callable[[Plan], Plan]


def _without_fault(name: str) -> Change:
    def change(plan: Plan) -> Plan:
        none = getattr(Faults(), name)
        return replace(plan, faults=replace(plan.faults, **{name: none}))

    return change


def _fewer_machines(plan: Plan) -> Plan:
    fewer = max(1, plan.machines - 1)
    return replace(plan, machines=fewer, windows=plan.windows[:fewer])


CHANGES: dict[str, Change] = {
    "go_nodes": lambda plan: replace(plan, go_nodes=0),
    "operator": lambda plan: replace(plan, operator_acts=0),
    "windows": lambda plan: replace(plan, windows=(None,) * plan.machines),
    "calendars": lambda plan: replace(plan, calendars=Calendars()),
    "hooks": lambda plan: replace(plan, hooks=False),
    "busy": lambda plan: replace(plan, busy=0.0),
    "spacing": lambda plan: replace(plan, spacing=0.0),
    "stepwise": lambda plan: replace(plan, stepwise=False),
    **{fault.name: _without_fault(fault.name) for fault in fields(Faults)},
    "machine": _fewer_machines,
}
"""What can be left out, by the word for it; `machine` as often as there are more than one."""


def without(plan: Plan, words: Sequence[str]) -> Plan:
    """Leave out what the words name."""
    for word in words:
        plan = CHANGES[word](plan)
    return plan


def shrink(plan: Plan, rule: str, parts: Parts) -> tuple[str, ...]:
    """Give the words of all that can be left out with a rule of the same kind still broken."""
    left_out: list[str] = []
    tried = True
    while tried:
        tried = False
        for word, change in CHANGES.items():
            smaller = change(plan)
            if smaller != plan and _breaks(smaller, rule, parts):
                plan, tried = smaller, True
                left_out.append(word)
    return tuple(left_out)


def judge(plan: Plan, parts: Parts) -> None:
    """Run a plan; a `BrokenRuleError` tells the story of the smallest plan that still breaks the rule."""
    try:
        simulate(plan, parts)
    except BrokenRuleError as error:
        left_out = shrink(plan, error.rule, parts)
        simulate(without(plan, left_out), parts, left_out)
        raise


def _breaks(plan: Plan, rule: str, parts: Parts) -> bool:
    try:
        simulate(plan, parts)
    except BrokenRuleError as error:
        return _kind(error.rule) == _kind(rule)
    return False


def _kind(rule: str) -> str:
    """Give a rule's sentence without the names in it."""
    return " ".join(word for word in rule.split() if not any(char.isdigit() for char in word))
