"""The first in the queue cannot take a slot: the machines after it do not wait for that, and say why it does not."""

import asyncio
import json
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import DAEMON, REBOOT, UNHEALTHY, Claim
from locksmith.store.connect import open_store
from tests.contract.daemons import STORY_LIMIT, Site
from tests.harness import dead_endpoints
from tests.harness.etcd import Etcd


@pytest.fixture
def site(tmp_path):
    """An etcd without the v2 API: only the answers of all endpoints together say that the group is not used there."""
    with Etcd() as etcd:
        yield Site(etcd, f"g-{uuid.uuid4()}", tmp_path)


def play(site, story, first, second):
    """Run a story of two nodes, whose daemons do not run yet, with configurations of their own."""

    async def scene():
        async with asyncio.timeout(STORY_LIMIT), AsyncExitStack() as stack:
            one = await stack.enter_async_context(site.node("n1", running=False, **first))
            two = await stack.enter_async_context(site.node("n2", running=False, **second))
            await story(one, two)

    asyncio.run(scene())


async def queue_up(site, *nodes):
    """Let each machine want a reboot, one after another, and enter the queue."""
    for node in nodes:
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("queued for a slot" if site.lock.waiters else "waiting (")


def test_an_endpoint_of_its_own_that_is_silent_holds_up_no_other(site):
    async def story(one, two):
        rival = await site.lock.take("rack")
        await queue_up(site, one, two)
        await site.lock.release(rival)
        await one.says("waiting (store): no etcd endpoint could be used")
        # It shows that to its group a moment after its log, and is the first for as long as its attempts go on.
        await tells(two, "n2", "n1 is first in the queue and cannot take a slot: no etcd endpoint could be used")
        await two.rebooted()
        await one.says("waiting (take_fails): its attempts to take a slot fail: no etcd endpoint could be used")
        two.need_reboot("4081.3.0")
        await two.rebooted(2)
        _, told = await two.tool("why", "n1")
        assert "It left the queue until" in told
        assert one.reboots == 0

    with dead_endpoints.endpoint(dead_endpoints.silent) as silent:
        own = {"etcd": {"endpoints": [*site.endpoints, silent], "timeout": "1s"}}
        play(site, story, own, {})


def test_a_machine_that_has_seen_more_of_the_store_holds_up_no_other(site):
    async def story(one, two):
        seen = {"schema": 1, "store": f"3 {' '.join(sorted(site.endpoints))}", "revision": 10**9}
        one.paths.state.mkdir(parents=True)
        (one.paths.state / "seen.json").write_text(json.dumps({**seen, "resumed": "", "at": ""}))
        await one.start_daemon()
        one.need_reboot("4081.2.0")
        await one.says("waiting (restored)")
        await two.start_daemon()
        two.need_reboot("4081.2.0")
        await two.rebooted()
        assert one.reboots == 0
        status, said = await two.tool("resume", "--reason", "that file is wrong")
        assert status == 0, said
        await one.rebooted()

    play(site, story, {}, {})


def test_a_machine_that_halts_sooner_than_the_next_lets_it_pass(site):
    async def story(one, two):
        await sick_machine(site)
        await queue_up(site, one)
        await one.says("waiting (halt)")
        await two.start_daemon()
        two.need_reboot("4081.2.0")
        await two.says("waiting (queue)")
        await site.lock.set_max(2)
        await two.rebooted()
        assert one.reboots == 0
        _, told = await two.tool("why", "n1")
        assert "It left the queue until" in told
        assert "HALTED" not in told
        status, said = await two.tool("resume", "--reason", "seen")
        assert status == 0, said
        await one.rebooted()

    play(site, story, {}, {"halt": {"after": "3"}})


async def tells(node, machine, words):
    """Wait until `why` has these words."""
    told = ""
    for _ in range(30):
        _, told = await node.tool("why", machine)
        if words in told:
            return
    raise AssertionError(f"{words!r} is not said: {told}")


async def sick_machine(site):
    """Leave a slot with a machine that came up sick."""
    store = open_store(site.etcd.settings())
    lock = RebootLock(store, site.group)
    claim = Claim("sick", REBOOT, "nonce of sick", datetime.now(UTC), DAEMON, "sick")
    try:
        await lock.take(claim)
        await store.create(keys.node_key(site.group, "sick"), b"{}", ttl=900)
        await lock.commit(claim)
        await lock.report_failure(claim, UNHEALTHY, "web.service has failed")
    finally:
        await lock.close()
