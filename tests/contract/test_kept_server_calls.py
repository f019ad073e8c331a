"""Connections of a machine to locksmith-server that are kept: what may go over them, and what a drop does."""

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from locksmith.agent.fleet_server import API, FleetServerSettings
from locksmith.agent.strategy import StrategyContext
from locksmith.errors import OutcomeUnknownError
from locksmith.host.paths import Paths
from locksmith.host.server_client import ServerClient
from locksmith.host.server_store import ServerStore
from locksmith.host.watermark import SeenRevision
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records import keys, node
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.node import Node
from locksmith.store import pool
from locksmith.store.protocol import Expecting
from locksmith_strategies.server import Server
from tests.contract.server_sites import ServerSite
from tests.harness.keeping import Drop, keeping
from tests.harness.waiting import until

A, B = "a" * 32, "b" * 32
TTL = 60.0
LIMIT = 60.0

BEFORE_THE_BODY = [Drop.IDLE, Drop.AT_ONCE, Drop.AT_HEAD]
AFTER_IT_WAS_ASKED_FOR = [Drop.ASKED, Drop.AT_BODY, Drop.DONE]


@pytest.fixture
def site(wheel_etcd, tmp_path):
    return ServerSite(wheel_etcd, f"g-{uuid.uuid4()}", tmp_path)


@pytest.fixture
def server(site):
    with site.server() as running:
        yield running


def settings_of(site, url, machine=A):
    file = site.folder / f"{machine}.token"
    if not file.exists():
        site.enrol(machine, file)
    return FleetServerSettings(urls=(url,), token_file=file)


def told(site, url, story, *, limit=LIMIT):
    """Run a story of a machine's store."""

    async def whole():
        store = ServerStore(ServerClient(settings_of(site, url), site.group, Expecting(str)))
        try:
            async with asyncio.timeout(limit):
                await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


def shown(site, boot="boot"):
    """Give what a machine shows of itself."""
    return node.encode(Node(A, "n1", boot, site.group, "server", "idle", datetime.now(UTC)))


@pytest.mark.parametrize("drop", BEFORE_THE_BODY, ids=lambda drop: drop.name)
def test_a_write_on_a_connection_dropped_while_idle_is_done_once_and_known(site, server, drop):
    key = keys.node_key(site.group, A)

    async def story(store):
        way.drop = drop
        assert (await store.get(key)).entry is None
        made = await store.create(key, shown(site), ttl=TTL)
        assert (await store.get(key)).entry == made

    with keeping(server.url) as way:
        told(site, way.url, story)
    assert (way.drop, way.connections, way.passed) == (None, 2, 3)


@pytest.mark.parametrize("drop", AFTER_IT_WAS_ASKED_FOR, ids=lambda drop: drop.name)
def test_a_write_whose_body_was_asked_for_is_unknown_and_not_repeated(site, server, drop):
    key = keys.node_key(site.group, A)

    async def story(store):
        way.drop = drop
        await store.get(key)
        with pytest.raises(OutcomeUnknownError, match=way.url):
            await store.create(key, shown(site), ttl=TTL)
        assert ((await store.get(key)).entry is not None) == (drop is Drop.DONE)

    with keeping(server.url) as way:
        told(site, way.url, story)
    assert way.drop is None
    assert way.connections == 2


@pytest.mark.parametrize("drop", [*BEFORE_THE_BODY, Drop.AT_BODY, Drop.DONE], ids=lambda drop: drop.name)
def test_a_read_on_a_connection_that_is_dropped_is_repeated_unnoticed(site, server, drop):
    key = keys.node_key(site.group, A)

    async def story(store):
        way.drop = drop
        made = await store.create(key, shown(site), ttl=TTL)
        assert (await store.get(key)).entry == made

    with keeping(server.url) as way:
        told(site, way.url, story)
    assert (way.drop, way.connections) == (None, 2)


@pytest.mark.slow
def test_a_connection_that_a_firewall_forgot_costs_seconds_and_no_answer(site, server):
    key = keys.node_key(site.group, A)

    async def story(store):
        way.drop = Drop.FORGOTTEN
        await store.get(key)
        await store.get(key)
        assert await store.create(key, shown(site), ttl=TTL)

    with keeping(server.url) as way:
        told(site, way.url, story)
    assert way.drop is None


def test_a_proxy_that_asks_for_no_body_gets_later_writes_on_new_connections(site, server):
    key = keys.node_key(site.group, A)

    async def story(store):
        entry = await store.create(key, shown(site), ttl=TTL)
        for number in range(3):
            entry = await store.update(entry, shown(site, f"boot {number}"), TTL)

    with keeping(
        server.url, continues=False, refusal=b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
    ) as way:
        told(site, way.url, story)
    assert sum(b"100-continue" in head for head in way.heads) == 1


def test_a_machine_that_waits_keeps_one_connection_and_commits_on_a_new_one(site, server):
    """Its claim, reads and waits follow one another. Only the point of no return has a connection of its own."""

    async def story():
        first, second = (strategy_of(site, url, machine) for url, machine in ((way.url, A), (server.url, B)))
        mine, other = claim_of(A), claim_of(B)
        assert isinstance(await second.request(other), Granted)
        for _ in range(3):
            assert isinstance(await first.request(mine), Denied)
            first.recheck()
        assert isinstance(await first.request(mine), Denied)
        calls, before = len(way.heads), way.connections
        assert calls >= 8
        assert before <= 5, "a wait that is cut off ends its connection; nothing else does"
        await second.abort(other, "not needed")
        while not isinstance(await first.request(mine), Granted):
            await first.changed(5)
        await first.commit(mine)
        [head] = [head for head in way.heads if b"/commit " in head]
        assert b"100-continue" not in head
        await first.close()
        await second.close()

    with keeping(server.url) as way:
        asyncio.run(story())


def test_a_machine_that_asks_nothing_leaves_no_connection_at_the_server(site, server, monkeypatch):
    monkeypatch.setattr(pool, "KEPT", 0.3)
    key = keys.node_key(site.group, A)

    def open_files():
        return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))

    async def story(store):
        await store.get(key)
        await until(lambda: open_files() <= idle, "the server has closed its end", LIMIT)

    told(site, server.url, lambda store: store.get(key))  # what the server opens once, it has now
    idle = open_files()
    told(site, server.url, story)


def no_lock() -> QueuedLock:
    raise NotImplementedError


def strategy_of(site, url, machine):
    settings = settings_of(site, url, machine)
    mark = SeenRevision(Paths(site.folder / machine), API, ())
    context = StrategyContext(site.group, no_lock, fleet_server=settings, mark=lambda: mark)
    return Server(context, ServerClient(settings, site.group, mark))


def claim_of(machine):
    return Claim(machine, REBOOT, f"nonce of {machine}", datetime.now(UTC), DAEMON, machine[:2])
