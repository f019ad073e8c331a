"""Fleets of machines without etcd, whose servers are killed, stand still and run twice, in the storms of the seeds.

Half of them share their semaphore with machines with etcd, FleetLock clients and legacy nodes.
"""

import os
from dataclasses import replace

import pytest

from tests.sim.broken_servers import quiet
from tests.sim.fleet import simulate
from tests.sim.plan import FEW, machines_served, plan

SEEDS = max(4, int(os.environ.get("SIM_SEEDS", "100")) // 4)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_machines_without_etcd(seed):
    drawn = plan(seed)
    few = drawn if drawn.machines <= FEW else replace(drawn, machines=4, windows=drawn.windows[:4], slots=2)
    simulate(machines_served(few))


def test_a_slot_finds_a_machine_without_etcd_within_a_second_on_a_quiet_day():
    """The rules of a quiet day are those of machines with etcd. No place expires, and each machine reboots."""
    text = "\n".join(simulate(replace(quiet(plan(1)), busy=0.0)).lines)
    assert all(f"n{number}        goes down by its daemon" in text for number in (1, 2, 3))
