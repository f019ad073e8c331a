"""What is special about the store on etcd's v2 API; what all stores share stands in test_store.py."""

import asyncio
import http.client
import json
import threading
import time
from contextlib import ExitStack
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import pytest

from locksmith.errors import (
    ConflictError,
    OutcomeUnknownError,
    StoreRefusedError,
    StoreUnavailableError,
    UsageError,
)
from locksmith.lock.records.keys import ROOT
from locksmith.store.etcd2 import Etcd2Store
from locksmith.store.protocol import Delete, Put
from locksmith.store.settings import StoreSettings
from tests.harness import dead_endpoints
from tests.harness.certificates import Authority
from tests.harness.etcd import DEBIAN, WHEEL, Etcd, Tls, wait_until
from tests.harness.ports import free_ports

CALLS = "locksmith blocking call"


@pytest.fixture(params=["debian_etcd", "wheel_etcd"])
def etcd(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def folder(request):
    """A key prefix of the test's own."""
    return f"{ROOT}/groups/{quote_plus(request.node.name, safe='')}/"


def run(story, *settings):
    """Run an async story with a store for each of the settings, all closed at the end."""

    async def with_stores():
        stores = [Etcd2Store(each) for each in settings]
        try:
            return await story(*stores)
        finally:
            for store in stores:
                await store.close()

    return asyncio.run(with_stores())


def raw(etcd, method, path, **fields):
    """Ask etcd's HTTP API itself; `path` goes over the wire as it is."""
    at = urlsplit(etcd.endpoints[0])
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=5)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, f"/v2/keys/{path}", urlencode(fields) or None, headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == CALLS]


def refusing():
    return f"http://127.0.0.1:{free_ports(1)[0]}"


# Keys


@pytest.mark.parametrize(
    "segment",
    ["prod%2Fdatabase", "a+b", "a b", "50%", "%252F", "..%2Fx", "größe", "a?b#c&d=e;f", "%zz", "a:b@c", '"\\'],
)
def test_a_key_is_literal_text(etcd, folder, segment):
    parent = folder + "literal"

    async def story(store):
        await store.create(f"{parent}/{segment}/semaphore", b"{}")
        listing = await store.list(f"{parent}/")
        assert [entry.key for entry in listing.entries] == [f"{parent}/{segment}/semaphore"]

    run(story, etcd.settings())
    (found,) = raw(etcd, "GET", quote(parent))["node"]["nodes"]
    assert found["key"] == f"/{parent}/{segment}"


def test_a_key_that_the_original_wrote_is_found(etcd, folder):
    # Go escapes the group, takes that text as the key, and escapes the key's path again.
    raw(etcd, "PUT", f"{quote(folder)}prod%252Fdata+base/semaphore", value="{}")
    reading = run(lambda store: store.get(f"{folder}prod%2Fdata+base/semaphore"), etcd.settings())
    assert reading.entry is not None
    assert reading.entry.value == b"{}"


@pytest.mark.parametrize("key", ["a/../b", "a/./b", "a//b", "..", ""])
def test_a_key_that_would_collapse_is_refused(etcd, key):
    with pytest.raises(StoreRefusedError, match="cannot be used on etcd v2"):
        run(lambda store: store.create(key, b"{}"), etcd.settings())


def test_a_hidden_key_works_and_is_not_listed(etcd, folder):
    async def story(store):
        entry = await store.create(f"{folder}_hidden", b"{}")
        assert (await store.get(entry.key)).entry == entry
        assert (await store.list(folder)).entries == ()

    run(story, etcd.settings())


def test_a_folder_is_no_key_and_a_key_no_folder(etcd, folder):
    async def story(store):
        await store.create(f"{folder}a/b", b"{}")
        assert (await store.get(f"{folder}a")).entry is None
        assert (await store.get(f"{folder}a/b/c")).entry is None
        assert (await store.list(f"{folder}a/b/")).entries == ()
        with pytest.raises(StoreRefusedError, match="Not a directory"):
            await store.create(f"{folder}a/b/c", b"{}")

    run(story, etcd.settings())


