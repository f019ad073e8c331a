"""The strategy `server`: real daemons without etcd, real servers, a real etcd."""

import asyncio
import uuid
from contextlib import AsyncExitStack

import pytest

from tests.contract.daemons import STORY_LIMIT
from tests.contract.server_sites import ServerSite
from tests.harness.waiting import until


@pytest.fixture
def site(wheel_etcd, tmp_path):
    return ServerSite(wheel_etcd, f"g-{uuid.uuid4()}", tmp_path)


def test_a_fleet_without_etcd_rolls_out_while_a_server_is_killed(site):
    """Three machines reboot one by one. The server that they prefer is killed while the first has its slot."""

    async def story():
        async with asyncio.timeout(STORY_LIMIT), AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(site.node(f"n{number}")) for number in (1, 2, 3)]
            for node in nodes:
                node.need_reboot("4081.2.0")
            await until(lambda: site.lock.holders, "one has a slot")
            first.kill()
            for node in nodes:
                await node.rebooted(limit=40)
            await site.is_free()
            await until(lambda: all(node.claim is None for node in nodes), "each journal is empty")
        assert max(len(moment.holders) for moment in site.lock.history) == 1
        assert site.lock.story.count("committed") == 3

    with site.server() as first, site.server() as second:
        site.urls = [first.url, second.url]
        asyncio.run(story())
