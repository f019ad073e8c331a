"""Several machines take turns for two slots while everything between them and etcd, and within etcd, is flaky.

Connections of the machines to three real members, and of these among each other, are slow and break off; one member at
a time is frozen, or killed, and comes back. Which, how and for how long, a seed draws. At the end etcd's own history is
gone through: who held the lock at each revision.

    FLAKY_SEEDS=20 .venv/bin/pytest tests/contract/test_flaky_members.py
"""

import asyncio
import os
import time
import uuid
from contextlib import ExitStack
from random import Random

import pytest

from locksmith.lock.admin import LockAdmin
from tests.contract.daemons import Lock
from tests.contract.turns import TURN, insist, new_claim, open_lock, story, turn
from tests.harness.etcd import DEBIAN, Etcd
from tests.harness.flaky_proxy import Faults, FlakyProxy

SLOTS, MACHINES = 2, 5
FAULTS = 4
"""Members that are frozen or killed, one after the other."""
LONGEST_FAULT = 2.5
LIMIT = 90.0

TO_MEMBERS = Faults(delayed=0.1, delay=0.05, cut=0.05)
STALLS = Faults(delayed=0.01, delay=3.0, cut=0.0)
"""On the same ways: longer than a client waits, so that what it sent arrives when it has gone on."""
BETWEEN_MEMBERS = Faults(delayed=0.05, delay=0.05, cut=0.02)


@pytest.mark.parametrize("seed", range(int(os.environ.get("FLAKY_SEEDS", "2"))))
def test_whatever_fails_each_machine_has_its_turns_and_at_most_two_hold_a_slot(seed):
    group = f"g-{uuid.uuid4()}"
    to_members, stalls, between_members = proxies = [
        FlakyProxy(faults, seed) for faults in (TO_MEMBERS, STALLS, BETWEEN_MEMBERS)
    ]
    with ExitStack() as stack:
        peers = Etcd(DEBIAN, members=3, peer_way=lambda peer: stack.enter_context(between_members.way(peer)))
        etcd = stack.enter_context(peers)
        slow = [stack.enter_context(stalls.way(url)) for url in etcd.endpoints]
        ways = [stack.enter_context(to_members.way(url)) for url in slow]
        turns = asyncio.run(asyncio.wait_for(scene(etcd, ways, group, proxies, seed), LIMIT))
        history, waiters = Lock(etcd, group).history, Lock(etcd, group).waiters
    assert min(to_members.cuts, between_members.cuts) > 0
    assert {len(moment.holders) for moment in history} == {0, 1, SLOTS}
    assert {name: story(name, history) for name in turns} == {name: count * TURN for name, count in turns.items()}
    assert waiters == []


async def scene(etcd, ways, group, proxies, seed):
    """Take turns until the faults are over, and each once more in calm; give how many each machine had.

    The last turns of as many machines as there are slots are at the same time.
    """
    over, together = asyncio.Event(), asyncio.Barrier(SLOTS)

    async def machine(number):
        name, turns = f"n{number}", 0
        endpoints = Random(f"{seed} {name}").sample(ways, len(ways))
        async with open_lock(etcd.settings(endpoints=endpoints, timeout=1.0), group, number) as lock:
            while not over.is_set():
                await turn(lock, new_claim(name), LIMIT)
                turns += 1
            await turn(lock, new_claim(name), LIMIT, together if number < SLOTS else None)
        return name, turns + 1

    async with open_lock(etcd.settings(), group) as lock:
        await insist(lambda: LockAdmin(lock.lock.guarded).set_max(SLOTS))
    machines = [asyncio.ensure_future(machine(number)) for number in range(MACHINES)]
    await asyncio.to_thread(harm, etcd, Random(seed))
    for one in proxies:
        one.calm_down()
    over.set()
    return dict(await asyncio.gather(*machines))


def harm(etcd, rng):
    """Freeze or kill one member after the other, each for a while, and have it in good health before the next."""
    for _ in range(FAULTS):
        member, lasts = rng.choice(etcd.members), rng.uniform(0, LONGEST_FAULT)
        if rng.random() < 0.5:
            member.freeze()
            time.sleep(lasts)
            member.thaw()
        else:
            member.kill()
            time.sleep(lasts)
            member.launch()
        member.wait_ready()