def test_a_value_that_is_no_text_is_refused(etcd, folder):
    with pytest.raises(StoreRefusedError, match="keeps text only"):
        run(lambda store: store.create(f"{folder}k", b"\xff"), etcd.settings())


def test_a_value_comes_back_byte_for_byte(etcd, folder):
    value = '{"who":"Jürgen + <ops> & %2F","why":"a=b;c\\u2028\u2028\\n"}'.encode()

    async def story(store):
        entry = await store.create(f"{folder}k", value)
        return entry, (await store.get(entry.key)).entry

    entry, found = run(story, etcd.settings())
    assert entry == found
    assert found.value == value


# Expiry


def test_a_renewal_keeps_version_and_value_and_wakes_nobody(etcd, folder):
    async def story(store):
        entry = await store.create(f"{folder}k", b"{}", ttl=5.5)
        waiting = asyncio.create_task(store.wait(entry.key, entry.version, limit=1))
        for _ in range(3):
            await store.renew(entry, 1000)
        assert (await store.get(entry.key)).entry == entry
        assert raw(etcd, "GET", quote(entry.key))["node"]["ttl"] > 900
        assert await waiting is None
        assert await store.wait(entry.key, entry.version, limit=0.2) is None
        await store.delete(entry.key, entry.version)
        assert (await store.get(entry.key)).entry is None

    run(story, etcd.settings())


def test_seconds_are_rounded_up(etcd, folder):
    run(lambda store: store.create(f"{folder}k", b"{}", ttl=99.1), etcd.settings())
    assert raw(etcd, "GET", quote(f"{folder}k"))["node"]["ttl"] in {99, 100}


def test_another_ones_key_of_the_same_name_is_not_prolonged(etcd, folder):
    async def story(store):
        mine = await store.create(f"{folder}k", b"mine", ttl=100)
        await store.delete(mine.key, mine.version)
        await store.create(mine.key, b"other", ttl=100)
        with pytest.raises(ConflictError):
            await store.renew(mine, 1000)
        with pytest.raises(ConflictError):
            await store.delete(mine.key, mine.version)

    run(story, etcd.settings())
    assert raw(etcd, "GET", quote(f"{folder}k"))["node"]["ttl"] <= 100


def test_a_renewed_key_can_be_swapped_once(etcd, folder):
    async def story(store):
        entry = await store.create(f"{folder}k", b"old", ttl=100)
        await store.renew(entry, 100)
        swapped = await store.swap(entry.key, b"new", entry.version)
        with pytest.raises(ConflictError):
            await store.swap(entry.key, b"newer", entry.version)
        assert (await store.get(entry.key)).entry == swapped

    run(story, etcd.settings())


# A swap and its siblings


def test_siblings_are_written_before_and_removed_after(etcd, folder):
    async def story(store):
        lock = await store.create(f"{folder}lock", b"0")
        gone = await store.create(f"{folder}gone", b"{}")
        also = [Delete(gone.key, gone.version), Put(f"{folder}put", b"{}", 0)]
        swapped = await store.swap(lock.key, b"1", lock.version, also)
        put = (await store.get(f"{folder}put")).entry
        listing = await store.list(folder)
        return (
            put.version < swapped.version,
            [entry.key for entry in listing.entries],
            listing.revision > swapped.version,
        )

    assert run(story, etcd.settings()) == (True, [f"{folder}lock", f"{folder}put"], True)


def test_a_swap_that_loses_leaves_its_puts_and_its_deletes_undone(etcd, folder):
    async def story(store):
        lock = await store.create(f"{folder}lock", b"0")
        kept = await store.create(f"{folder}kept", b"{}")
        also = [Put(f"{folder}put", b"{}", 0), Delete(kept.key, kept.version)]
        with pytest.raises(ConflictError):
            await store.swap(lock.key, b"1", lock.version + 1000, also)
        return {entry.key: entry.value for entry in (await store.list(folder)).entries}

    assert run(story, etcd.settings()) == {f"{folder}lock": b"0", f"{folder}kept": b"{}", f"{folder}put": b"{}"}


