"""Whole fleets of real agents, in storms that a seed draws: the rules hold at every step, and all comes to its end.

`SIM_SEEDS=1000` runs more seeds, and `SIM_SEEDS=15` fewer, none of them of a crowd. `LOCKSMITH_SIM_SEED=123` runs that
one again, `LOCKSMITH_SIM_WITHOUT=crash,hooks` without those (`shrink.py` has the words).
"""

import os

import pytest

from tests.sim.daemon import Parts
from tests.sim.plan import FEW, plan
from tests.sim.shrink import judge, without

USUAL = 100
"""Fleets. Where fewer are asked for, time is short: one crowd takes as long as all the others."""


def seeds() -> list[int]:
    one = os.environ.get("LOCKSMITH_SIM_SEED")
    if one:
        return [int(one)]
    wanted = range(int(os.environ.get("SIM_SEEDS", str(USUAL))))
    return [seed for seed in wanted if len(wanted) >= USUAL or plan(seed).machines <= FEW]


@pytest.mark.parametrize("seed", seeds())
def test_a_seed(seed):
    left_out = os.environ.get("LOCKSMITH_SIM_WITHOUT", "")
    judge(without(plan(seed), left_out.split(",") if left_out else ()), Parts())
