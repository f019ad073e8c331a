"""The presence of machines that call one server is prolonged with one request, and is never shorter for that."""

import asyncio
from dataclasses import replace

import pytest

from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.errors import StoreUnavailableError
from locksmith.host.server_client import ServerClient
from locksmith.host.server_store import ServerStore
from locksmith.lock.presence import KEEP_AFTER, Presence
from locksmith.lock.records import keys
from locksmith.lock.records.node import TTL, Node
from locksmith.server import shared_renewals
from locksmith.server.hub import SETTLE_LIMIT, Hub
from locksmith.server.shared_renewals import CALLS_AGAIN, EVERY
from locksmith.store.protocol import NoObserver
from tests.builders.hubs import Counted, following, served
from tests.builders.machine_desks import play
from tests.builders.one_store import G

LATEST = KEEP_AFTER + 30
"""Seconds after which an idle machine prolongs its presence at the latest: the daemon looks every 30."""


class Machine:
    """An idle daemon that shows itself through a server, and then through another."""

    def __init__(self, servers, name, *desks):
        self._doors = {door.url: door for door in servers.doors(name, *desks)}
        self.presence = Presence(ServerStore(self._client()), G, name)
        self._servers = servers
        self._shown = Node(name, name, "boot-1", G, "server", "idle", servers.now(), hardware=name)

    def _client(self):
        return ServerClient(FleetServerSettings(urls=tuple(self._doors)), G, NoObserver(), self._doors.__getitem__)

    async def show(self):
        await self.presence.show(replace(self._shown, since=self._servers.now()))


class Renewing(Counted):
    """A network on which a request to prolong meets `fate`; all else is as usual."""

    def __init__(self, fate):
        super().__init__()
        self._fate = fate

    async def carry(self, call):
        if call.name == "renew":
            await self._fate()
        return await super().carry(call)


async def is_shown(servers, name):
    return (await servers.store().get(keys.node_key(G, name))).entry is not None


async def with_a_promise(servers, *desks):
    """Give a machine that has shown itself, and whose server has just said that its presence is prolonged."""
    one = Machine(servers, "one", *desks)
    await one.show()
    await asyncio.sleep(LATEST)
    await one.show()
    return one


def test_many_idle_machines_cost_the_store_one_request(tmp_path):
    async def story(servers):
        network = Counted()
        async with served(servers, network) as desk:
            machines = [Machine(servers, f"m{number}", desk) for number in range(40)]
            for machine in machines:
                await machine.show()
            await asyncio.sleep(LATEST)
            network.calls.clear()
            for machine in machines:
                await machine.show()
            await asyncio.sleep(EVERY + 1)
            assert network.calls["renew"] == 1
            assert not {"create", "update", "swap"} & network.calls.keys()

    play(story, tmp_path)


