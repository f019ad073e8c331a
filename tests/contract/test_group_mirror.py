"""The mirror of a group on real etcd: each change in order, across compaction, frozen members and a restored store."""

import asyncio
import base64
import contextlib
import math
import socket
import urllib.request
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.fleet.reader import read_group
from locksmith.lock.records import keys
from locksmith.server import group_mirror
from locksmith.server.mirror_store import GroupMirrors
from locksmith.store import etcd3
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.feed import Batch
from locksmith.store.protocol import Delete, Put
from tests.harness import dead_endpoints
from tests.harness.dead_endpoints import LIMIT
from tests.harness.etcd import Etcd
from tests.harness.etcd_versions import EVERY_VERSION

LARGE = 200_000
"""Bytes. A transaction with a dozen such values comes in fragments."""


@pytest.fixture(scope="module", params=EVERY_VERSION)
def etcd(request):
    with Etcd(request.param) as server:
        yield server


@pytest.fixture
def group():
    return f"g-{uuid.uuid4()}"


class Forgetting(Etcd3Store):
    """Etcd that changes `key`, and forgets that, right before each of some watches is opened."""

    def __init__(self, etcd, key, times):
        super().__init__(etcd.settings())
        self._etcd, self._key, self.times = etcd, key, times

    async def feed(self, prefix, *told, **limits):
        if self._key.startswith(prefix) and self.times:
            written = await self.swap(self._key, b"", (await self.get(self._key)).version)
            self._etcd.call("/v3/kv/put", key=_encoded("elsewhere"), value="")
            self._etcd.compact(written.version + 1)
            self.times -= 1
        await super().feed(prefix, *told, **limits)


@contextlib.asynccontextmanager
async def mirrored(settings, group, store=None):
    async with asyncio.timeout(60):
        store = store or Etcd3Store(settings)
        mirrors = GroupMirrors(store, [group])
        mirrors.start()
        try:
            await current(mirrors.of(group))
            yield store, mirrors
        finally:
            await mirrors.close()
            await store.close()


async def current(mirror):
    while not mirror.freshness.current:
        await mirror.changed(mirror.revision, LIMIT)


async def same(store, mirrors, group):
    """Wait until the mirror has what the store has; the store is not written meanwhile."""
    prefix, mirror = keys.group_prefix(group), mirrors.of(group)
    wanted = (await store.list(prefix)).entries
    while (await mirrors.store(group, last_known=True).list(prefix)).entries != wanted:
        await mirror.changed(mirror.revision, LIMIT)


async def test_it_has_what_etcd_has(etcd, group, monkeypatch):
    monkeypatch.setattr(etcd3, "PAGE", 7)
    writer = Etcd3Store(etcd.settings())
    at = keys.group_prefix(group)
    for number in range(25):
        await writer.create(f"{at}nodes/{number:03}", b"x")
    async with mirrored(etcd.settings(), group) as (store, mirrors):
        made = await writer.create(at + "semaphore", b"{}", ttl=60)
        gone = await writer.get(at + "nodes/003")
        again = await writer.get(at + "nodes/007")
        await writer.delete(at + "nodes/003", gone.version)
        also: list[Delete | Put] = [Delete(at + "nodes/007", again.version), Put(at + "freeze", b"\xff", 0)]
        await writer.swap(at + "semaphore", b"{1}", made.version, also)
        await writer.create(f"{keys.group_prefix('other')}{group}", b"not ours")
        await same(store, mirrors, group)
        assert mirrors.of(group).replica.count(at + "nodes/") == 23
        short = await writer.create(at + "waiters/x", b"", ttl=1)
        assert (await mirrors.of(group).wait(short.key, short.version, limit=LIMIT)).removed
    await writer.close()


async def test_more_than_one_message_may_hold_comes_in_order(etcd, group):
    """Of a watch that is opened late, etcd sends what it missed in fragments."""
    at, many = keys.group_prefix(group), 12
    heard: list[Any] = []
    store = Etcd3Store(etcd.settings())
    before = (await store.get(at + "n/00")).revision
    for number in range(many):
        await store.create(f"{at}n/{number:02}", b"v" * LARGE)
    all_told = asyncio.Event()

    def hear(told):
        if isinstance(told, Batch):
            heard.extend(told.changes)
        if len(heard) >= many:
            all_told.set()

    feed = asyncio.ensure_future(store.feed(at, before, hear, limit=LIMIT))
    async with asyncio.timeout(LIMIT):
        await all_told.wait()
    feed.cancel()
    assert [(entry.key, len(entry.value)) for entry in heard] == [
        (f"{at}n/{number:02}", LARGE) for number in range(many)
    ]
    await store.close()


async def test_what_was_compacted_before_it_was_seen_is_read_again(etcd, group, caplog):
    caplog.set_level("INFO")
    store = Forgetting(etcd, f"{keys.group_prefix(group)}semaphore", times=3)
    async with mirrored(None, group, store) as (_, mirrors):
        while store.times:
            await mirrors.of(group).changed(mirrors.of(group).revision, 0.1)
        await same(store, mirrors, group)
        await current(mirrors.of(group))
    # Once for each time at least: the first look after a time may find its past gone too.
    assert caplog.text.count("is read again: the store no longer has its revision") >= 3


