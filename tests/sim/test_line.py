"""The line on quiet days: nobody waits for a slot that is free, whoever came first goes first."""

from dataclasses import replace

import pytest

from tests.sim.fleet import simulate
from tests.sim.plan import Faults, plan

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_faults_a_free_slot_finds_the_first_in_line_at_once(seed):
    simulate(replace(plan(seed), faults=Faults(), go_nodes=0, operator_acts=0))