def test_a_machine_that_calls_stays_and_one_that_is_gone_expires(tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            one, other = Machine(servers, "one", desk), Machine(servers, "other", desk)
            await other.show()
            for _ in range(10):
                await one.show()
                assert await is_shown(servers, "one")
                await asyncio.sleep(LATEST)
            assert (one.presence.arrivals, await is_shown(servers, "other")) == (1, False)

    play(story, tmp_path)


def test_a_server_that_ends_before_it_has_prolonged_anything_costs_no_presence(tmp_path):
    async def story(servers):
        desk = servers.desk()
        one = Machine(servers, "one", desk, servers.desk())
        hub = Hub(desk.store, [G])
        desk.wait_by(hub)
        async with following(hub, G):
            await one.show()
            await asyncio.sleep(LATEST)
            await one.show()
            [_] = hub._renewals[G]._due
        next(iter(one._doors.values())).down = True
        await asyncio.sleep(LATEST)
        assert await is_shown(servers, "one")
        await one.show()
        await asyncio.sleep(TTL - LATEST)
        assert (one.presence.arrivals, await is_shown(servers, "one")) == (1, True)

    play(story, tmp_path)


def test_a_server_that_ends_in_order_prolongs_first_what_it_has_promised(tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            await with_a_promise(servers, desk)
            await desk._hub.settle()
        await asyncio.sleep(TTL - 1)
        assert await is_shown(servers, "one")

    play(story, tmp_path)


@pytest.mark.parametrize("cut", [True, False], ids=["refused", "silent"])
def test_a_server_ends_although_the_store_is_away(cut, tmp_path):
    async def story(servers):
        network = Counted()
        async with served(servers, network) as desk:
            await with_a_promise(servers, desk)
            network.cut, network.silent = cut, not cut
            async with asyncio.timeout(2 * SETTLE_LIMIT):
                await desk._hub.settle()

    play(story, tmp_path)


def test_while_the_store_is_away_nothing_is_promised(tmp_path):
    async def story(servers):
        network = Counted()
        async with served(servers, network) as desk:
            one = await with_a_promise(servers, desk)
            network.cut = True
            await asyncio.sleep(EVERY + 1)
            renewals, key = desk._hub._renewals[G], keys.node_key(G, "one")
            version = renewals._due[key].entry.version
            assert not renewals.promised(key, version, TTL)
            await asyncio.sleep(LATEST - EVERY)
            with pytest.raises(StoreUnavailableError):
                await one.show()
            network.cut = False
            await asyncio.sleep(2 * EVERY)
            assert (renewals._due, await is_shown(servers, "one")) == ({}, True)
            assert renewals.promised(key, version, TTL)

    play(story, tmp_path)


@pytest.mark.parametrize(("older", "ttl"), [(1, TTL), (0, TTL - 1)], ids=["another version", "a short lease"])
def test_the_store_decides_what_is_not_plain(older, ttl, tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            await Machine(servers, "one", desk).show()
            await asyncio.sleep(1)
            key = keys.node_key(G, "one")
            entry = (await servers.store().get(key)).entry
            assert not desk._hub.renewals(G).promised(key, entry.version - older, ttl)
            assert desk._hub.renewals(G).promised(key, entry.version, TTL)

    play(story, tmp_path)


def test_a_record_that_has_expired_meanwhile_is_written_again(tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            one = await with_a_promise(servers, desk)
            entry = (await servers.store().get(keys.node_key(G, "one"))).entry
            await servers.store().revoke(entry)
            await asyncio.sleep(LATEST)
            await one.show()
            assert (one.presence.arrivals, await is_shown(servers, "one")) == (2, True)

    play(story, tmp_path)


def test_a_machine_that_is_gone_is_not_kept_by_a_promise_that_failed(tmp_path):
    async def story(servers):
        network = Counted()
        async with served(servers, network) as desk:
            await with_a_promise(servers, desk)
            network.cut = True
            await asyncio.sleep(CALLS_AGAIN + 1)
            network.cut = False
            await asyncio.sleep(TTL - LATEST - CALLS_AGAIN)
            assert not await is_shown(servers, "one")

    play(story, tmp_path)


def test_what_was_prolonged_is_not_prolonged_again_because_the_rest_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_renewals, "AT_ONCE", 2)
    asked = []

    async def fate():
        asked.append(1)
        if len(asked) == 2:
            raise StoreUnavailableError("this one is lost")

    async def story(servers):
        async with served(servers, Renewing(fate)) as desk:
            machines = [Machine(servers, f"m{number}", desk) for number in range(3)]
            for machine in machines:
                await machine.show()
            await asyncio.sleep(LATEST)
            for machine in machines:
                await machine.show()
            await asyncio.sleep(EVERY + 1)
            assert [*desk._hub._renewals[G]._due] == [keys.node_key(G, "m2")]
            await asyncio.sleep(EVERY)
            assert (len(asked), desk._hub._renewals[G]._due) == (3, {})

    play(story, tmp_path)


async def _for_ever():
    await asyncio.Event().wait()


async def _defect():
    raise ValueError("a defect")


@pytest.mark.parametrize("fate", [_for_ever, _defect], ids=["hangs", "a defect"])
def test_where_prolonging_hangs_or_has_a_defect_the_store_is_asked(fate, tmp_path):
    fates = [fate]

    async def first():
        await fates[0]()

    async def story(servers):
        async with served(servers, Renewing(first)) as desk:
            await with_a_promise(servers, desk)
            await asyncio.sleep(2 * EVERY + 1)
            renewals, key = desk._hub._renewals[G], keys.node_key(G, "one")
            version = renewals._due[key].entry.version
            assert not renewals.promised(key, version, TTL)
            fates[0] = lambda: asyncio.sleep(0)
            await asyncio.sleep(2 * EVERY)
            assert renewals._due == {}
            assert renewals.promised(key, version, TTL)

    play(story, tmp_path)


def test_a_server_that_ends_lets_a_round_that_is_under_way_come_to_its_end(tmp_path):
    async def story(servers):
        under_way = asyncio.Event()

        async def fate():
            under_way.set()
            await asyncio.sleep(1)

        async with served(servers, Renewing(fate)) as desk:
            await with_a_promise(servers, desk)
            await under_way.wait()
            await desk._hub.settle()
        await asyncio.sleep(TTL - EVERY)
        assert await is_shown(servers, "one")

    play(story, tmp_path)