def test_a_put_that_loses_stops_the_swap(etcd, folder):
    async def story(store):
        lock = await store.create(f"{folder}lock", b"0")
        there = await store.create(f"{folder}there", b"other's")
        with pytest.raises(ConflictError):
            await store.swap(lock.key, b"1", lock.version, [Put(there.key, b"mine", 0)])
        return {entry.key: entry.value for entry in (await store.list(folder)).entries}

    assert run(story, etcd.settings()) == {f"{folder}lock": b"0", f"{folder}there": b"other's"}


def test_a_delete_that_loses_is_left(etcd, folder):
    async def story(store):
        lock = await store.create(f"{folder}lock", b"0")
        kept = await store.create(f"{folder}kept", b"{}")
        await store.swap(lock.key, b"1", lock.version, [Delete(kept.key, kept.version + 1000), Delete(lock.key, 0)])
        return {entry.key: entry.value for entry in (await store.list(folder)).entries}

    assert run(story, etcd.settings()) == {f"{folder}lock": b"1", f"{folder}kept": b"{}"}


# Waiting


def test_who_waits_from_before_the_kept_events_is_told_to_read_again(etcd, folder):
    async def story(store):
        entry = await store.create(f"{folder}k", b"{}")
        other = await store.create(f"{folder}other", b"0")
        for number in range(1001):
            other = await store.swap(other.key, str(number).encode(), other.version)
        assert await store.wait(f"{folder}quiet", entry.version, limit=30)
        assert await store.wait(f"{folder}quiet", other.version, limit=0.1) is None

    run(story, etcd.settings())


@pytest.mark.parametrize("prefix", [False, True])
def test_who_waits_from_ahead_of_the_store_is_told_to_read_again(etcd, folder, prefix):
    assert run(lambda store: store.wait(folder, 10**9, prefix=prefix, limit=30), etcd.settings())


def test_a_wait_ends_by_the_original_locksmiths_write(etcd, folder):
    async def story(store):
        entry = await store.create(f"{folder}a%2Fb/semaphore", b"{}")
        waiting = asyncio.create_task(store.wait(folder, entry.version, prefix=True, limit=30))
        raw(etcd, "PUT", quote(entry.key), value="new", prevIndex=entry.version)
        assert await waiting

    run(story, etcd.settings())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_wait_that_is_cancelled_ends_its_thread(etcd, tls_etcd, folder, tls):
    async def story(store):
        now = (await store.get(f"{folder}k")).revision
        waiting = asyncio.create_task(store.wait(f"{folder}k", now, limit=60))
        await _until_it_polls(store)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(wait_until, lambda: not threads(), "the thread ends", 3)

    run(story, (tls_etcd if tls else etcd).settings())


def test_closing_ends_who_waits_and_refuses_what_follows(etcd, folder):
    async def story(store):
        now = (await store.get(f"{folder}k")).revision
        waiting = asyncio.create_task(store.wait(f"{folder}k", now, limit=60))
        await _until_it_polls(store)
        await store.close()
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(waiting, 15)
        with pytest.raises(StoreUnavailableError, match="closed"):
            await store.get(f"{folder}k")

    run(story, etcd.settings())
    wait_until(lambda: not threads(), "the threads end", 15)


def test_a_broken_poll_goes_on_at_the_next_member_and_fails_at_the_last(etcd, folder):
    async def story(alone, both):
        made = await both.create(f"{folder}k", b"{}")
        with pytest.raises(StoreUnavailableError, match=front_url):
            await alone.wait(made.key, made.version, limit=30)
        assert front.answered == 1
        waiting = asyncio.create_task(both.wait(made.key, made.version, limit=30))
        await _until_it_polls(both)
        assert not waiting.done()
        await both.swap(made.key, b"{ }", made.version)
        assert await waiting

    front = dead_endpoints.Front(etcd.endpoints[0], b"wait=true", "<html>504 Gateway Time-out</html>", 504)
    with dead_endpoints.endpoint(front) as front_url:
        alone = etcd.settings(endpoints=(front_url,))
        run(story, alone, etcd.settings(endpoints=(front_url, *etcd.endpoints)))


