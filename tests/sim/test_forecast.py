"""The forecast against the agents: small fleets that are all asked at once, on days without faults."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from statistics import median

import pytest

from locksmith.forecast.answer import forecast
from locksmith.forecast.plan import GroupPlan, RolloutPlan
from locksmith.forecast.spread import Spread
from tests.sim.daemon import Parts
from tests.sim.fleet import Simulation
from tests.sim.people import Operator
from tests.sim.plan import Calendars, Faults, plan
from tests.sim.rules import Rules
from tests.sim.story import Story
from tests.sim.virtual_time import VirtualLoop, run

SEEDS = range(9)


class AllAtOnce(Simulation):
    """All machines have an update from the first moment on."""

    def _build(self) -> None:
        super()._build()
        self.dry.clear()

    def _let_loose(self, operator: Operator, rules: Rules) -> None:  # noqa: ARG002 - nobody does anything
        for node in self.nodes.values():
            node.machine.engine.wants("1.0.0")
            node.wake()


def rollout(seed: int, machines: int, slots: int) -> float:
    """Play the agents; give the seconds until the last slot is given back."""
    drawn = replace(plan(seed), machines=machines, slots=slots, windows=(None,) * machines, stepwise=False)
    quiet = replace(
        drawn, faults=Faults(), go_nodes=0, operator_acts=0, hooks=False, spacing=0.0, calendars=Calendars(), busy=0.0
    )
    story = Story(replay=f"a quiet rollout of seed {seed}")

    async def main(loop: VirtualLoop) -> None:
        simulated = AllAtOnce(quiet, Parts(), story)
        await simulated.run(loop)

    run(main)
    return max(float(line.split()[0]) for line in story.lines if " gives back " in line)


def one_reboot(rng: Random) -> float:
    """Draw what a reboot takes there: until it is seen, until the power goes, until it is up (machine.py)."""
    seen = rng.choice((0.0, 0.0, rng.uniform(0.1, 10)))
    return seen + rng.uniform(0.1, 5) + rng.uniform(5, 40)


@pytest.mark.parametrize(("machines", "slots"), [(4, 1), (8, 1), (8, 2), (9, 3)])
def test_small_fleets_take_as_long_as_forecast(machines, slots):
    seen = Spread.of_seen([one_reboot(Random(seed)) for seed in range(400)])
    foretold = RolloutPlan(datetime(2026, 5, 1, tzinfo=UTC), (GroupPlan("", machines, slots, reboot=seen),))
    expected = forecast(foretold, 101, 1).p50 - foretold.start.timestamp()
    real = median(rollout(seed, machines, slots) for seed in SEEDS)
    assert real == pytest.approx(expected, rel=0.2)
