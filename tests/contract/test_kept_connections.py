"""Connections to etcd v3 that are kept: what may go over them, and what a drop at the worst moment does."""

import asyncio
import json
import socket
import time

import pytest

from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.store import exchange, pool
from locksmith.store.dial import dial
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.settings import StoreSettings
from tests.contract.stories import run, within
from tests.harness import dead_endpoints
from tests.harness.etcd import DEBIAN, WHEEL, Etcd, Tls, wait_until
from tests.harness.keeping import Drop, keeping

on_both = pytest.mark.parametrize("binary", [DEBIAN, WHEEL], ids=["debian", "wheel"])

BEFORE_THE_BODY = [Drop.IDLE, Drop.AT_ONCE, Drop.AT_HEAD]
AFTER_IT_WAS_ASKED_FOR = [Drop.ASKED, Drop.AT_BODY, Drop.DONE, Drop.WITHIN]


def told(way, story, **changes):
    return run(StoreSettings((way.url,), **changes), story)


async def entry(etcd, key):
    store = Etcd3Store(etcd.settings())
    try:
        return (await store.get(key)).entry
    finally:
        await store.close()


# A connection that is dropped


@pytest.mark.parametrize("drop", BEFORE_THE_BODY, ids=lambda drop: drop.name)
def test_a_write_on_a_connection_dropped_while_idle_is_done_once_and_known(wheel_etcd, base, drop):
    async def story(store):
        way.drop = drop
        assert (await store.get(base + "key")).entry is None
        made = await store.create(base + "key", b"1")
        assert (await entry(wheel_etcd, base + "key")) == made

    with keeping(wheel_etcd.endpoints[0]) as way:
        told(way, story)
    assert (way.drop, way.connections, way.passed) == (None, 2, 2)


@pytest.mark.parametrize("drop", AFTER_IT_WAS_ASKED_FOR, ids=lambda drop: drop.name)
def test_a_write_whose_body_was_asked_for_is_unknown_without_an_answer(wheel_etcd, base, drop):
    async def story(store):
        way.drop = drop
        await store.get(base + "key")
        with pytest.raises(OutcomeUnknownError, match=way.url):
            await store.create(base + "key", b"1")
        done = await entry(wheel_etcd, base + "key") is not None
        assert done == (drop in {Drop.DONE, Drop.WITHIN})

    with keeping(wheel_etcd.endpoints[0]) as way:
        told(way, story)
    assert way.kept == 1


@pytest.mark.parametrize("drop", [drop for drop in Drop if drop is not Drop.FORGOTTEN], ids=lambda drop: drop.name)
def test_a_read_on_a_connection_that_is_dropped_is_repeated_unnoticed(wheel_etcd, base, drop):
    async def story(store):
        way.drop = drop
        made = await store.create(base + "key", b"1")
        assert (await store.get(base + "key")).entry == made

    with keeping(wheel_etcd.endpoints[0]) as way:
        told(way, story)
        if drop is not Drop.ASKED:  # a read has no such moment
            assert (way.drop, way.connections) == (None, 2)


@pytest.mark.parametrize("drop", [Drop.AT_ONCE, Drop.AT_BODY, Drop.DONE, Drop.WITHIN], ids=lambda drop: drop.name)
def test_on_a_new_connection_a_drop_is_what_it_always_was(wheel_etcd, base, drop):
    with keeping(wheel_etcd.endpoints[0], drop=drop, first=True) as way:
        with pytest.raises(OutcomeUnknownError, match=way.url):
            told(way, lambda store: store.create(base + "key", b"1"))
        way.drop = drop
        with pytest.raises(StoreUnavailableError, match=f"{way.url}: it closed the connection|reset"):
            told(way, lambda store: store.get(base + "key"))
    assert way.kept == 0


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
def test_a_connection_that_a_firewall_forgot_is_left_within_the_deadline(wheel_etcd, base, write):
    async def story(store):
        await store.get(base + "key")
        await asyncio.to_thread(wait_until, lambda: way.drop is None, "the firewall forgets", 5)
        if write:
            await store.create(base + "key", b"1")
            assert (await entry(wheel_etcd, base + "key")).value == b"1"
        else:
            assert (await store.get(base + "key")).entry is None

    with keeping(wheel_etcd.endpoints[0], drop=Drop.FORGOTTEN) as way, within(2):
        told(way, story, timeout=2)
    assert (way.connections, way.kept) == (2, 0)


def test_a_kept_connection_that_ends_within_a_head_leaves_no_write_unknown(wheel_etcd, base):
    lengths = list(range(0, 400, 5))

    def handle(client):
        """Answer a request, and end within the next."""
        client.sendall(ask(wheel_etcd.endpoints[0], dead_endpoints.read_request(client)))
        rest = lengths.pop() if lengths else 0
        while rest and (piece := client.recv(rest)):
            rest -= len(piece)

    async def story(store):
        version = (await store.create(base + "key", b"")).version
        while lengths:
            version = (await store.swap(base + "key", b"x", version)).version

    with dead_endpoints.endpoint(handle) as url:
        run(StoreSettings((url,)), story)


def ask(upstream, request):
    """Give etcd's answer, without its word that the connection ends."""
    host, port = upstream.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), dead_endpoints.LIMIT) as server:
        server.sendall(dead_endpoints.only(request))
        return b"".join(iter(lambda: server.recv(65536), b"")).replace(b"Connection: close\r\n", b"", 1)


@on_both
def test_a_restarted_etcd_makes_no_write_unknown(base, binary):
    async def story(store, etcd):
        version = (await store.create(base + "key", b"")).version
        for stop in (etcd.members[0].stop, etcd.members[0].kill):
            await asyncio.to_thread(stop)
            await asyncio.to_thread(etcd.members[0].start)
            version = (await store.swap(base + "key", b"", version)).version

    with Etcd(binary) as etcd:
        run(etcd.settings(), lambda store: story(store, etcd))


