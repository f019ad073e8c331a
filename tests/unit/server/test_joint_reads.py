"""Parts of a server that read a key at about the same time share one request, which begins after each has asked."""

import asyncio

import pytest

from locksmith.errors import StoreRefusedError, StoreUnavailableError
from locksmith.server.joint_reads import JointReads
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Reading
from tests.sim.virtual_time import run


class Network:
    """Notes what is asked, takes a second for it, and refuses or loses what it is told to."""

    def __init__(self):
        self.calls = []
        self.forbidden = ""
        self.cut = False

    async def carry(self, call):
        self.calls.append((call.name, call.key))
        await asyncio.sleep(1)
        if self.cut:
            raise StoreUnavailableError("the network is cut")
        if self.forbidden and self.forbidden in call.key:
            raise StoreRefusedError("permission denied")
        return call.apply()


class Site:
    def __init__(self):
        self.server, self.network = MemoryServer(), Network()
        self.other = MemoryStore(self.server)
        self.reads = JointReads(MemoryStore(self.server, self.network))


def value(found):
    assert isinstance(found, Reading)
    assert found.entry is not None
    return found.entry.value


def test_two_that_ask_within_a_moment_share_a_request():
    async def story(_loop):
        site = Site()
        for key in ("a", "b"):
            await site.other.create(key, key.encode())
        found = await asyncio.gather(site.reads.get("a"), site.reads.get("b"), site.reads.get("a"))
        assert [value(one) for one in found] == [b"a", b"b", b"a"]
        assert [name for name, _ in site.network.calls] == ["read"]

    run(story)


def test_one_alone_reads_one_key():
    async def story(_loop):
        site = Site()
        assert (await site.reads.get("a")).entry is None
        assert site.network.calls == [("get", "a")]

    run(story)


def test_who_asks_while_a_read_is_under_way_gets_one_that_begins_later():
    async def story(_loop):
        site = Site()
        await site.other.create("a", b"new")
        first = asyncio.ensure_future(site.reads.get("a"))
        await asyncio.sleep(0.5)
        await site.other.swap("a", b"newer", (await site.other.get("a")).version)
        assert value(await site.reads.get("a")) == b"newer"
        await first

    run(story)


def test_one_in_a_hurry_takes_those_with_it_who_wait_for_others():
    async def story(loop):
        site = Site()
        patient = asyncio.ensure_future(site.reads.get("a"))
        await asyncio.sleep(0)
        began = loop.time()
        await site.reads.get_since("b", loop.time())
        assert loop.time() - began == pytest.approx(1, abs=0.005)
        assert (await patient).entry is None
        assert len(site.network.calls) == 1

    run(story)


def test_what_this_server_may_not_read_takes_no_other_key_with_it():
    async def story(_loop):
        site = Site()
        await site.other.create("a", b"a")
        site.network.forbidden = "secret"
        asked = (site.reads.get("secret/b"), site.reads.get("a"))
        refused, found = await asyncio.gather(*asked, return_exceptions=True)
        assert value(found) == b"a"
        assert isinstance(refused, StoreRefusedError)

    run(story)


def test_each_gets_the_error_of_a_store_that_cannot_be_asked():
    async def story(_loop):
        site = Site()
        site.network.cut = True
        found = await asyncio.gather(site.reads.get("a"), site.reads.get("b"), return_exceptions=True)
        assert [type(one) for one in found] == [StoreUnavailableError] * 2
        site.network.cut = False
        assert (await site.reads.get("a")).entry is None

    run(story)


def test_one_that_waits_no_longer_cuts_no_other_off():
    async def story(_loop):
        site = Site()
        gone, other = asyncio.ensure_future(site.reads.get("a")), asyncio.ensure_future(site.reads.get("b"))
        await asyncio.sleep(0.5)
        gone.cancel()
        assert (await other).entry is None

    run(story)


def test_what_is_asked_for_again_and_again_goes_with_the_requests_of_others():
    async def story(loop):
        site = Site()
        first, began = await site.reads.get_since("changes", loop.time() - 5)
        assert (first.entry, began) == (None, loop.time() - 1)
        await site.other.create("changes", b"new")
        await asyncio.sleep(4)
        await site.reads.get("a")
        asked = len(site.network.calls)
        later, began = await site.reads.get_since("changes", began)
        assert value(later) == b"new"
        assert began == pytest.approx(loop.time() - 1)
        assert len(site.network.calls) == asked == 2
        # That is not younger than itself.
        await site.other.swap("changes", b"newer", later.version)
        assert value((await site.reads.get_since("changes", began))[0]) == b"newer"
        assert len(site.network.calls) == 3

    run(story)


def test_what_etcd_refuses_goes_with_no_other_request():
    async def story(loop):
        site = Site()
        await site.reads.get_since("secret/changes", loop.time())
        site.network.forbidden = "secret"
        await site.reads.get("a")
        site.network.calls.clear()
        await site.reads.get("a")
        assert site.network.calls == [("get", "a")]
        with pytest.raises(StoreRefusedError):
            await site.reads.get_since("secret/changes", loop.time())

    run(story)
