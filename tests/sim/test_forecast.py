"""The forecast against the agents: small fleets, all asked at once; calm, with windows, pauses, hooks, and sick."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from statistics import median

import pytest

from locksmith.config.model import WindowSettings
from locksmith.fleet.forecast.answer import forecast
from locksmith.fleet.forecast.plan import GroupPlan, RolloutPlan
from locksmith.fleet.forecast.spread import Spread
from locksmith.window.window_set import WindowSet
from tests.harness.windows import plan as windows
from tests.sim.daemon import Parts
from tests.sim.fleet import Simulation
from tests.sim.node import Node
from tests.sim.people import Operator
from tests.sim.plan import Faults, Plan
from tests.sim.rules import Rules
from tests.sim.story import Story
from tests.sim.virtual_time import VirtualLoop, run

SEEDS, SICK_SEEDS = range(5), range(41)
LOOKS = 5.0
"""Seconds after which the operator looks again for machines that were repaired, and says `resume`."""


@dataclass
class AllAtOnce(Simulation):
    """All machines have an update from the first moment on; time goes by as it does, also while windows are closed."""

    opens: Sequence[str] = ()

    def _build(self) -> None:
        super()._build()
        self.dry.clear()

    def _calendar(self, opens: Sequence[str], number: int) -> WindowSettings:  # noqa: ARG002 - all are alike
        return WindowSettings(own=WindowSet.parse(self.opens, []))

    def _let_days_pass(self, rules: Rules, name: str, node: Node) -> None:
        pass

    def _let_loose(self, operator: Operator, rules: Rules) -> None:  # noqa: ARG002 - nobody else does anything
        for node in self.nodes.values():
            node.machine.engine.wants("1.0.0")
            node.wake()
        if self.plan.faults.sick:
            self._begin(self._repair(operator))

    async def _repair(self, operator: Operator) -> None:
        """Say `resume` when a machine that was sick is well again; nobody else does anything."""
        seen = dict.fromkeys(self.nodes, 0.0)
        while self.faults.sick:
            await asyncio.sleep(LOOKS)
            now = asyncio.get_running_loop().time()
            for name, node in self.nodes.items():
                if seen[name] < node.machine.sick_until < now:
                    seen[name] = node.machine.sick_until
                    await operator.resume()


def rollout(seed: int, machines: int, slots: int) -> float:
    """Play the agents on a day without anything; give the seconds until the last slot is given back."""
    return play(agents(seed, GroupPlan("calm", machines, slots)))


def play(drawn: Plan, opens: Sequence[str] = ()) -> float:
    """Play the agents; give the seconds until the last slot is given back."""
    story = Story(replay=f"a rollout of seed {drawn.seed}")

    async def main(loop: VirtualLoop) -> None:
        await AllAtOnce(drawn, Parts(), story, opens=opens).run(loop)

    run(main)
    return max(float(line.split()[0]) for line in story.lines if " gives back " in line)


def one_reboot(rng: Random) -> float:
    """Draw what a reboot takes there: until it is seen, until the power goes, until it is up (machine.py)."""
    seen = rng.choice((0.0, 0.0, rng.uniform(0.1, 10)))
    return seen + rng.uniform(0.1, 5) + rng.uniform(5, 40)


def both_hooks(rng: Random) -> float:
    """Draw what the hooks take there, before and after (assembly.py)."""
    return rng.uniform(0.1, 20) + rng.uniform(0.1, 20)


REBOOT, HOOKS = (Spread.of_seen([draw(Random(seed)) for seed in range(400)]) for draw in (one_reboot, both_hooks))
SICK = Spread(5.0, 300.0)
EVERY_THREE_MINUTES = windows(*(f"00:{minute:02} for 1m" for minute in range(1, 15, 3)))


@pytest.mark.parametrize(
    "expected",
    [
        GroupPlan("calm", 4, 1),
        GroupPlan("calm", 8, 1),
        GroupPlan("calm", 9, 3),
        GroupPlan("hooks", 9, 2, hooks=HOOKS),
        GroupPlan("pauses", 8, 2, spacing=60.0),
        GroupPlan("windows", 10, 1, windows=EVERY_THREE_MINUTES),
        GroupPlan("windows", 15, 2, windows=EVERY_THREE_MINUTES),
        GroupPlan("windows-pauses", 10, 2, windows=EVERY_THREE_MINUTES, spacing=25.0),
        GroupPlan("sick", 8, 1, failure=0.3, repair=SICK),
    ],
    ids=lambda plan: f"{plan.name}-{plan.machines}-{plan.slots}",
)
def test_small_fleets_take_as_long_as_forecast(expected):
    expected = replace(expected, reboot=REBOOT)
    start = datetime(2026, 5, 1, tzinfo=UTC)
    foretold = forecast(RolloutPlan(start, (expected,)), 101, 1).p50 - start.timestamp()
    seeds = SICK_SEEDS if expected.failure else SEEDS
    real = median(play(agents(seed, expected), opens(expected)) for seed in seeds)
    assert real == pytest.approx(foretold, rel=0.2)


def agents(seed: int, of: GroupPlan) -> Plan:
    """Make of a plan the simulation's, with nothing else in it; hooks and repairs take what they take there."""
    return Plan(
        seed=seed,
        machines=of.machines,
        slots=of.slots,
        stepwise=False,
        windows=(None,) * of.machines,
        faults=Faults(sick=of.failure),
        hooks=bool(of.hooks.mean),
        spacing=of.spacing,
    )


def opens(of: GroupPlan) -> list[str]:
    """Give its windows as they are written."""
    return [str(window) for window in of.windows.windows] if of.windows else []
