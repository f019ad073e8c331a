"""etcd v3 as a cluster whose members freeze, die and lose their leader."""

import asyncio
from contextlib import contextmanager

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.store.etcd3 import Etcd3Store
from tests.contract.stories import run, within
from tests.contract.watches import watching
from tests.harness.etcd import Etcd, wait_until
from tests.harness.etcd_versions import EVERY_VERSION

TIMEOUT = 1.2


@pytest.fixture(scope="module", params=EVERY_VERSION)
def cluster(request):
    with Etcd(request.param, members=3) as etcd:
        yield etcd


@pytest.fixture
def three(cluster):
    """Three members in good health."""
    for member in cluster.members:
        member.wait_ready()
    return cluster


@contextmanager
def frozen(*members):
    for member in members:
        member.freeze()
    try:
        yield
    finally:
        for member in members:
            member.thaw()


def test_a_frozen_member_costs_its_part_of_the_time_and_then_no_more(three, base):
    async def story(store):
        assert (await store.get(base + "key")).entry is None
        with within(0):
            made = await store.create(base + "key", b"")
            await store.swap(base + "key", b"2", made.version)
            assert len((await store.list(base)).entries) == 1

    with frozen(three.members[0]):
        # Had that one led, the others choose a new leader first.
        wait_until(lambda: led(three, [1, 2]), "the other members have a leader")
        with within(TIMEOUT):
            run(three.settings(timeout=TIMEOUT), story)


def led(etcd, members):
    """Whether these members agree on a leader among themselves."""
    statuses = [etcd.call("/v3/maintenance/status", member=index) for index in members]
    return len({status.get("leader") for status in statuses}) == 1 and statuses[0].get("leader") in {
        status["header"]["member_id"] for status in statuses
    }


def test_a_wait_on_a_member_that_freezes_ends_with_its_limit_and_the_next_leaves_it(three, base):
    async def story(store):
        made = await store.create(base + "key", b"")
        waiting = await watching(store, made, three.members[0], limit=4)
        with frozen(three.members[0]):
            await asyncio.to_thread(wait_until, lambda: led(three, [1, 2]), "the other members have a leader")
            await change(three.settings(endpoints=three.endpoints[1:]), made)
            assert not await waiting
            assert await store.wait(base + "key", made.version, limit=30)

    async def change(settings, made):
        other = Etcd3Store(settings)
        await other.swap(made.key, b"2", made.version)
        await other.close()

    run(three.settings(timeout=TIMEOUT), story)


def test_a_wait_survives_the_death_of_its_member(three, base):
    async def story(store):
        made = await store.create(base + "key", b"")
        waiting = await watching(store, made, three.members[0], limit=30)
        three.members[0].kill()
        try:
            await asyncio.to_thread(wait_until, lambda: led(three, [1, 2]), "the other members have a leader")
            await store.swap(base + "key", b"2", made.version)
            assert await waiting
        finally:
            three.members[0].start()

    run(three.settings(), story)


def test_a_member_without_a_leader_says_so_to_every_call(three, base):
    async def story(store):
        made = await store.create(base + "key", b"")
        waiting = await watching(store, made, three.members[0], limit=60)
        with frozen(*three.members[1:]):
            with pytest.raises(StoreUnavailableError, match="no leader"):
                await waiting
            for call in (
                store.get(base + "key"),
                store.list(base),
                store.swap(base + "key", b"2", made.version),
                store.create(base + "other", b"", ttl=60),
                store.wait(base + "key", made.version, limit=20),
            ):
                with within(TIMEOUT), pytest.raises(StoreUnavailableError, match="no leader"):
                    await call

    run(three.settings(endpoints=three.endpoints[:1], timeout=TIMEOUT), story)
