"""The forecast against the agents: small fleets, all asked at once; calm, with windows, pauses, hooks, and sick."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from statistics import median

import pytest

from locksmith.fleet.forecast.answer import forecast
from locksmith.fleet.forecast.plan import GroupPlan, RolloutPlan
from locksmith.fleet.forecast.spread import Spread
from tests.harness.windows import plan as windows
from tests.sim.rollouts import agents, opens, play

SEEDS, SICK_SEEDS = range(5), range(41)
WHOLE = int(os.environ.get("SIM_SEEDS", "100")) >= 100
"""Else the one plan is left out whose median takes 41 fleets."""


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
        *([GroupPlan("sick", 8, 1, failure=0.3, repair=SICK)] if WHOLE else []),
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
