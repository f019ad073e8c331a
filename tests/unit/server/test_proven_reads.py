"""A machine far back reads its group from memory, once the store has said that this is so."""

import asyncio
import contextlib
from collections import Counter

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.lock.records import keys
from locksmith.server import group_mirror, hub, proven_reads, shared_reads
from locksmith.server.group_mirror import GroupMirror
from locksmith.server.proven_reads import FarBack, Proofs
from locksmith.server.shared_reads import SharedReads
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.hubs import Counted
from tests.sim.virtual_time import run

G = "web"
LOCK = keys.semaphore_key(G)


class Site:
    """A mirror of a group that is current, and machines that read."""

    def __init__(self):
        self.server, self.network = MemoryServer(), Counted()
        self.store = MemoryStore(self.server, self.network)
        self.other = MemoryStore(self.server)
        self.mirror = GroupMirror(self.store, G)
        self.proofs, self.shared = Proofs(self.mirror), SharedReads(self.store)
        self.running = asyncio.ensure_future(self.mirror.run())

    def machine(self, near=None):
        loop = asyncio.get_running_loop()
        return FarBack(
            self.store, self.shared, lambda: near or _after(loop, hub.LONGEST_READ), self.mirror, self.proofs
        )


def _after(loop, seconds):
    future = loop.create_future()
    loop.call_later(seconds, lambda: future.done() or future.set_result(False))
    return future


@contextlib.asynccontextmanager
async def mirrored():
    site = Site()
    await site.other.create(LOCK, b"1")
    running = site.running
    while not site.mirror.freshness.current:
        await site.mirror.changed(0, 1)
    try:
        yield site
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.slow
def test_thousands_that_read_cost_the_store_no_request():
    async def costs(number):
        async with mirrored() as site:
            site.network.calls.clear()
            reads = [site.machine().read([LOCK, keys.resume_key(G)]) for _ in range(number)]
            found = await asyncio.gather(*reads)
            assert {(lock.entry.value, resume.entry) for lock, resume in found} == {(b"1", None)}
            return site.network.calls.total()

    few, many = run(lambda _loop: costs(1)), run(lambda _loop: costs(3000))
    assert many <= few + 2


def test_a_read_is_not_older_than_its_question():
    async def story(_loop):
        async with mirrored() as site:
            await asyncio.sleep(3)
            version = (await site.other.get(LOCK)).version
            written = await site.other.swap(LOCK, b"2", version)
            await site.other.create("elsewhere", b"x")
            # The watch has told nothing yet.
            [found] = await site.machine().read([LOCK])
            assert found.entry == written
            assert found.revision > written.version

    run(story)


def test_who_comes_near_the_front_reads_at_once():
    async def story(loop):
        async with mirrored() as site:
            await asyncio.sleep(1)
            near, began = loop.create_future(), loop.time()
            loop.call_later(0.5, near.set_result, True)
            site.network.calls.clear()
            await site.machine(near).read([LOCK])
            assert loop.time() - began < 0.6
            assert site.network.calls["read"] == 1

    run(story)


def test_where_the_store_says_nothing_no_memory_answers():
    async def story(loop):
        async with mirrored() as site:
            site.network.cut = True
            site.server.drop_all()
            began = loop.time()
            try:
                await site.machine().read([LOCK])
            except StoreUnavailableError:
                assert loop.time() - began <= hub.LONGEST_READ + 1
            else:
                raise AssertionError("it was answered")

    run(story)


def test_without_a_proof_thousands_share_a_read():
    async def story(loop):
        async with mirrored() as site:
            site.running.cancel()
            await asyncio.sleep(1)
            site.network.calls.clear()
            began = loop.time()
            found = await asyncio.gather(*(site.machine().read([LOCK]) for _ in range(300)))
            assert {one.entry.value for [one] in found} == {b"1"}
            assert loop.time() - began <= hub.LONGEST_READ + shared_reads.TOGETHER + 1
            assert 1 <= site.network.calls.total() <= 2

    run(story)


def test_what_is_not_kept_is_read_of_the_store():
    async def story(_loop):
        async with mirrored() as site:
            await site.other.create(keys.windows_prefix() + "night", b"set")
            [found] = await site.machine().read([keys.windows_prefix() + "night"])
            assert found.entry.value == b"set"

    run(story)


@pytest.mark.slow
def test_the_answers_go_out_a_few_at_a_time_and_all_within_seconds():
    async def story(loop):
        async with mirrored() as site:
            ended = []

            async def one():
                await site.machine().read([LOCK])
                ended.append(loop.time())

            await asyncio.sleep(0.5)
            began, number = loop.time(), 4000
            await asyncio.gather(*(one() for _ in range(number)))
            at_one_moment = Counter(round(time, 4) for time in ended)
            assert max(at_one_moment.values()) <= number * proven_reads.PAUSE / proven_reads.SPREAD
            assert max(ended) - began < group_mirror.ROUND + group_mirror.SETTLE + proven_reads.SPREAD + 1

    run(story)


def test_one_that_is_gone_meanwhile_takes_no_place():
    async def story(_loop):
        async with mirrored() as site:
            gone = [asyncio.ensure_future(site.machine().read([LOCK])) for _ in range(100)]
            await asyncio.sleep(0.1)
            for one in gone:
                one.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
            [found] = await site.machine().read([LOCK])
            assert found.entry.value == b"1"

    run(story)
