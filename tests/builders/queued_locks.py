"""The lock with its queue, on a server in memory and on virtual time."""

import asyncio

from locksmith.lock import places
from locksmith.lock.answer import Answer, Denied
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.meter import Meter
from tests.builders.claims import NOW
from tests.sim.virtual_time import run

HOUR = 3600.0


class Metered(Meter):
    """Notes what is counted."""

    def __init__(self) -> None:
        self.released: list[tuple[float, float]] = []
        self.lines: list[tuple[int, int]] = []

    def gave_back(self, waited: float, held: float) -> None:
        self.released.append((waited, held))

    def queued(self, position: int, waiters: int) -> None:
        self.lines.append((position, waiters))


def lock(server: MemoryServer, store: MemoryStore | None = None, meter: Meter | None = None) -> QueuedLock:
    store = store or MemoryStore(server)
    return QueuedLock(RebootLock(store, "", clock=lambda: NOW), Queue(store, ""), meter)


def play(story) -> None:
    async def main(_loop) -> None:
        await story(MemoryServer())
        for _ in range(3):
            await asyncio.sleep(0)  # what was cancelled ends
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, "a watch goes on after its lock was closed"

    run(main)


def waiters(server: MemoryServer) -> list[str]:
    return [places.name_in(entry.key) for entry in server.list(keys.waiters_prefix(""), 0, None).entries]


async def denied(answer) -> Denied:
    found: Answer = await answer
    assert isinstance(found, Denied)
    return found


async def woken_after(lock_: QueuedLock, limit: float) -> float | None:
    """Give after how many seconds it is worth asking again; None: not within the limit."""
    clock = asyncio.get_running_loop().time
    start = clock()
    return clock() - start if await lock_.changed(limit) else None
