"""The mirror of a group: the same answers as the store, and never an old one as a new one; on the store in memory."""

import asyncio
import contextlib

import pytest

from locksmith.errors import PastGoneError, StoreRefusedError, StoreUnavailableError
from locksmith.lock.records import keys
from locksmith.server import group_mirror
from locksmith.server.group_mirror import GroupMirror
from locksmith.server.mirror_store import GroupMirrors, MirrorStore
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.sim.virtual_time import run

G = "default"
AT = keys.group_prefix(G)


@contextlib.asynccontextmanager
async def mirrored(store, group=G):
    mirrors = GroupMirrors(store, [group])
    mirrors.start()
    try:
        await known(mirrors.of(group))
        yield mirrors
    finally:
        await mirrors.close()


async def known(mirror):
    async with asyncio.timeout(600):
        while not mirror.freshness.current:
            await mirror.changed(mirror.revision, 1)


async def caught_up(mirror, revision):
    async with asyncio.timeout(600):
        while mirror.revision < revision:
            await mirror.changed(mirror.revision, 1)


def test_it_answers_as_the_store_does():
    async def story(_loop):
        store = MemoryStore(MemoryServer())
        for name in ("semaphore", "nodes/b", "nodes/a", "waiters/!1-c", "waiters/!0-d", "tickets/00/x"):
            await store.create(AT + name, name.encode())
        await store.create(keys.group_prefix("other") + "semaphore", b"no")
        await store.create(keys.windows_prefix() + "night", b"set")
        async with mirrored(store) as mirrors:
            seen = mirrors.store(G)
            last = await store.create(AT + "nodes/c", b"later", ttl=50)
            gone = await store.get(AT + "nodes/b")
            await store.delete(gone.entry.key, gone.version)
            await caught_up(mirrors.of(G), last.version + 1)
            for prefix in (AT, AT + "nodes/", AT + "waiters/", keys.windows_prefix()):
                assert (await seen.list(prefix)).entries == (await store.list(prefix)).entries
                assert await seen.count(prefix) == await store.count(prefix)
                assert await seen.folders(prefix) == await store.folders(prefix)
            for one in ({}, {"limit": 1}):
                start, end = AT + "waiters/!0", AT + "waiters0"
                assert (await seen.range(start, end, **one)).entries == (await store.range(start, end, **one)).entries
                assert (await seen.range(start, end, **one)).total == 2
            youngest = {"limit": 2, "last_before": last.version}
            assert (await seen.list(AT, **youngest)).entries == (await store.list(AT, **youngest)).entries
            assert [one.entry for one in await seen.read([AT + "nodes/c", AT + "nodes/b"])] == [last, None]
            assert (await seen.get(AT + "nodes/c")).entry.lease == last.lease
            with pytest.raises(StoreRefusedError, match="not among the keys"):
                await seen.get(keys.group_prefix("other") + "semaphore")
            with pytest.raises(StoreRefusedError, match="cannot be written"):
                await seen.create(AT + "x", b"")
            with pytest.raises(PastGoneError):
                await seen.range(AT, AT + "x", at=1)

    run(story)


def test_before_the_first_reading_nothing_is_known():
    async def story(_loop):
        mirror = GroupMirror(MemoryStore(MemoryServer()), G)
        assert not mirror.freshness.current
        for last_known in (True, False):
            with pytest.raises(StoreUnavailableError, match="was not read yet"):
                await MirrorStore([mirror], last_known=last_known).get(AT + "semaphore")

    run(story)


class Cut:
    """A network that can be cut."""

    def __init__(self):
        self.cut = False

    async def carry(self, call):
        await asyncio.sleep(0)
        if self.cut:
            raise StoreUnavailableError("the network is cut")
        return call.apply()


def test_what_is_old_is_not_given_as_new():
    async def story(_loop):
        server, network = MemoryServer(), Cut()
        away, here = MemoryStore(server, network), MemoryStore(server)
        made = await here.create(AT + "semaphore", b"1")
        async with mirrored(away) as mirrors:
            mirror = mirrors.of(G)
            network.cut = True
            server.drop_all()
            await here.swap(made.key, b"2", made.version)
            assert await mirror.changed(mirror.revision, 600)
            assert not mirror.freshness.current
            assert mirror.freshness.age > group_mirror.FRESH
            with pytest.raises(StoreUnavailableError, match=r"known as it was \d+ s ago: the network is cut"):
                await mirrors.store(G).get(made.key)
            assert (await mirrors.store(G, last_known=True).get(made.key)).entry.value == b"1"
            network.cut = False
            await known(mirror)
            assert (await mirrors.store(G).get(made.key)).entry.value == b"2"

    run(story)
