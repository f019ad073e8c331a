"""The simulation can see: each rule is broken on purpose, by a part that is wrong in one place, and must be noticed."""

import hashlib
import inspect
import os
import re
import subprocess
import sys

import pytest

from tests.sim import client_rules, desks, hub_rules, memory_rules, rules, switch_rules
from tests.sim.broken_desks import BROKEN_DESKS
from tests.sim.broken_hubs import BROKEN_HUBS, far_back
from tests.sim.broken_memory import BROKEN_MEMORY
from tests.sim.broken_parts import BROKEN, Broken, NoTake
from tests.sim.broken_servers import BROKEN_SERVERS
from tests.sim.broken_switches import BROKEN_SWITCHES
from tests.sim.daemon import Parts
from tests.sim.fleet import Simulation, simulate
from tests.sim.plan import plan
from tests.sim.served import Served
from tests.sim.story import BrokenRuleError

SEEDS = range(60)
"""A broken part has to be noticed within these."""
FEW = 8
"""Machines; the crowds among the seeds take long, and show no more."""


ALL = [*BROKEN, *BROKEN_DESKS, *BROKEN_SERVERS, *BROKEN_HUBS, *BROKEN_MEMORY, *BROKEN_SWITCHES]
EACH = int(os.environ.get("SIM_PARTS", "1"))
"""Every part, or of those that break the same rule the first, and then every second one (2)."""


def tried() -> list[Broken]:
    of_rule: dict[str, list[Broken]] = {}
    for broken in ALL:
        of_rule.setdefault(broken.rule, []).append(broken)
    return [broken for parts in of_rule.values() for broken in parts[::EACH]]


@pytest.mark.parametrize("broken", tried(), ids=lambda broken: f"{broken.part.__name__}: {broken.rule}")
def test_a_broken_part_is_noticed(broken):
    noticed = []
    for drawn in map(plan, dict.fromkeys([broken.seed, *SEEDS])):
        if drawn.machines > FEW:
            continue
        try:
            simulate(broken.shape(drawn), broken.parts)
        except BrokenRuleError as error:
            noticed.append(error.rule)
            if broken.rule in error.rule:
                return
    pytest.fail(f"not noticed, but {noticed}" if noticed else "not noticed")


def test_each_rule_is_broken_by_some_part():
    """Each rule has a part that breaks it. Two need none: what breaks them breaks another rule before."""
    source = "".join(map(inspect.getsource, (rules, client_rules, hub_rules, memory_rules, switch_rules, desks)))
    safety = re.findall(r'breaks\(f"([^"]+)"', source)
    ends = inspect.getsource(Simulation._open_ends) + inspect.getsource(Served.open_ends)
    liveness = sorted({*re.findall(r"still [a-z ]+", ends)})
    sentences = [re.sub(r"{[^}]*}", "", sentence) for sentence in (*safety, *liveness)]
    assert len(safety) >= 45
    assert len(liveness) == 5
    missed = [sentence for sentence in sentences if not any(broken.rule in sentence for broken in ALL)]
    assert missed == [" goes down and holds no slot", " is to reboot, and no slot is held for it"]


REPEATED = [plan(seed) for seed in (2, 11, 22)] + [far_back(plan(7))]


def test_a_seed_tells_the_same_story_again():
    for drawn in REPEATED:
        assert simulate(drawn).lines == simulate(drawn).lines


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_tells_the_same_story_in_another_process(hash_seed):
    """Neither where things lie in memory nor how strings are hashed may decide anything."""
    command = [sys.executable, "-c", "from tests.sim.test_sight import digest; digest()"]
    done = subprocess.run(
        command, capture_output=True, check=True, timeout=60, env={**os.environ, "PYTHONHASHSEED": hash_seed}
    )
    assert done.stdout.decode() == fingerprint()


def fingerprint() -> str:
    lines = [line for drawn in REPEATED for line in simulate(drawn).lines]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest() -> None:
    os.write(1, fingerprint().encode())


def test_a_failure_tells_the_rule_the_last_events_and_how_to_replay_it():
    with pytest.raises(BrokenRuleError) as caught:
        simulate(plan(1), Parts(strategy=NoTake))
    told = str(caught.value)
    assert "without holding a slot" in told.splitlines()[0]
    assert "orders its reboot" in told
    assert "replay: LOCKSMITH_SIM_SEED=1 .venv/bin/pytest tests/sim" in told
