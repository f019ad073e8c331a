"""How many machines a group has: counted seldom, and remembered where a count fails."""

import asyncio
from random import Random

from locksmith.errors import StoreUnavailableError
from locksmith.lock.group_size import AGAIN_AFTER, FIRST_WITHIN, GroupSize
from locksmith.lock.records import keys
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.sim.virtual_time import run


class Counting(MemoryStore):
    """A store that notes when it was counted, and may be away."""

    def __init__(self) -> None:
        super().__init__(MemoryServer())
        self.counted: list[float] = []
        self.away = False

    async def count(self, prefix: str) -> int:
        self.counted.append(asyncio.get_running_loop().time())
        if self.away:
            raise StoreUnavailableError("no endpoint answers")
        return await super().count(prefix)


async def heartbeats(size: GroupSize, seconds: float) -> None:
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        await size.count_in_time()
        await asyncio.sleep(30)


def test_the_machines_of_a_group_are_counted_within_minutes_and_then_every_few_hours():
    async def main(_loop):
        store = Counting()
        for number in range(250):
            await store.create(keys.node_key("web", f"n{number}"), b"", ttl=90_000)
        await store.create(keys.node_key("web2", "n1"), b"", ttl=90_000)
        size = GroupSize(store, "web", Random(1))
        await size.count_in_time()
        assert (size.machines, size.spread()) == (0, 0.0)
        await heartbeats(size, FIRST_WITHIN + 30)
        assert (size.machines, size.spread()) == (250, 2.5)
        await heartbeats(size, 4 * AGAIN_AFTER)
        assert 5 <= len(store.counted) <= 9

    run(main)


def test_a_count_that_fails_leaves_what_was_known_and_is_made_again_within_minutes():
    async def main(_loop):
        store = Counting()
        await store.create(keys.node_key("web", "n1"), b"", ttl=90_000)
        size = GroupSize(store, "web", Random(1))
        await heartbeats(size, FIRST_WITHIN + 30)
        store.away = True
        await heartbeats(size, AGAIN_AFTER + 30)
        failed = len(store.counted)
        assert failed > 2
        assert size.machines == 1
        await store.create(keys.node_key("web", "n2"), b"", ttl=90_000)
        store.away = False
        await heartbeats(size, FIRST_WITHIN + 30)
        assert size.machines == 2
        assert len(store.counted) == failed + 1

    run(main)
