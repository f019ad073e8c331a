"""The mirror of a group: the same answers as the store, and never an old one as a new one; on the store in memory."""

import asyncio
import contextlib
from typing import Any

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
            await store.delete(AT + "nodes/b", gone.version)
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


def test_a_wait_tells_what_the_store_would_tell():
    async def story(loop):
        store = MemoryStore(MemoryServer())
        made = await store.create(AT + "waiters/a", b"1")
        async with mirrored(store) as mirrors:
            mirror = mirrors.of(G)
            assert await mirror.wait(made.key, made.version, limit=5) is None
            told = await mirror.wait(made.key, made.version - 1, limit=5)
            assert told.reading.entry == made
            waiting = asyncio.ensure_future(mirror.wait(made.key, made.version, limit=50))
            below = asyncio.ensure_future(mirror.wait(AT + "waiters/", made.version, prefix=True, limit=50))
            await store.create(AT + "waiters/b", b"")
            assert await below is not None
            assert not waiting.done()
            began = loop.time()
            written = await store.swap(made.key, b"2", made.version)
            assert (await waiting).reading.entry == written
            await store.delete(written.key, written.version)
            assert (await mirror.wait(made.key, written.version, limit=50)).removed
            assert loop.time() == began
            # What went before the revision is no change.
            assert await mirror.wait(made.key, written.version + 1, limit=5) is None
            wanted = asyncio.ensure_future(
                mirror.wait(
                    AT + "n", mirror.revision, limit=50, until=lambda change: change.reading.entry.value == b"3"
                )
            )
            entry = await store.create(AT + "n", b"1")
            for value in (b"2", b"3"):
                await asyncio.sleep(1)
                entry = await store.swap(entry.key, value, entry.version)
            assert (await wanted).reading.entry == entry
            assert not mirror._waiting

    run(story)


def test_a_wait_is_told_where_the_store_went_back():
    async def story(_loop):
        server = MemoryServer()
        store = MemoryStore(server)
        made = await store.create(AT + "waiters/a", b"1")
        backup = server.backup()
        for number in range(5):
            await store.create(f"{AT}{number}", b"")
        async with mirrored(store) as mirrors:
            mirror = mirrors.of(G)
            waiting = asyncio.ensure_future(mirror.wait(made.key, mirror.revision, limit=600))
            server.restore(backup)
            assert await waiting is not None
            assert mirror.revision == backup.revision
            assert await mirrors.store(G).count(AT) == 1

    run(story)


@pytest.mark.parametrize("unseen", [False, True], ids=["followed", "away"])
def test_a_wait_is_told_where_the_store_went_back_and_came_further(unseen):
    """Other writes hide it: the store is at a later revision than the one that was seen."""

    async def story(_loop):
        server, network = MemoryServer(), Cut()
        away, here = MemoryStore(server, network), MemoryStore(server)
        made = await here.create(AT + "waiters/a", b"1")
        backup = server.backup()
        await here.swap(made.key, b"2", made.version)
        async with mirrored(away) as mirrors:
            mirror = mirrors.of(G)
            waiting = asyncio.ensure_future(mirror.wait(made.key, mirror.revision, limit=600))
            network.cut = unseen
            server.restore(backup)
            server.drop_all()
            for number in range(5):
                await here.create(f"elsewhere/{number}", b"")
            await asyncio.sleep(30 * unseen)
            network.cut = False
            assert await waiting is not None
            assert (await mirrors.store(G).get(made.key)).entry == made

    run(story)


def test_it_goes_on_where_the_store_forgot_what_it_missed():
    async def story(_loop):
        server, network = MemoryServer(), Cut()
        away, here = MemoryStore(server, network), MemoryStore(server)
        await here.create(AT + "semaphore", b"1")
        async with mirrored(away) as mirrors:
            network.cut = True
            server.drop_all()
            last = await here.create(AT + "a", b"1")
            last = await here.create(AT + "b", b"1")
            server.compact()
            await asyncio.sleep(30)
            network.cut = False
            await caught_up(mirrors.of(G), last.version)
            assert await mirrors.store(G).count(AT) == 3

    run(story)


class Unfed:
    """A store that tells no changes, as etcd's v2 API."""

    transactional = False


def test_a_store_that_tells_no_changes_is_asked_itself():
    async def story(loop):
        store: Any = Unfed()
        mirrors = GroupMirrors(store, [G])
        mirrors.start()
        assert mirrors.store(G) is store
        assert mirrors.of(G).freshness.current
        began = loop.time()
        assert await mirrors.of(G).changed(0, 60)
        assert loop.time() - began == group_mirror.POLL
        assert not await mirrors.of(G).changed(0, 1)
        await mirrors.close()

    run(story)


def test_the_default_group_keeps_none_of_the_others():
    async def story(_loop):
        store = MemoryStore(MemoryServer())
        await store.create(keys.semaphore_key("other"), b"")
        await store.create(keys.window_key("night"), b"")
        async with mirrored(store, "") as mirrors:
            last = await store.create(keys.semaphore_key(""), b"1")
            await store.create(keys.semaphore_key("third"), b"")
            await caught_up(mirrors.of(""), last.version)
            assert (await mirrors.store("").get(last.key)).entry == last
            assert await mirrors.store("").folders(keys.groups_prefix()) == ()
            assert await mirrors.store("").count(keys.windows_prefix()) == 1

    run(story)


def test_a_quiet_group_stays_current_and_a_busy_one_too():
    async def story(_loop):
        store = MemoryStore(MemoryServer())
        made = await store.create(AT + "semaphore", b"1")
        async with mirrored(store) as mirrors:
            for _ in range(60):
                await asyncio.sleep(7)
                assert mirrors.of(G).freshness.current
                await store.create(keys.group_prefix("other") + str(_), b"")
            for _ in range(60):
                await asyncio.sleep(3)
                made = await store.swap(made.key, b"1", made.version)
                assert mirrors.of(G).freshness.current

    run(story)
