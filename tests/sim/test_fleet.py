"""Whole fleets of real agents, in storms that a seed draws: the rules hold at every step, and all comes to its end.

`SIM_SEEDS=1000` runs more seeds; `LOCKSMITH_SIM_SEED=123` runs that one again, `LOCKSMITH_SIM_WITHOUT=crash,hooks`
without those (`shrink.py` has the words).
"""

import os

import pytest

from tests.sim.daemon import Parts
from tests.sim.plan import plan
from tests.sim.shrink import judge, without


def seeds() -> list[int]:
    one = os.environ.get("LOCKSMITH_SIM_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("SIM_SEEDS", "100"))))


@pytest.mark.parametrize("seed", seeds())
def test_a_seed(seed):
    left_out = os.environ.get("LOCKSMITH_SIM_WITHOUT", "")
    judge(without(plan(seed), left_out.split(",") if left_out else ()), Parts())
