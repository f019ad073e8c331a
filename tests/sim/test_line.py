"""The queue on quiet days: no machine waits for a slot that is free, and the first to come goes first."""

import os
from dataclasses import replace

import pytest

from tests.sim.fleet import simulate
from tests.sim.plan import Faults, plan
from tests.sim.rollouts import rollout

SEEDS = range(max(4, int(os.environ.get("SIM_SEEDS", "100")) // 8))


@pytest.mark.parametrize("seed", SEEDS)
def test_without_faults_a_free_slot_finds_the_first_in_line_at_once(seed):
    simulate(replace(plan(seed), faults=Faults(), go_nodes=0, operator_acts=0))


def test_of_a_crowd_that_comes_at_one_moment_the_first_go_at_once():
    """Each machine knows its place as soon as it comes: the first never believes that it is far back."""
    assert rollout(1, machines=90, slots=5) > 0
