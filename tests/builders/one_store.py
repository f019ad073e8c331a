"""One store in memory and the group on it, in virtual time: what servers, daemons and operators of a story share."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from locksmith.lock.guarded import Guarded
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records import keys
from locksmith.store.memory import Faults, MemoryServer, MemoryStore

G = "workers"
START = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)


class OneStore:
    """The store of a story, its clock, and what stands in it. `remembered`: folders of the group that stay."""

    remembered: ClassVar[tuple[str, ...]] = ("reboots/",)

    def __init__(self, loop, kind: type[MemoryStore] = MemoryStore) -> None:
        self.loop, self.kind = loop, kind
        self.server = MemoryServer()
        self.orders = OperatorOrders(self.store(), G, clock=self.now)
        self.admin = self.orders.admin
        self.guarded = Guarded(self.store(), G)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time())

    def store(self, faults: Faults | None = None) -> MemoryStore:
        return self.kind(self.server, faults)

    async def holders(self) -> tuple[str, ...]:
        return (await self.guarded.semaphore())[0].holders

    @property
    def keys(self) -> list[str]:
        """Everything of the group but its history and what it remembers."""
        prefix = keys.group_prefix(G)
        past = (keys.history_prefix(G), *(f"{prefix}{folder}" for folder in self.remembered), keys.semaphore_key(G))
        return sorted(key.removeprefix(prefix) for key in self.server._entries if not key.startswith(past))
