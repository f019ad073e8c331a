"""A seed that fails is told as the smallest storm that still breaks the rule, with the command that plays it again."""

import re

import pytest

from tests.sim.broken_parts import NoHooks, NoTake
from tests.sim.daemon import Parts
from tests.sim.fleet import simulate
from tests.sim.plan import Faults, Plan, plan
from tests.sim.shrink import CHANGES, judge, without
from tests.sim.story import BrokenRuleError


def told(parts: Parts, rule: str) -> tuple[str, Plan]:
    """Give the story of the first seed that breaks a rule, and the plan that it names to play again."""
    for seed in range(60):
        try:
            judge(plan(seed), parts)
        except BrokenRuleError as error:
            if rule in error.rule:
                [words] = re.findall(r"replay: .* LOCKSMITH_SIM_WITHOUT=(\S+)", str(error))
                return str(error), without(plan(seed), words.split(","))
    pytest.fail("no seed breaks that rule")


def test_a_seed_is_shrunk_to_what_its_failure_takes():
    parts = Parts(strategy=NoTake)
    story, small = told(parts, "without holding a slot")
    assert (small.machines, small.faults, small.operator_acts) == (1, Faults(), 0)
    with pytest.raises(BrokenRuleError) as again:
        simulate(small, parts)
    assert again.value.rule == story.splitlines()[0]


def test_what_the_failure_takes_is_kept():
    _, small = told(Parts(observer=NoHooks), "is not drained")
    assert small.hooks
    assert small.faults == Faults()


def test_every_word_leaves_something_out():
    drawn = plan(4)
    assert all(isinstance(change(drawn), type(drawn)) for change in CHANGES.values())
    assert without(drawn, list(CHANGES)).faults == Faults()
