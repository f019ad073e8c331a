"""Real waiters: they ask the daemon's lock, with the line before it, and wait until it is worth asking again.

`python -m bench.fellows URL GROUP` does as the lines of its standard input say, `ask N` and `give-back N`, and tells
what happens to whom and when, `NEWS N SECONDS`: the code of a no, `granted`, `given-back`, and `looked` when one looks
at the v2 keyspace. It ends with its standard input. The benchmark lets neighbours in line be in different processes: on
a machine each has one of its own, and here one's threads would hold up the other's.
"""

import asyncio
import sys
import time

from bench.crowd import claim
from locksmith.agent.ports import HEARTBEAT
from locksmith.lock import queue
from locksmith.lock.answer import Granted
from locksmith.lock.keyspaces import refuse_if_v2_in_use
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.store.connect import open_store
from locksmith.store.settings import StoreSettings

GRANTED, RELEASED, LOOKED = "granted", "given-back", "looked"
queue.CHECK_AFTER = 1.0  # slots are handed over far faster here than machines reboot, and who is far back comes near


class Fellow:
    """One waiter."""

    def __init__(self, settings: StoreSettings, group: str, number: int) -> None:
        store = open_store(settings)

        async def guard() -> None:
            self._tell(LOOKED)
            await refuse_if_v2_in_use(settings, group)

        self._number = number
        self._lock = QueuedLock(RebootLock(store, group, guard=guard), Queue(store, group))
        self._claim = claim(number)

    async def ask(self) -> None:
        """Wait for a slot, with a new claim, as the daemon's loop does."""
        self._claim = claim(self._number)
        while not isinstance(answer := await self._lock.take(self._claim), Granted):
            self._tell(answer.code)
            await self._lock.changed(HEARTBEAT)
        self._tell(GRANTED)

    async def release(self) -> None:
        """Give the slot back, as the daemon does after a reboot."""
        await self._lock.release(self._claim, fence_pending=False, why="rebooted", rebooted=True)
        self._tell(RELEASED)

    async def close(self) -> None:
        """Leave."""
        await self._lock.close()

    def _tell(self, news: str) -> None:
        print(news, self._number, time.monotonic(), flush=True)


async def main(url: str, group: str) -> None:
    """Do as told."""
    settings = StoreSettings(endpoints=(url,))
    fellows: dict[int, Fellow] = {}
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        doing: set[asyncio.Task[None]] = set()
        while order := (await orders.readline()).decode().split():
            fellow = fellows.setdefault(int(order[1]), Fellow(settings, group, int(order[1])))
            doing.add(tasks.create_task(fellow.ask() if order[0] == "ask" else fellow.release()))
        for task in doing:
            task.cancel()
    for fellow in fellows.values():
        await fellow.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
