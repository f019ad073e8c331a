"""A group of machines at one store in memory, with its orders and rules."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.host.watermark import SeenRevision
from locksmith.lock.admission import GroupRules
from locksmith.lock.errors import NotAdmittedError
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import incident as incident_record
from locksmith.lock.records import keys, node
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.unchanged import Unchanged
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.claims import NOW, claim
from tests.harness.fault_script import FaultScript
from tests.harness.remembered import remembered
from tests.sim.virtual_time import run

FREEZE = Order("alice", NOW, "the database moves", nonce="f1")


class Group:
    """A group of machines at one store in memory."""

    def __init__(self, kind: type[MemoryStore] = MemoryStore, rules: GroupRules = GroupRules()) -> None:  # noqa: B008 - they are frozen
        self.server = MemoryServer()
        self.kind = kind
        self.rules = rules
        self.unchanged = Unchanged()
        self.orders = OperatorOrders(self.store(), "", clock=lambda: NOW)

    def store(self, faults: FaultScript | None = None) -> MemoryStore:
        return self.kind(self.server, faults)

    def lock(self, faults: FaultScript | None = None, *, mark: SeenRevision | None = None) -> RebootLock:
        store = remembered(self.server, mark, faults, self.kind) if mark else self.store(faults)
        known = self.unchanged if self.rules.expire_after else None
        return RebootLock(store, "", clock=lambda: NOW, rules=self.rules, mark=mark, unchanged=known)

    async def present(self, name: str) -> None:
        shown = Node(name, name, "boot", "", "etcd-lock", "idle", NOW)
        await self.store().create(keys.node_key("", name), node.encode(shown), ttl=1e6)

    async def reboots(self, name: str) -> RebootLock:
        """Bring a machine past its point of no return."""
        lock = self.lock()
        await self.present(name)
        await lock.take(claim(name))
        await lock.commit(claim(name))
        return lock

    async def refuses(self, code: str, name: str) -> NotAdmittedError:
        with pytest.raises(NotAdmittedError) as caught:
            await self.lock().take(claim(name))
        assert caught.value.code == code
        return caught.value


def scene(story, kind=MemoryStore, **rules):
    async def main(_loop):
        await story(Group(kind, GroupRules(**rules)))

    run(main)


async def lost(group: Group, name: str) -> None:
    """Let a machine take a slot long ago, and never be seen again; its record has been seen for hours."""
    long_ago = NOW - timedelta(hours=3)
    await RebootLock(group.store(), "", clock=lambda: long_ago).take(replace(claim(name), since=long_ago))
    await seen_for_hours(group, name)


async def seen_for_hours(group: Group, name: str) -> None:
    """Let this program see the record of a slot, and again three hours later."""
    record = group.server.read(keys.holder_key("", name)).entry
    assert record is not None
    group.unchanged.stood(record, asyncio.get_running_loop().time())
    await asyncio.sleep(3 * 3600)


def noted(group: Group) -> list[str]:
    entry = group.server.read(keys.incidents_key("")).entry
    return [one.name for one in incident_record.decode(entry.value, entry.key)] if entry else []
