"""Fleets of FleetLock clients, with several servers that die between any two requests, in the storms of the seeds.

`test_fleet.py` has them beside machines with a daemon.
"""

import os
from dataclasses import replace

import pytest

from tests.sim.broken_desks import expiring, left, slowly_served
from tests.sim.fleet import simulate
from tests.sim.plan import FEW, clients_alone, plan

SEEDS = max(6, int(os.environ.get("SIM_SEEDS", "100")) // 5)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_clients_alone(seed):
    drawn = plan(seed)
    simulate(clients_alone(drawn if drawn.machines <= FEW else replace(drawn, machines=1, slots=1)))


def test_a_client_that_never_comes_back_halts_its_group_until_an_operator_looks():
    """No operator looks for twenty minutes after that, in which the rules allow no reboot."""
    story = simulate(left(plan(1)))
    text = "\n".join(story.lines)
    assert "never comes back" in text
    assert "the group is halted: c" in text
    assert "acknowledges c" in text


def test_the_slot_of_a_client_that_is_gone_expires_whatever_the_clocks_say():
    """Two servers of which one may be a day off; nothing halts the group."""
    text = "\n".join(simulate(expiring(plan(1))).lines)
    assert ", which is lost" in text


def test_zincati_and_daemons_get_slots_in_turn_on_a_quiet_day():
    """Each client calls every five minutes, and keeps its place meanwhile; each daemon waits for its turn."""
    story = simulate(slowly_served(plan(1)))
    text = "\n".join(story.lines)
    assert text.count("may reboot, in") > 4
    assert text.count("goes down by its daemon") > 4