async def _until_it_polls(store):
    """Wait until the long poll's connection stands and only the event is missing."""

    def polls():
        return any(request._tap._response is not None for request in tuple(store._cluster._under_way))

    await asyncio.to_thread(wait_until, polls, "the long poll stands", 5)


# Endpoints that are no help


def test_a_refusing_endpoint_is_passed_over_by_reads_writes_and_waits(etcd, folder):
    async def story(store, write_first):
        await write_first.create(f"{folder}k", b"{}")
        reading = await store.get(f"{folder}k")
        assert reading.entry is not None

    both = etcd.settings(endpoints=(refusing(), *etcd.endpoints))
    run(story, both, both)
    assert run(lambda store: store.wait(f"{folder}k", 0, limit=5), both)


def test_nobody_there_is_unavailable_and_names_everybody(folder):
    first, second = refusing(), refusing()
    with pytest.raises(StoreUnavailableError, match="Connection refused") as caught:
        run(lambda store: store.create(f"{folder}k", b"{}"), StoreSettings(endpoints=(first, second)))
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_a_silent_endpoint_leaves_time_for_the_next(etcd, folder):
    asked = []

    def silent(connection):
        asked.append(connection)
        dead_endpoints.silent(connection)

    async def story(store):
        begun = time.monotonic()
        await store.get(f"{folder}k")
        found = time.monotonic() - begun
        before = len(asked)
        await store.create(f"{folder}k", b"{}")
        assert (before, len(asked)) == (1, 1), "the write has to begin where the read had found an answer"
        return found

    with dead_endpoints.endpoint(silent) as url:
        found = run(story, etcd.settings(endpoints=(url, *etcd.endpoints), timeout=3))
    assert found > 0.8, "the silent endpoint has a fair part of the time, and the next the rest of it"


def test_a_write_at_a_silent_endpoint_is_unknown_and_goes_nowhere_else(etcd, folder):
    with dead_endpoints.endpoint(dead_endpoints.named(etcd.endpoints[0], dead_endpoints.silent)) as url:
        settings = etcd.settings(endpoints=(url, *etcd.endpoints), timeout=2)  # to send it takes a part
        with pytest.raises(OutcomeUnknownError, match=f"PUT of {ROOT}.*was done: {url}"):
            run(lambda store: store.create(f"{folder}k", b"{}"), settings)
    assert raw(etcd, "GET", quote(f"{folder}k"))["errorCode"] == 100


def test_a_call_ends_in_time_when_nobody_speaks(folder):
    with ExitStack() as stack:
        urls = tuple(stack.enter_context(dead_endpoints.endpoint(dead_endpoints.silent)) for _ in range(3))
        begun = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            run(lambda store: store.get(f"{folder}k"), StoreSettings(endpoints=urls, timeout=1.5))
        assert time.monotonic() - begun < 3 * 1.5


def test_a_lost_answer_is_unknown_and_the_write_is_sent_once(etcd, folder):
    with dead_endpoints.endpoint(
        dead_endpoints.named(etcd.endpoints[0], dead_endpoints.forgetful(etcd.endpoints[0]))
    ) as url:
        settings = etcd.settings(endpoints=(url, *etcd.endpoints))
        with pytest.raises(OutcomeUnknownError, match="closed connection without response"):
            run(lambda store: store.create(f"{folder}k", b"{}"), settings)
    node = raw(etcd, "GET", quote(f"{folder}k"))["node"]
    assert node["modifiedIndex"] == node["createdIndex"]


BAD_IDS = ["", "X-Etcd-Cluster-Id: \r\n", "X-Etcd-Cluster-Id: 0\r\n", "X-Etcd-Cluster-Id: rubbish\r\n"]
BAD_IDS += ["X-Etcd-Cluster-Id: 10000000000000000\r\n", "X-Etcd-Cluster-Id: 0x7\r\n"]


