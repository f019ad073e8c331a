"""A whole turn of the lock on real etcd, with each of its requests lost in turn: before etcd, behind it, or come late.

A turn is a place in line, a take, a commit, a give-back; a second machine goes for the slot right behind. However it
goes, never more than one holds, the slot is free at the end, and what arrives when all is over changes nothing.
"""

import asyncio
import base64
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from locksmith import keys
from locksmith.errors import StoreError
from locksmith.fleet import REBOOT, Claim
from locksmith.kv.etcd3 import Etcd3Store
from locksmith.queue import Queue
from locksmith.queued_lock import QueuedLock
from locksmith.rebootlock import RebootLock
from locksmith.snapshot import Granted
from tests.harness.lossy import AFTER, BEFORE, LATE, lossy

MOST = 60
"""Requests that a turn takes at most."""


def claim(name):
    return Claim(name, REBOOT, f"nonce-{name}", datetime.now(UTC).replace(microsecond=0), "locksmithd")


def open_lock(settings, url, group):
    store = Etcd3Store(replace(settings, endpoints=(url,)))
    return QueuedLock(RebootLock(store, group, rng=Random(1)), Queue(store, group, rng=Random(1)))


async def insist(act):
    """Do what a daemon does: ask again, as long as the store does not say."""
    while True:
        try:
            return await act()
        except StoreError:
            await asyncio.sleep(0.01)


async def turn(lock, mine):
    """Take the slot, pass the point of no return, and give it back."""
    async with asyncio.timeout(20):
        while not isinstance(await insist(lambda: lock.take(mine)), Granted):
            await insist(lambda: lock.changed(0.5))
        assert isinstance(await insist(lambda: lock.commit(mine)), Granted)
        await insist(lambda: lock.give_back(mine, settle=True, why="rebooted"))


def holders(etcd, group):
    """Who held at each revision, the youngest first, as etcd remembers it."""
    key, revision, found = base64.b64encode(keys.semaphore_key(group).encode()).decode(), 0, []
    while kvs := etcd.call("/v3/kv/range", key=key, revision=revision).get("kvs"):
        found.append(json.loads(base64.b64decode(kvs[0]["value"]))["holders"] or [])
        revision = int(kvs[0]["mod_revision"]) - 1
        if revision < int(kvs[0]["create_revision"]):
            break
    return found


@pytest.mark.parametrize("fate", [BEFORE, AFTER, LATE])
def test_whichever_request_of_a_turn_is_lost_the_lock_is_kept_and_free_at_the_end(wheel_etcd, fate):
    settings = wheel_etcd.settings(timeout=1.0)

    async def story(number):
        group = f"g-{uuid.uuid4()}"
        with lossy(wheel_etcd.endpoints[0], number, fate) as way:
            first = open_lock(settings, way.url, group)
            second = open_lock(settings, wheel_etcd.endpoints[0], group)
            try:
                await asyncio.gather(turn(first, claim("n1")), turn(second, claim("n2")))
                way.let_late_ones_arrive()
                assert holders(wheel_etcd, group)[0] == [], "free at the end"
                assert all(len(held) <= 1 for held in holders(wheel_etcd, group))
                taken = {held[0] for held in holders(wheel_etcd, group) if held}
                assert taken == {"n1", "n2"}
            finally:
                await first.close()
                await second.close()
            return way.passed

    asked = asyncio.run(story(-1))
    assert 5 < asked < MOST
    for number in range(asked):
        asyncio.run(story(number))
