"""A queue on a server in memory, and the claims in it."""

import asyncio
from datetime import UTC, datetime

from locksmith.lock import places
from locksmith.lock.queue import Queue
from locksmith.lock.records import keys
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.sim.virtual_time import run

NOW = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)


def claim(name: str, nonce: str = "", kind: str = REBOOT) -> Claim:
    return Claim(name, kind, nonce or f"nonce of {name}", NOW, hostname=name)


class QueuePosition:
    """One server, and a queue for each who stands in line; `calls` counts what they ask of the server."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.calls: list[str] = []

    def queue(self) -> Queue:
        return Queue(MemoryStore(self.server, self), "")

    async def carry(self, call):
        await asyncio.sleep(0)
        self.calls.append(call.name)
        return call.apply()

    @property
    def names(self) -> list[str]:
        return [places.name_in(key) for key in self.keys]

    @property
    def keys(self) -> list[str]:
        """The places' keys, in the order of their turn."""
        entries = self.server.list(keys.waiters_prefix(""), 0, None).entries
        return [entry.key for entry in sorted(entries, key=lambda entry: places.turn(entry.key, entry.created))]

    def key(self, name: str) -> str:
        """The key of a name's place."""
        [found] = [key for key in self.keys if places.name_in(key) == name]
        return found


def play(story):
    return run(lambda _loop: story(QueuePosition()))