@pytest.mark.parametrize("header", BAD_IDS)
def test_an_answer_that_names_no_cluster_counts_for_nothing(folder, header):
    """As behind a proxy that removes the header. Each etcd from 2.0 on sends it."""
    node = '{"action":"get","node":{"key":"/k","value":"1","createdIndex":4,"modifiedIndex":4}}'
    head = f"HTTP/1.1 200 OK\r\nX-Etcd-Index: 9\r\n{header}Content-Type: application/json\r\nConnection: close\r\n"

    def proxy(connection):
        dead_endpoints.read_request(connection)
        connection.sendall(f"{head}Content-Length: {len(node)}\r\n\r\n{node}".encode())

    words = "each etcd sends it, so what is between must let this header pass"
    with dead_endpoints.endpoint(proxy) as url:
        settings = StoreSettings(endpoints=(url,))
        with pytest.raises(StoreUnavailableError, match=words):
            run(lambda store: store.get(f"{folder}k"), settings)
        with pytest.raises(StoreUnavailableError, match=words):
            run(lambda store: store.wait(f"{folder}k", 1, limit=2), settings)
        with pytest.raises(OutcomeUnknownError, match=words):
            run(lambda store: store.create(f"{folder}k", b""), settings)


RUBBISH = {
    "a page": dead_endpoints.answering("<html>Welcome</html>"),
    "a page that is not found": dead_endpoints.answering("<html>404</html>", 404),
    "somebody's 404": dead_endpoints.answering('{"message": "no such route"}', 404, "application/json"),
    "a gateway's 502": dead_endpoints.answering("Bad Gateway", 502),
    "other JSON": dead_endpoints.answering('{"node": {"key": "/a", "value": "x"}}', 200, "application/json"),
    "a code that is a list": dead_endpoints.answering('{"errorCode": [100], "index": 5}', 400, "application/json"),
    "a code that is an object": dead_endpoints.answering('{"errorCode": {}, "index": 5}', 400, "application/json"),
    "a list": dead_endpoints.answering("[]", 200, "application/json"),
    "a moved page": dead_endpoints.answering("", 302),
}


