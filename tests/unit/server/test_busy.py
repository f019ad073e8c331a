"""Who holds the slots, for refusals: however many call at once, etcd is read once."""

import asyncio
from datetime import UTC, datetime

from locksmith.server.busy import FRESH, BusySlots
from locksmith.store.memory import MemoryStore
from tests.builders.desks import play
from tests.builders.one_store import G


def test_many_who_are_refused_at_once_have_the_slots_read_once():
    async def story(fleet):
        asked = []

        class Counting(MemoryStore):
            async def get(self, key):
                asked.append(key)
                return await super().get(key)

            async def read(self, keys):
                asked.append(keys)
                await asyncio.sleep(0.1)  # as an etcd does
                return await super().read(keys)

        async def reads(*holders):
            asked.clear()
            found = await asyncio.gather(*(busy.words(G, one) for one in holders))
            assert all("no slot is free: max is 1, held by c1 since " in words for words in found)
            return len(asked)

        store = Counting(fleet.server)
        busy = BusySlots(lambda _group: store, lambda: datetime.now(UTC))
        assert await fleet.desk().pre_reboot(G, "c1") is None
        once = await reads("held by c1")
        assert await reads(*["held by c1"] * 200) == 0
        await asyncio.sleep(FRESH)
        assert await reads(*["held by c1"] * 200) == once
        assert await reads(*["held by another"] * 200) == once

    play(story)
