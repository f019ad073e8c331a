"""A watch whose member dies is opened again at another one, and that is counted; one that merely ends is not."""

import asyncio

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.store.connect import open_store
from locksmith.store.meter import Meter
from locksmith.store.settings import V2, V3
from tests.contract.watches import watching
from tests.harness.etcd import WHEEL, Etcd, wait_until


class Restarts(Meter):
    def __init__(self):
        self.seen = 0

    def watch_restarted(self):
        self.seen += 1


@pytest.fixture(scope="module")
def cluster():
    with Etcd(WHEEL, members=3, v2=True) as etcd:
        yield etcd


@pytest.fixture(params=[V3, V2], ids=["v3", "v2"])
def api(request):
    return request.param


@pytest.fixture
def doomed(cluster):
    """A member that may die: one that does not lead, and is alive again afterwards."""
    for member in cluster.members:
        member.wait_ready()
    leader = cluster.leader()
    follower = next(member for member in cluster.members if member is not leader)
    yield follower
    follower.kill()
    follower.start()


def run(settings, story):
    """Run an async story with a store and what it counts, and close that."""

    async def scene():
        restarts = Restarts()
        store = open_store(settings, restarts)
        try:
            async with asyncio.timeout(30):
                await story(store, restarts)
        finally:
            await store.close()

    asyncio.run(scene())


def test_a_watch_whose_member_dies_is_counted_once_and_goes_on(cluster, doomed, base, api):
    async def story(store, restarts):
        made = await store.create(base + "key", b"1")
        waiting = await watching(store, made, doomed, api)
        assert restarts.seen == 0
        doomed.kill()
        await asyncio.to_thread(wait_until, lambda: restarts.seen, "the watch is opened again", 10)
        await store.swap(made.key, b"2", made.version)
        assert await waiting
        assert restarts.seen == 1

    others = (member.url for member in cluster.members if member is not doomed)
    run(cluster.settings(api=api, endpoints=(doomed.url, *others)), story)


def test_a_watch_that_ends_with_its_limit_or_a_change_is_none(cluster, base, api):
    async def story(store, restarts):
        made = await store.create(base + "key", b"1")
        assert not await store.wait(made.key, made.version, limit=0.3)
        await store.swap(made.key, b"2", made.version)
        assert await store.wait(made.key, made.version, limit=10)
        assert restarts.seen == 0

    run(cluster.settings(api=api), story)


def test_a_watch_that_no_member_is_left_for_is_none(cluster, doomed, base):
    async def story(store, restarts):
        made = await store.create(base + "key", b"1")
        waiting = await watching(store, made, doomed, V2)
        doomed.kill()
        with pytest.raises(StoreUnavailableError):
            await waiting
        assert restarts.seen == 0

    run(cluster.settings(api=V2, endpoints=(doomed.url,)), story)
