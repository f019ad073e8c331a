"""What a machine shows of itself, and the store that keeps it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from locksmith.errors import StoreUnavailableError
from locksmith.lock.presence import Presence
from locksmith.lock.records import keys, node
from locksmith.lock.records.node import Node
from locksmith.store.memory import MemoryServer, MemoryStore

NOW = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)
IDLE = Node("m1", "n1", "boot-1", "web", "etcd-lock", "idle", NOW, version="1")
WAITING = replace(IDLE, state="waiting", code="window", reason="outside the reboot window", until=NOW, need="engine")


class Registry:
    """The store, who asks it for what, and the machine's record in it."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.calls: list[str] = []
        self.down = False
        self.full = False

    def presence(self, boots: "Boots | None" = None) -> Presence:
        return Presence(MemoryStore(self.server, self), "web", "m1", boots)

    async def carry(self, call):
        await asyncio.sleep(0)
        self.calls.append(call.name)
        if self.down or (self.full and call.write and call.name != "revoke"):
            raise StoreUnavailableError("no endpoint answers")
        return call.apply()

    @property
    def record(self) -> Node:
        found = self.read()
        assert found is not None
        return found

    def read(self) -> Node | None:
        key = keys.node_key("web", "m1")
        entry = self.server.read(key).entry
        return node.decode(entry.value, key, "m1") if entry else None


class Boots:
    """What a machine remembers of its boots."""

    def __init__(self, *boots: str) -> None:
        self.boots = [*boots]

    def known(self) -> list[str]:
        return self.boots

    def add(self, run: str) -> None:
        self.boots.append(run)


async def days_pass(presence: Presence, state: Node, seconds: float) -> None:
    """Show the same state at each heartbeat."""
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        await presence.show(state)
        await asyncio.sleep(30)
