"""Notifications that a mirror wakes: told within about a second, and no group is read more often than is cheap."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from locksmith.config.model import Config
from locksmith.config.notify_model import NotifySettings, Target
from locksmith.fleet.notice_templates import Templates
from locksmith.fleet.reader import read_group
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records import keys
from locksmith.lock.records.order import Order
from locksmith.server.delivery import Delivery
from locksmith.server.hub import Hub
from locksmith.server.notice_news import CALM, RESTS, News
from locksmith.server.notice_post import NoticeCounts
from locksmith.server.notify import PERIOD, Notifications
from locksmith.store.memory import Calm, MemoryServer, MemoryStore
from tests.sim.virtual_time import run

START = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
G = "web"
AT = keys.group_prefix(G)
SOON = 1.5


class Counted(Calm):
    """Counts the calls that go to the store."""

    def __init__(self):
        self.calls = 0

    async def carry(self, call):
        self.calls += 1
        return await super().carry(call)


class Recorded(Delivery):
    """Notes what is sent and when, and sends nothing: here time is virtual, and a thread's is not."""

    def __init__(self, target, sent):
        super().__init__(target, Templates())
        self._sent = sent

    async def send(self, told):
        self._sent.append((told.event, asyncio.get_running_loop().time()))


class Servers:
    """Some servers on a store, each with a mirror of the group; what they have sent and read."""

    def __init__(self):
        self.server, self.network = MemoryServer(), Counted()
        self.sent, self.reads = [], []
        self.orders = OperatorOrders(MemoryStore(self.server), G, clock=now)

    @asynccontextmanager
    async def running(self, number=1):
        hubs, loops = [], []
        for name in range(number):
            hub = Hub(MemoryStore(self.server), [G])
            hub.start()
            await hub.ready(G)
            targets = {"ops": Target("ops", groups=(G,))}
            made = Notifications(
                Config(notify=NotifySettings(targets)),
                MemoryStore(self.server, self.network),
                server=f"s ({name})",
                clock=now,
                counts=NoticeCounts(targets),
                view=partial(self.read, hub),
            )
            hub.tell(made.changed)
            for post in made._posts:
                post._delivery = Recorded(post._target, self.sent)
            hubs.append(hub)
            loops.append((made, asyncio.ensure_future(made.run())))
        await asyncio.sleep(1)  # after the first cycle
        try:
            yield loops
        finally:
            for made, _ in loops:
                made.stop()
            await asyncio.gather(*(task for _, task in loops))
            for hub in hubs:
                await hub.close()

    async def read(self, hub, group):
        self.reads.append(asyncio.get_running_loop().time())
        return await read_group(hub.recent(group), group)


def now():
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def order():
    return Order("alice", now().replace(microsecond=0), "why not", nonce=str(now()))


@pytest.mark.parametrize("number", [1, 5])
def test_an_event_is_told_within_about_a_second_by_one_server(number):
    async def story(loop):
        servers = Servers()
        async with servers.running(number):
            for event in ("frozen", "thawed") * 3:
                await asyncio.sleep(7.3)
                began = loop.time()
                await (servers.orders.freeze(order()) if event == "frozen" else servers.orders.thaw())
                await asyncio.sleep(SOON)
                told, at = servers.sent[-1]
                assert (told, at - began <= SOON) == (event, True)
            await asyncio.sleep(100)
        assert [told for told, _ in servers.sent] == ["frozen", "thawed"] * 3

    run(story)


@pytest.mark.slow
def test_changes_without_end_are_read_once_in_a_second_and_cost_the_store_nothing():
    async def story(_loop):
        servers = Servers()
        store = MemoryStore(servers.server)
        async with servers.running():
            servers.reads.clear()
            quiet = servers.network.calls
            await asyncio.sleep(2 * PERIOD)
            in_calm = servers.network.calls - quiet
            for number in range(int(20 * PERIOD)):  # ten in each second
                await store.create(f"{AT}nodes/n{number}", b"?", ttl=1e6)
                await asyncio.sleep(0.1)
            assert len(servers.reads) <= 2 * PERIOD * (1 + 1 / CALM) + 4
            assert servers.network.calls - quiet - in_calm <= in_calm + 4

    run(story)


@pytest.mark.parametrize("key", ["waiters/!1-c", "tickets/00/c", "history/1", "members/n1", "notices/sent/ops/x"])
def test_what_nothing_is_told_of_wakes_no_one(key):
    async def story(_loop):
        servers = Servers()
        async with servers.running():
            servers.reads.clear()
            await MemoryStore(servers.server).create(AT + key, b"?")
            await asyncio.sleep(PERIOD - 3)
            assert servers.reads == []

    run(story)


def test_a_group_that_takes_long_to_read_is_read_seldom():
    async def story(loop):
        read = []

        async def slowly(_group):
            read.append(loop.time())
            await asyncio.sleep(0.1)

        news = News(slowly)
        running = asyncio.ensure_future(news.run(60))
        for _ in range(600):
            news.add(G, [f"{AT}semaphore"])
            await asyncio.sleep(0.1)
        await running
        assert len(read) <= 60 / (0.1 * RESTS) + 1
        assert all(later - before >= 0.1 * (1 + RESTS) - 0.01 for before, later in itertools.pairwise(read))

    run(story)


def test_a_stop_ends_the_wait_at_once():
    async def story(loop):
        news = News(lambda _group: asyncio.sleep(0))
        running = asyncio.ensure_future(news.run(60))
        await asyncio.sleep(1)
        news.stop()
        await running
        assert loop.time() < 2

    run(story)
