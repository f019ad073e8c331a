"""A call hears at once what another call of its server has written; what others write, a watch tells."""

import asyncio

from locksmith.server.own_news import ALONE, REMEMBERED, OwnNews
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Delete
from tests.harness.fault_script import StepwiseStore
from tests.sim.virtual_time import run


class Watched:
    """A network that takes no time, and counts the watches that were opened."""

    def __init__(self):
        self.watches = 0

    async def carry(self, call):
        self.watches += call.name == "wait"
        return call.apply()


class Site:
    def __init__(self, loop, kind=MemoryStore):
        self.loop, self.wire = loop, Watched()
        server = MemoryServer()
        self.store, self.elsewhere = OwnNews(kind(server, self.wire)), kind(server)

    async def hears(self, key, after, write, **how):
        """Wait for a key, write a moment later; give the change, and after how many seconds it was told."""
        waiting = asyncio.ensure_future(self.store.wait(key, after, **how))
        await asyncio.sleep(0.001)
        await write()
        began = self.loop.time()
        return await waiting, self.loop.time() - began


def play(story, kind=MemoryStore):
    return run(lambda loop: story(Site(loop, kind)))


def test_a_swap_of_this_server_is_heard_at_once_without_a_watch():
    async def story(site):
        one = await site.store.create("a/k", b"1")
        change, took = await site.hears("a/k", one.version, lambda: site.store.swap("a/k", b"2", one.version))
        assert change.reading.entry.value == b"2"
        assert (took, site.wire.watches) == (0, 0)

    play(story)


def test_what_goes_with_a_swap_is_heard_as_removed():
    async def story(site):
        one, other = await site.store.create("a/k", b""), await site.store.create("a/place", b"")
        gone = [Delete("a/place", other.version)]
        change, took = await site.hears(
            "a/place", other.version, lambda: site.store.swap("a/k", b"", one.version, also=gone)
        )
        assert (change.removed, took, site.wire.watches) == (True, 0, 0)

    play(story)


def test_a_removal_is_heard_at_once_with_a_lease_and_without():
    async def story(site):
        leased, bare = await site.store.create("a/l", b"", ttl=60), await site.store.create("a/b", b"")
        for entry, write in ((leased, site.store.revoke(leased)), (bare, site.store.delete("a/b", bare.version))):
            change, took = await site.hears(entry.key, entry.version, lambda write=write: write)
            assert (change.removed, took) == (True, 0)

    play(story)


def test_what_another_writes_is_told_by_the_watch_a_little_later():
    async def story(site):
        one = await site.store.create("a/k", b"1")
        change, took = await site.hears("a/k", one.version, lambda: site.elsewhere.swap("a/k", b"2", one.version))
        assert change is not None
        assert took <= ALONE
        assert site.wire.watches == 1

    play(story)


def test_what_was_written_between_a_reading_and_the_wait_is_heard_and_nothing_older():
    async def story(site):
        one = await site.store.create("a/k", b"1")
        two = await site.store.swap("a/k", b"2", one.version)
        assert (await site.store.wait("a/k", one.version, limit=5)).reading.entry == two
        assert await site.store.wait("a/k", two.version, limit=5) is None

    play(story)


def test_a_change_that_is_not_the_one_waited_for_is_passed_over():
    async def story(site):
        one = await site.store.create("a/k", b"1")
        two = await site.store.swap("a/k", b"2", one.version)
        waiting = asyncio.ensure_future(
            site.store.wait("a/k", one.version, until=lambda change: change.reading.entry.value == b"3")
        )
        await asyncio.sleep(0.001)
        await site.store.swap("a/k", b"3", two.version)
        assert (await waiting).reading.entry.value == b"3"

    play(story)


def test_a_short_wait_ends_in_time_and_who_is_cut_off_is_forgotten():
    async def story(site):
        assert await site.store.wait("a/k", 0, limit=ALONE / 2) is None
        assert site.loop.time() == ALONE / 2
        waiting = asyncio.ensure_future(site.store.wait("a/k", 0))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert site.store._listeners == {}

    play(story)


def test_as_many_news_are_kept_as_can_be_of_use():
    async def story(site):
        for number in range(REMEMBERED + 9):
            await site.store.swap(f"a/{number}", b"", 0)
        assert len(site.store._last) == REMEMBERED

    play(story)


def test_on_v2_the_watch_alone_tells():
    async def story(site):
        one = await site.store.create("a/k", b"1")
        change, _ = await site.hears("a/k", one.version, lambda: site.store.swap("a/k", b"2", one.version))
        assert change is not None
        assert site.store._last == {}

    play(story, StepwiseStore)