@pytest.mark.parametrize("answer", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_no_answer(etcd, folder, answer):
    async def story(alone, with_etcd, writer):
        with pytest.raises(StoreUnavailableError, match="no endpoint of etcd answered GET"):
            await alone.get(f"{folder}k")
        with pytest.raises(StoreUnavailableError, match="no endpoint of etcd answered GET"):
            await alone.list(folder)
        assert (await with_etcd.get(f"{folder}k")).entry is None
        with pytest.raises(OutcomeUnknownError):
            await writer.create(f"{folder}k", b"{}")
        assert await with_etcd.create(f"{folder}k", b"{}"), "a write goes to no endpoint that names no cluster"

    with (
        dead_endpoints.endpoint(answer) as url,
        dead_endpoints.endpoint(dead_endpoints.named(etcd.endpoints[0], answer)) as front,
    ):
        both, fronted = (etcd.settings(endpoints=(one, *etcd.endpoints)) for one in (url, front))
        run(story, StoreSettings(endpoints=(url,)), both, fronted)


def test_a_server_without_the_v2_api_says_so():
    with Etcd(WHEEL) as server, pytest.raises(StoreUnavailableError, match=r"has no v2 API.*--enable-v2"):
        run(lambda store: store.create(f"{ROOT}/semaphore", b"{}"), server.settings())


@pytest.mark.parametrize("url", ["127.0.0.1:2379", "ftp://127.0.0.1", "http://", "http://h:x", "http://u:p@h"])
def test_an_endpoint_that_is_no_url_is_a_usage_error(url):
    with pytest.raises(UsageError, match="endpoint"):
        Etcd2Store(StoreSettings(endpoints=(url,)))


# Clusters


@pytest.fixture(scope="module")
def cluster():
    with Etcd(WHEEL, members=3, v2=True) as servers:
        yield servers


def _leader_last(cluster):
    leader = cluster.leader()
    return sorted(cluster.members, key=lambda member: member is leader)


def test_a_frozen_member_is_passed_over(cluster, folder):
    frozen, *others = _leader_last(cluster)

    async def story(store):
        assert (await store.get(f"{folder}k")).entry is None
        entry = await store.create(f"{folder}k", b"{}")
        waiting = asyncio.create_task(store.wait(entry.key, entry.version, limit=30))
        await store.swap(entry.key, b"{ }", entry.version)
        assert await waiting

    frozen.freeze()
    try:
        run(story, cluster.settings(endpoints=(frozen.url, *(other.url for other in others)), timeout=3))
    finally:
        frozen.thaw()


def test_a_member_without_a_leader_gives_no_answer_that_counts(cluster, folder):
    lonely, *others = _leader_last(cluster)
    for other in others:
        other.freeze()
    try:
        settings = cluster.settings(endpoints=(lonely.url,), timeout=1)
        with pytest.raises(StoreUnavailableError):
            run(lambda store: store.get(f"{folder}k"), settings)
        with pytest.raises(OutcomeUnknownError):
            run(lambda store: store.create(f"{folder}k", b"{}"), settings)
    finally:
        for other in others:
            other.thaw()
    for member in cluster.members:
        member.wait_ready()


# Users and certificates


@pytest.fixture(scope="module")
def tls_etcd():
    with Etcd(WHEEL, v2=True, tls=Tls.SERVER) as server:
        yield server


@pytest.fixture(scope="module", params=[DEBIAN, WHEEL], ids=["etcd-3.4", "etcd-3.5"])
def auth_etcd(request):
    with Etcd(request.param, v2=True, auth=True) as server:
        yield server


@pytest.fixture(scope="module")
def mutual_etcd():
    with Etcd(WHEEL, v2=True, auth=True, tls=Tls.MUTUAL) as server:
        yield server


async def _write_and_read(store, key):
    entry = await store.create(key, b"{}")
    assert (await store.get(key)).entry == entry
    await store.delete(key, entry.version)


def test_a_ca_alone_is_enough_for_tls(tls_etcd, folder):
    run(lambda store: _write_and_read(store, f"{folder}k"), tls_etcd.settings())


def test_user_and_password(auth_etcd, folder):
    run(lambda store: _write_and_read(store, f"{folder}k"), auth_etcd.settings())


def test_mutual_tls_with_user_and_password(mutual_etcd, folder):
    run(lambda store: _write_and_read(store, f"{folder}k"), mutual_etcd.settings())


@pytest.mark.parametrize("who", [{"password": "wrong"}, {"password": "größe"}, {"username": None, "password": None}])
def test_who_is_not_let_in_is_refused(auth_etcd, folder, who):
    async def story(store):
        with pytest.raises(StoreRefusedError, match="check user, password and role"):
            await store.get(f"{folder}k")
        with pytest.raises(StoreRefusedError, match="check user, password and role"):
            await store.create(f"{folder}k", b"{}")

    run(story, auth_etcd.settings(**who))


def test_a_user_is_refused_beyond_its_rights(auth_etcd):
    with pytest.raises(StoreRefusedError, match="check user, password and role"):
        run(lambda store: store.create("elsewhere/k", b"{}"), auth_etcd.settings())


def test_a_wrong_ca_is_unavailable_and_nothing_was_written(tls_etcd, folder, tmp_path):
    settings = tls_etcd.settings(cafile=Authority(tmp_path, "other").cert)
    with pytest.raises(StoreUnavailableError, match="certificate cannot be trusted"):
        run(lambda store: store.create(f"{folder}k", b"{}"), settings)


def test_no_client_certificate_where_one_is_needed(mutual_etcd, folder):
    with pytest.raises(StoreUnavailableError, match="certificate"):
        run(lambda store: store.get(f"{folder}k"), mutual_etcd.settings(certfile=None, keyfile=None))


@pytest.mark.parametrize("name", ["cafile", "certfile"])
def test_a_tls_file_that_cannot_be_read_is_a_usage_error(tls_etcd, tmp_path, name):
    with pytest.raises(UsageError, match=r"missing\.pem"):
        Etcd2Store(tls_etcd.settings(**{name: tmp_path / "missing.pem"}))
