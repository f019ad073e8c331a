"""What machines without etcd show of themselves, through servers, on one store in memory."""

import asyncio
import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.errors import StoreRefusedError
from locksmith.host.server_client import ServerClient
from locksmith.host.server_store import ServerStore
from locksmith.lock import machine_wire as wire
from locksmith.lock.membership import Membership
from locksmith.lock.presence import Presence
from locksmith.lock.records import keys, node
from locksmith.lock.records.node import TTL, Node
from locksmith.server.identity import Identity, Role
from locksmith.server.shared_reads import SharedReads
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import NoObserver, Position
from locksmith.util.jsonread import BadJsonError
from tests.builders.claims import claim as make_claim
from tests.builders.hubs import Counted
from tests.builders.machine_desks import play
from tests.builders.one_store import G
from tests.harness.fault_script import StepwiseStore

STORES = [MemoryStore, StepwiseStore]


def shown(servers, machine: str, **changes) -> Node:
    return replace(Node(machine, machine, "boot-1", G, "server", "idle", servers.now(), hardware=machine), **changes)


def presence(servers, machine: str, *desks) -> Presence:
    doors = {door.url: door for door in servers.doors(machine, *desks)}
    client = ServerClient(FleetServerSettings(urls=tuple(doors)), G, NoObserver(), doors.__getitem__)
    return Presence(ServerStore(client), G, machine)


async def state(servers, machine: str) -> str:
    found = await stands(servers, machine)
    return found.state if found else ""


async def stands(servers, machine: str) -> Node | None:
    key = keys.node_key(G, machine)
    entry = (await servers.store().get(key)).entry
    return node.decode(entry.value, key, machine) if entry else None


@pytest.mark.parametrize("store", STORES)
def test_a_machine_shows_itself_stays_and_leaves(store, tmp_path):
    async def story(servers):
        one = presence(servers, "a", servers.desk(), servers.desk())
        await one.show(shown(servers, "a"))
        for _ in range(8):
            await asyncio.sleep(TTL / 2)
            await one.show(shown(servers, "a", since=servers.now()))
        assert await state(servers, "a") == "idle"
        await one.confirm(shown(servers, "a", state="rebooting"), 600)
        assert await state(servers, "a") == "rebooting"
        await one.leave()
        assert await stands(servers, "a") is None
        await one.show(shown(servers, "a"))
        await asyncio.sleep(2 * TTL)
        assert await stands(servers, "a") is None

    play(story, tmp_path, store)


def test_without_a_mirror_an_idle_machine_costs_the_store_two_requests_each_time(tmp_path):
    async def story(servers):
        network = Counted()
        one = presence(servers, "a", servers.desk(network))
        await one.show(shown(servers, "a"))
        await asyncio.sleep(TTL / 2)
        network.calls.clear()
        await one.show(shown(servers, "a", since=servers.now()))
        assert network.calls == {"get": 1, "renew": 1}

    play(story, tmp_path)


@pytest.mark.parametrize("store", STORES)
def test_two_machines_of_one_id_find_each_other_through_servers(store, tmp_path):
    async def story(servers):
        one, other = (presence(servers, "a", servers.desk()) for _ in range(2))
        await one.show(shown(servers, "a", hardware="x"))
        await other.show(shown(servers, "a", hardware="y", boot_id="boot-2"))
        assert other.clone
        await asyncio.sleep(TTL / 2)
        await one.show(shown(servers, "a", hardware="x", state="waiting"))
        assert one.clone

    play(story, tmp_path, store)


class NoGroup:
    def read(self):
        return "another"

    def write(self, group):
        pass


