"""The strategy `server`: real daemons without etcd, real servers, a real etcd."""

import asyncio
import uuid
from contextlib import AsyncExitStack

import pytest

from tests.contract.server_sites import ServerSite
from tests.harness.waiting import until

LIMIT = 60.0
"""Seconds, for a busy machine."""


@pytest.fixture
def site(wheel_etcd, tmp_path):
    return ServerSite(wheel_etcd, f"g-{uuid.uuid4()}", tmp_path)


def test_what_a_machine_without_etcd_shows_and_what_the_tool_says_there(site):
    """Its presence is in etcd, its windows come from there; it leaves the queue when its daemon stops."""

    async def story(node):
        await site.lock.take("another")
        await site.open_window("always", ["*-*-* 00:00 for 24h"])
        node.configure(site.settings(**site.changes(node), window={"sets": ["always"]}))
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (slot): no slot is free: max is 1, held by another", limit=LIMIT)
        await until(lambda: '"need":"update-engine"' in site.node_record(node), "it shows itself", LIMIT)
        assert '"strategy":"server"' in site.node_record(node)
        code, said = await node.tool("why")
        assert (code, f"Its strategy is server: the locksmith-server at {server.url} (group" in said) == (0, True), said
        code, said = await node.tool("status")
        assert (code, said.startswith("Error: this machine has no etcd, as its strategy is server: ")) == (1, True), (
            said
        )
        code, said = await node.run("locksmithd", "--check-config", "--online")
        assert f"{server.url} answers, with etcd cluster " in said, said
        assert "etcd: not asked: strategy server needs no store" in said
        await until(lambda: site.lock.waiters == [node.machine_id], "it is queued")
        await node.stop_daemon()
        assert site.node_record(node) == ""
        assert site.lock.waiters == []

    with site.server() as server:
        site.urls = [server.url]
        site.play_stopped(story)


def test_an_operators_reboot_goes_through_the_servers_too(site):
    async def story(node):
        await node.says("idle")  # the tool gives a daemon that starts three seconds to come to the bus
        code, said = await node.tool("reboot", "--reason", "disk swap")
        assert code == 0, said
        await node.rebooted(limit=LIMIT)
        await site.is_free()
        assert "committed" in site.lock.story

    with site.server() as server:
        site.urls = [server.url]
        site.play(story)


def test_a_fleet_without_etcd_rolls_out_while_a_server_is_killed(site):
    """Three machines reboot one by one. The server that they prefer is killed while the first has its slot."""

    async def story():
        async with asyncio.timeout(3 * LIMIT), AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(site.node(f"n{number}")) for number in (1, 2, 3)]
            for node in nodes:
                node.need_reboot("4081.2.0")
            await until(lambda: site.lock.holders, "one has a slot", LIMIT)
            first.kill()
            for node in nodes:
                await node.rebooted(limit=LIMIT)
            await site.is_free(LIMIT)
            await until(lambda: all(node.claim is None for node in nodes), "each journal is empty", LIMIT)
        assert max(len(moment.holders) for moment in site.lock.history) == 1
        assert site.lock.story.count("committed") == 3

    with site.server() as first, site.server() as second:
        site.urls = [first.url, second.url]
        asyncio.run(story())
