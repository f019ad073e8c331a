"""Fleets whose store is replaced by another cluster, with a backup: servers, machines and clients see it one by one.

No slot is granted there before an operator says that it counts. After that all go on, without a restart.
"""

import os

import pytest

from tests.sim.broken_switches import few, switched, with_etcd, without_etcd
from tests.sim.fleet import simulate
from tests.sim.plan import plan

SEEDS = max(2, int(os.environ.get("SIM_SEEDS", "100")) // 20)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_fleets_whose_store_is_replaced(seed):
    simulate(switched(plan(seed)))


@pytest.mark.parametrize(
    ("shape", "seed", "told"),
    [
        pytest.param(few, 3, "it belongs to etcd cluster caff, not to cafe", id="client"),
        pytest.param(with_etcd, 1, "it belongs to etcd cluster caff, not to cafe", id="with etcd"),
        pytest.param(without_etcd, 1, "it belongs to etcd cluster caff, not to cafe", id="without etcd"),
    ],
)
def test_all_wait_for_an_operators_word_and_then_go_on(shape, seed, told):
    text = "\n".join(simulate(shape(plan(seed))).lines)
    before, _, after = text.partition("says that cluster caff has taken the place of cafe")
    meanwhile = before.partition("is cluster caff from now on")[2]
    assert told in meanwhile
    assert "  takes " not in meanwhile
    assert " takes " in after