async def test_the_readers_of_a_group_work_on_it(etcd, group):
    at = keys.group_prefix(group)
    async with mirrored(etcd.settings(), group) as (store, mirrors):
        await store.create(at + "semaphore", b'{"semaphore":1,"max":2,"holders":["a"]}')
        await same(store, mirrors, group)
        seen, wanted = await read_group(mirrors.store(group), group), await read_group(store, group)
        assert (seen.semaphore, seen.claims) == (wanted.semaphore, wanted.claims)


async def test_a_frozen_member_makes_it_stale_and_another_current_again(monkeypatch):
    for name, value in {"ROUND": 0.5, "FRESH": 4.0}.items():
        monkeypatch.setattr(group_mirror, name, value)
    with Etcd(members=3) as etcd:
        settings = etcd.settings(timeout=2.0)
        async with mirrored(settings, "g") as (_, mirrors):
            mirror, at, writer = mirrors.of("g"), keys.group_prefix("g"), Etcd3Store(settings)
            for member in etcd.members:
                member.freeze()
            while mirror.freshness.current:
                await mirror.changed(mirror.revision, LIMIT)
            with pytest.raises(StoreUnavailableError, match="no etcd endpoint could be used"):
                await mirrors.store("g").get(at + "semaphore")
            assert (await mirrors.store("g", last_known=True).get(at + "semaphore")).entry is None
            for member in etcd.members[1:]:
                member.thaw()
            await current(mirror)
            made = await writer.create(at + "semaphore", b"{}")
            while (await mirrors.store("g").get(made.key)).entry != made:
                await mirror.changed(mirror.revision, LIMIT)
            await writer.close()


async def test_a_store_that_went_back_is_read_again(tmp_path, monkeypatch):
    """Also where it has passed the revision that was seen, by other writes."""
    monkeypatch.setattr(group_mirror, "ROUND", 0.5)
    at = keys.group_prefix("g")
    with Etcd() as etcd:
        async with mirrored(etcd.settings(), "g") as (store, mirrors):
            kept, gone = await store.create(at + "kept", b"1"), await store.create(at + "gone", b"1")
            etcd.save(tmp_path / "snapshot")
            await store.delete(gone.key, gone.version)
            await store.swap(kept.key, b"2", kept.version)
            await same(store, mirrors, "g")
            waiting = asyncio.ensure_future(mirrors.of("g").wait(kept.key, mirrors.of("g").revision, limit=LIMIT))
            await asyncio.to_thread(etcd.restore, tmp_path / "snapshot")
            etcd.write_others(20)
            assert await waiting is not None
            await same(store, mirrors, "g")
            assert mirrors.of("g").replica.get(gone.key).entry is not None


def _encoded(text):
    return base64.b64encode(text.encode()).decode()


MANY = 100
"""Keep-alives that take several requests, and more than the gateway reads at once."""


@contextlib.asynccontextmanager
async def leased(etcd, group, endpoint):
    """Give a store, and entries of which each has a lease that has run for a while."""
    store, direct = Etcd3Store(etcd.settings(endpoints=(endpoint,))), Etcd3Store(etcd.settings())
    try:
        entries = [await direct.create(f"{keys.group_prefix(group)}{n}", b"", ttl=900) for n in range(MANY)]
        await asyncio.sleep(1.1)
        assert max(left(etcd, entry) for entry in entries) < 899
        yield store, entries
    finally:
        await store.close()
        await direct.close()


def left(etcd, entry):
    return int(etcd.call("/v3/lease/timetolive", ID=str(entry.lease)).get("TTL", 0))


def test_many_leases_are_prolonged_with_few_requests(etcd, group):
    async def story():
        async with leased(etcd, group, etcd.endpoints[0]) as (store, entries):
            await store.revoke(entries[7])
            for _ in range(20):
                before = keep_alives(etcd)
                assert await store.renew_many(entries, 900) == [entries[7]]
                assert keep_alives(etcd) == before + math.ceil(MANY / etcd3.KEPT_AT_ONCE)
            assert [entry for entry in entries if left(etcd, entry) < 899] == [entries[7]]

    asyncio.run(story())


def test_leases_are_prolonged_although_the_gateway_drops_messages(etcd, group):
    """What the gateway has not read when the first answer comes, it drops: here all but two."""
    at = urlsplit(etcd.endpoints[0])

    def drop(connection):
        head, _, body = dead_endpoints.read_request(connection).partition(b"\r\n\r\n")
        kept = b"\n".join(body.split(b"\n")[:2])
        head = head.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % len(kept))
        with socket.create_connection((at.hostname, at.port), LIMIT) as server:
            server.sendall(dead_endpoints.only(head + b"\r\n\r\n" + kept))
            dead_endpoints.relay(connection, server)

    async def story():
        with dead_endpoints.endpoint(drop) as url:
            async with leased(etcd, group, url) as (store, entries):
                assert await store.renew_many(entries, 900) == []
                assert min(left(etcd, entry) for entry in entries) >= 899

    asyncio.run(story())


def keep_alives(etcd):
    """Count what etcd itself counts."""
    name = 'grpc_server_started_total{grpc_method="LeaseKeepAlive"'
    with urllib.request.urlopen(f"{etcd.endpoints[0]}/metrics", timeout=LIMIT) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
