"""Whole fleets of real agents, in storms that a seed draws: the rules hold at every step, and all comes to its end.

`SIM_SEEDS=1000` runs more seeds; `LOCKSMITH_SIM_SEED=123` runs that one again.
"""

import os

import pytest

from tests.sim.fleet import simulate
from tests.sim.plan import plan


def seeds() -> list[int]:
    one = os.environ.get("LOCKSMITH_SIM_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("SIM_SEEDS", "100"))))


@pytest.mark.parametrize("seed", seeds())
def test_a_seed(seed):
    simulate(plan(seed))
