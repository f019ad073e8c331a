"""A server's hub that has read its group, and a network that counts what is asked."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from locksmith.errors import StoreUnavailableError
from locksmith.server.hub import Hub
from locksmith.store.memory import Call
from tests.builders.machine_desks import Servers
from tests.builders.one_store import G

T = TypeVar("T")


class Counted:
    """A network that counts what is asked; it can be cut, or carry nothing."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.cut = self.silent = False

    async def carry(self, call: Call[T]) -> T:
        await asyncio.sleep(0.001)
        if self.silent:
            await asyncio.Event().wait()
        if self.cut:
            raise StoreUnavailableError("the network is cut")
        self.calls[call.name] += 1
        return call.apply()


@contextlib.asynccontextmanager
async def following(hub: Hub, group: str) -> AsyncIterator[None]:
    """Run a hub, from when it has read the group."""
    hub.start()
    mirror = hub.mirrors.of(group)
    try:
        while not mirror.freshness.current:
            await mirror.changed(mirror.revision, 1)
        yield
    finally:
        await hub.close()


@contextlib.asynccontextmanager
async def served(servers: Servers, network: Any = None) -> AsyncIterator[Any]:
    """A server for machines without etcd, with its mirrors. Its type is open: tests reach into its parts."""
    desk = servers.desk(network)
    hub = Hub(desk.store, [G])
    desk.wait_by(hub)
    async with following(hub, G):
        yield desk