# What goes over kept connections


@on_both
@pytest.mark.parametrize("tls", [Tls.NONE, Tls.MUTUAL], ids=["plain", "mutual"])
def test_calls_of_a_real_etcd_share_a_connection(base, binary, tls, monkeypatch):
    dialled = []

    async def counted(host, port):
        dialled.append(port)
        return await dial(host, port)

    async def story(store):
        version = (await store.create(base + "key", b"")).version
        for number in range(20):
            version = (await store.swap(base + "key", str(number).encode(), version)).version
            assert (await store.get(base + "key")).version == version
        assert len(dialled) == 1
        waiting = asyncio.create_task(store.wait(base + "key", version, limit=20))
        await asyncio.wait([waiting], timeout=0.2)
        await store.swap(base + "key", b"", version)
        assert await waiting
        assert len(dialled) == 2  # the watch has its own

    monkeypatch.setattr(exchange, "dial", counted)
    with Etcd(binary, tls=tls) as etcd:
        run(etcd.settings(), story)


def test_a_write_sends_its_body_only_when_a_kept_connection_has_asked_for_it(wheel_etcd, base):
    async def story(store):
        made = await store.create(base + "key", b"")
        await store.swap(base + "key", b"", made.version)
        await store.get(base + "key")

    with keeping(wheel_etcd.endpoints[0]) as way:
        told(way, story)
    assert [b"expect: 100-continue" in head.lower() for head in way.heads] == [False, True, False]
    assert (way.connections, way.kept) == (1, 2)


@pytest.mark.parametrize("how", ["silent", "417"])
def test_a_proxy_that_does_not_ask_for_a_body_gets_writes_on_new_connections(wheel_etcd, base, how):
    async def story(store):
        version = (await store.create(base + "key", b"")).version
        for _ in range(3):
            version = (await store.swap(base + "key", b"", version)).version
        assert (await store.get(base + "key")).version == version

    refusal = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n" if how == "417" else b""
    with keeping(wheel_etcd.endpoints[0], continues=False, refusal=refusal) as way, within(1):
        told(way, story, timeout=2)
    assert way.passed == 5
    assert sum(b"expect" in head.lower() for head in way.heads) == 1


def test_a_proxy_that_closes_each_connection_gets_a_new_one_for_each_request(wheel_etcd, base):
    async def story(store):
        version = (await store.create(base + "key", b"")).version
        for _ in range(4):
            version = (await store.swap(base + "key", b"", version)).version
            assert (await store.get(base + "key")).version == version

    with keeping(wheel_etcd.endpoints[0], closes=True) as way:
        told(way, story)
    assert (way.connections, way.kept) == (9, 0)


def test_an_idle_connection_is_closed_but_for_one_while_a_watch_is_open(wheel_etcd, base, monkeypatch):
    async def story(store):
        made = await store.create(base + "key", b"")
        await asyncio.to_thread(wait_until, lambda: not store._gateway._exchanges[0]._pool._links, "it is closed", 5)
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        await asyncio.to_thread(wait_until, lambda: way.connections == 2, "the watch is open", 5)
        await store.get(base + "key")
        await asyncio.wait([waiting], timeout=1)  # longer than any other is kept
        await store.swap(base + "key", b"", made.version)
        assert await waiting

    monkeypatch.setattr(pool, "KEPT", 0.2)
    with keeping(wheel_etcd.endpoints[0]) as way:
        told(way, story)
    assert (way.connections, way.kept) == (3, 1)


def test_a_connection_lives_for_a_limited_time(wheel_etcd, base, monkeypatch):
    async def story(store):
        for _ in range(3):
            await store.get(base + "key")

    monkeypatch.setattr(pool, "LONGEST_LIFE", 0.0)
    with keeping(wheel_etcd.endpoints[0]) as way:
        told(way, story)
    assert (way.connections, way.kept) == (3, 0)


# Answers that are late, or long


def test_an_answer_after_the_deadline_is_no_answer_to_the_next_request(wheel_etcd, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        way.delay = 2.0
        with pytest.raises(OutcomeUnknownError, match="no answer in time"):
            await store.swap(base + "key", b"2", made.version)
        with pytest.raises(StoreUnavailableError, match="no answer in time"):
            await store.get(base + "other")
        way.delay = 0.0
        await asyncio.sleep(1.2)  # both late answers have come by then
        assert (await store.get(base + "key")).entry.value == b"2"

    with keeping(wheel_etcd.endpoints[0]) as way, within(5):
        told(way, story, timeout=1)


def test_what_comes_before_a_request_is_no_answer_to_it(base):
    answer = json.dumps({"header": {"cluster_id": "1", "member_id": "2", "revision": "3"}}).encode()
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)

    def handle(client):
        seen.append(client)
        dead_endpoints.read_request(client)
        client.sendall(whole + whole)
        dead_endpoints.silent(client)

    async def story(store):
        for _ in range(2):
            assert (await store.get(base)).entry is None

    seen: list[socket.socket] = []
    with dead_endpoints.endpoint(handle) as url:
        run(StoreSettings((url,)), story)
    assert len(seen) == 2


def test_an_answer_of_ten_mebibytes_is_read(wheel_etcd, base):
    async def story(store):
        for number in range(10):
            await store.create(f"{base}{number}", bytes(2**20))
        start = time.monotonic()
        listing = await store.list(base)
        assert sum(len(one.value) for one in listing.entries) == 10 * 2**20
        assert time.monotonic() - start < 5
        await store.get(base)

    with keeping(wheel_etcd.endpoints[0]) as way:
        told(way, story, timeout=10)
    assert way.connections == 1
