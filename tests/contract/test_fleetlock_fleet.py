"""One semaphore for all: FleetLock's clients (a double of Zincati), daemons with and without etcd, a legacy node."""

import asyncio
import itertools
import json
import secrets
import uuid
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest
import urllib3

from locksmith.lock.admin import LockAdmin
from locksmith.lock.guarded import Guarded
from locksmith.lock.records.keys import semaphore_key
from locksmith.store.connect import open_store
from tests.contract.server_sites import new_token
from tests.harness.balancer import balancing
from tests.harness.fleetlock_double import Double, serving
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.legacy_node import LegacyNode
from tests.harness.node import Node
from tests.harness.waiting import until
from tests.harness.zincati import Zincati, client_id

PERIOD = 0.4
LIMIT = 150.0
OFF = 0.15
"""Seconds that a machine is down."""


class Yard:
    """The machines of one group on etcd's v2 API, and who of them is down.

    No machine may go down that has no slot, or while as many are down as there are slots.
    """

    def __init__(self, etcd) -> None:
        self.etcd = etcd
        self.group = f"g-{uuid.uuid4()}"
        self.slots = 0
        self.down: set[str] = set()
        self.order: list[str] = []
        self._http = urllib3.PoolManager(retries=False)
        self.key = semaphore_key(self.group)

    @property
    def holders(self) -> list[str]:
        answer = self._http.request("GET", f"{self.etcd.members[0].url}/v2/keys/{self.key}?quorum=true").json()
        return json.loads(answer["node"]["value"])["holders"] or []

    @property
    def table(self) -> dict[str, Any]:
        return {"endpoints": list(self.etcd.endpoints), "timeout": "2s", "api": 2}

    async def set_slots(self, number: int) -> None:
        self.slots = number
        store = open_store(self.etcd.settings(api=2))
        try:
            await LockAdmin(Guarded(store, self.group)).set_max(number)
        finally:
            await store.close()

    def goes_down(self, machine: str) -> None:
        assert machine in self.holders, f"{machine} goes down without a slot"
        self.down.add(machine)
        self.order.append(machine)
        assert len(self.down) <= self.slots, f"more are down than there are slots: {self.down}"

    def reboot_of(self, machine: str):
        async def reboot() -> None:
            self.goes_down(machine)
            await asyncio.sleep(OFF)
            self.down.discard(machine)

        return reboot

    def node(self, name: str, folder, strategy: str = "etcd-lock", **more: Any) -> Node:
        """A daemon: by default with etcd-lock."""

        def look(event: str) -> None:
            if event == "down":
                self.goes_down(node.machine_id)
            else:
                self.down.discard(node.machine_id)

        tables: dict[str, Any] = {"etcd": self.table, "metrics": {"enabled": False}, "reboot": {"max-per-day": 20}}
        tables |= more
        lines = [f'strategy = "{strategy}"', f'group = "{self.group}"']
        for table, values in tables.items():
            lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        node = Node(name, folder, "\n".join(lines), reboot_time=lambda: OFF, on_event=look)
        return node

    async def node_without_etcd(self, name: str, folder, urls) -> Node:
        """A daemon with the strategy server, enrolled: its etcd leads nowhere."""
        file = folder / f"{name}.token"
        table = {"urls": list(urls), "token-file": str(file)}
        nowhere = {"endpoints": ["http://127.0.0.1:1"]}
        node = self.node(name, folder, "server", **{"fleet-server": table, "etcd": nowhere})
        store = open_store(self.etcd.settings(api=2))
        try:
            await store.create(*new_token(self.group, node.machine_id, file))
        finally:
            await store.close()
        return node

    def zincati(self, url: str, number: int) -> Zincati:
        machine = secrets.token_hex(16)
        return Zincati(url, self.group, machine, self.reboot_of(client_id(machine)), period=PERIOD, seed=number)

    def legacy(self) -> LegacyNode:
        machine = secrets.token_hex(16)
        return LegacyNode(self.etcd, self.key, machine, self.reboot_of(machine), period=PERIOD)


async def kill_in_turn(servers, killed: list[int]) -> None:
    """Kill one server after another at any moment, and start it again: four times, or until this is cancelled."""
    for server in itertools.islice(itertools.cycle(servers), 4):
        await asyncio.sleep(PERIOD)
        killed.append(server.pid)
        server.kill()
        await asyncio.to_thread(server.start)


async def all_rebooted(others, lives, times: int) -> None:
    """Wait until each has rebooted so often, or one has failed."""
    reached = lambda: all(other.reboots >= times for other in others)  # noqa: E731 - a condition
    await until(lambda: reached() or any(life.done() for life in lives), f"each has rebooted {times} times", LIMIT)
    for life in lives:
        if life.done():
            life.result()


def test_zincati_daemons_with_and_without_etcd_and_a_legacy_node_share_one(wheel_etcd, tmp_path):
    """Each reboots with one slot, and again with two, while one of two servers after the other is killed.

    Never are more down than there are slots, nor one without its slot.
    """
    yard = Yard(wheel_etcd)
    killed: list[int] = []

    async def story(url: str, servers) -> None:
        async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
            await yard.set_slots(1)
            nodes = [
                yard.node("n1", tmp_path),
                await yard.node_without_etcd("n2", tmp_path, [one.url for one in servers]),
            ]
            for node in nodes:
                await stack.enter_async_context(node)
            others: list[Zincati | LegacyNode] = [*(yard.zincati(url, number) for number in range(3)), yard.legacy()]
            lives = [asyncio.ensure_future(other.run()) for other in others]
            stack.callback(lambda: [life.cancel() for life in lives])
            for times in (1, 2):
                await yard.set_slots(times)
                if times == 2:
                    killing = asyncio.ensure_future(kill_in_turn(servers, killed))
                    stack.callback(killing.cancel)
                for node in nodes:
                    node.need_reboot(f"4081.{times}.0")
                for other in others:
                    other.need_reboot()
                await all_rebooted(others, lives, times)
                for node in nodes:
                    await node.rebooted(times, limit=LIMIT)
            await until(lambda: yard.holders == [], "each slot is released", LIMIT)

    with ExitStack() as stack:
        groups, tables = {yard.group: ANYBODY}, {"etcd": yard.table}
        servers = [FleetLockServer(wheel_etcd, groups, tables=tables) for _ in range(2)]
        urls = [stack.enter_context(server).url for server in servers]
        asyncio.run(story(stack.enter_context(balancing(urls)), servers))
    assert len(yard.order) == 12
    assert killed


def test_a_server_of_its_own_semaphore_is_caught(wheel_etcd):
    """The story can fail: a server that grants what etcd does not know of lets a machine go down without a slot."""
    yard = Yard(wheel_etcd)

    async def story(url: str) -> None:
        await yard.set_slots(1)
        other = yard.zincati(url, 1)
        life = asyncio.ensure_future(other.run())
        other.need_reboot()
        with pytest.raises(AssertionError, match="goes down without a slot"):
            await all_rebooted([other], [life], 1)

    with serving(Double(1)) as url:
        asyncio.run(story(url))