def test_a_group_remembers_its_machines_and_servers_notice_those_that_are_gone(tmp_path):
    async def story(servers):
        desk = servers.desk()
        parts = {name: presence(servers, name, desk) for name in ("a", "b")}
        for name, part in parts.items():
            await part.show(shown(servers, name))
            await Membership(part._store, G, name, part, NoGroup(), clock=servers.now).follow()
        assert [key for key in servers.keys if key.startswith("members/")] == ["members/a", "members/b"]
        for _ in range(4):
            await asyncio.sleep(TTL / 2)
            await parts["a"].show(shown(servers, "a", since=servers.now()))
        assert [key for key in servers.keys if not key.startswith("nodes/")] == ["absent/b", "members/a"]

    play(story, tmp_path)


def test_what_no_machine_may_do_is_refused_by_its_own_store_or_by_the_server(tmp_path):
    async def story(servers):
        store = presence(servers, "a", servers.desk())._store
        for act in (
            store.list("x/"),
            store.folders("x/"),
            store.lend(9),
            store.get(keys.semaphore_key("another")),
            store.create(keys.node_key(G, "b"), b"{}", ttl=9),
            store.create(keys.semaphore_key(G), b"{}", ttl=9),
            store.delete(keys.freeze_key(G), 1),
        ):
            with pytest.raises(StoreRefusedError):
                await act
        assert servers.keys == []

    play(story, tmp_path)


def read_of(*wanted: str) -> dict[str, Any]:
    return {"store": {"cluster": "", "revision": 0}, "keys": list(wanted)}


A = Identity(Role.MACHINE, "a")
KEY = keys.node_key(G, "b")


@pytest.mark.parametrize("wanted", [[KEY] * 2, [KEY + "x" * wire.LONGEST_KEY], [KEY, keys.freeze_key(G), KEY]])
def test_a_read_that_grows_by_its_keys_is_refused(wanted, tmp_path):
    async def story(servers):
        with pytest.raises(BadJsonError, match="each key must be there once, with at most 2048 characters"):
            await servers.desk().call(G, A, wire.READ, read_of(*wanted))

    play(story, tmp_path)


def test_an_answer_that_is_too_long_is_an_error_of_the_store(tmp_path):
    async def story(servers):
        names = [keys.node_key(G, f"n{number}") for number in range(wire.LARGEST_ANSWER // (256 * 1024))]
        for name in names:
            await servers.store().create(name, bytes(256 * 1024))
        with pytest.raises(StoreRefusedError, match="the answer is longer than 8 MiB: read fewer keys in a call"):
            await servers.desk().call(G, A, wire.READ, read_of(*names))
        said = await servers.desk().call(G, A, wire.READ, read_of(*names[: len(names) // 2]))
        assert len(json.dumps(said)) < wire.LARGEST_ANSWER
        assert len(said["readings"]) == len(names) // 2

    play(story, tmp_path)


def test_shared_reads_remember_no_keys(tmp_path):
    async def story(servers):
        shared = SharedReads(servers.store())
        for number in range(50):
            await shared.read([f"{KEY}/{number}/{'x' * 2000}"] * 100)
        assert len(shared._began) == 50
        assert sum(map(sys.getsizeof, shared._began)) < 5000

    play(story, tmp_path)


ODD = {
    "2**63": 2**63,
    "-2**63-1": -(2**63) - 1,
    "10**30": 10**30,
    "half": "\ud800",
    "other half": "a\udfff",
    "half in a list": ["\ud800"],
    "half as a key": {"\ud800": 1},
    "10**30 below": {"a": [{"b": 10**30}]},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("call", wire.CALLS)
def test_what_no_store_takes_cannot_be_read_in_any_field_of_any_call(call, odd, tmp_path):
    async def story(servers):
        good = json.loads(wire.encode_call(Position(0), make_claim("a"), keys=[KEY], digest="x", version=1))
        for field in {*good, "digest", "write", "key", "value", "gone", "ttl", "seconds", "reason", "failure", "more"}:
            with pytest.raises(BadJsonError, match=r"more than 64 bits|half of a surrogate pair"):
                await servers.desk().call(G, A, call, {**good, field: odd})

    play(story, tmp_path)
