"""Fleets of machines without etcd that wait far back, at servers that keep their group in memory.

What servers share between machines is the real one: the mirror of a group, the room for those who wait, and the lease
of their places. Its watches lag, break and stay silent; servers die, stand still, run twice and lose the store.
"""

import os
from dataclasses import replace

import pytest

from tests.sim.broken_hubs import crowded, far_back
from tests.sim.fleet import simulate
from tests.sim.plan import plan

SEEDS = max(2, int(os.environ.get("SIM_SEEDS", "100")) // 7)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_those_who_wait_far_back(seed):
    simulate(far_back(plan(seed)))


def test_on_a_quiet_day_a_free_slot_finds_who_waits_far_back_within_a_second():
    """No place expires meanwhile, although no machine there asks the store."""
    text = "\n".join(simulate(replace(crowded(plan(1)), machines=6, windows=(None,) * 6, slots=1)).lines)
    assert text.count("goes down by its daemon") > 6
    assert "number 5 of 5" in text
