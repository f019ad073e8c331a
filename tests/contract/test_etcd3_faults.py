"""etcd v3 behind endpoints that are of no use: every call ends within its deadline, and says what it knows."""

import asyncio
import itertools
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from locksmith.errors import OutcomeUnknownError, StoreError, StoreUnavailableError, UsageError
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.settings import StoreSettings
from tests.contract.stories import run, within
from tests.harness import dead_endpoints
from tests.harness.etcd import Etcd, Tls, wait_until
from tests.harness.ports import free_ports
from tests.harness.waiting import until

TIMEOUT = 0.8
HTML = "<html><body>It works!</body></html>"
REFUSED, SILENT, PAGE, FORGETFUL = "refuses", "hangs", "HTML", "loses the answer"


@contextmanager
def bad_endpoint(kind, etcd):
    """An endpoint that is of no use, in one of four ways."""
    handlers = {
        SILENT: dead_endpoints.silent,
        PAGE: dead_endpoints.answering(HTML),
        FORGETFUL: dead_endpoints.forgetful(etcd.endpoints[0]),
    }
    if kind == REFUSED:
        yield nobody_there()
    else:
        with dead_endpoints.endpoint(handlers[kind]) as url:
            yield url


def nobody_there():
    return f"http://127.0.0.1:{free_ports(1)[0]}"


def open_sockets():
    return sum(link.startswith("socket:") for link in map(readlink, Path("/proc/self/fd").iterdir()))


def readlink(path):
    with suppress(FileNotFoundError):
        return str(path.readlink())
    return ""


def failure(settings, story):
    with pytest.raises(StoreError) as caught:
        run(settings, story)
    return caught.value


def drip(connection, *, piece=b" ", every=0.05):
    """Answer with a body that never ends, a piece at a time."""
    dead_endpoints.read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
    while True:
        connection.sendall(piece)
        time.sleep(every)


# One endpoint that is no good


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (REFUSED, "connection refused"),
        (SILENT, "no answer in time"),
        (PAGE, "It works!"),
        (FORGETFUL, "closed the connection"),
    ],
)
def test_a_read_names_the_endpoint_and_what_was_wrong(wheel_etcd, base, kind, says):
    with bad_endpoint(kind, wheel_etcd) as url, within(TIMEOUT):
        caught = failure(StoreSettings((url,), timeout=TIMEOUT), lambda store: store.get(base + "key"))
    assert isinstance(caught, StoreUnavailableError)
    assert url in str(caught)
    assert says in str(caught)


@pytest.mark.parametrize("kind", [SILENT, PAGE, FORGETFUL])
def test_a_write_whose_answer_is_lost_is_unknown(wheel_etcd, base, kind):
    with bad_endpoint(kind, wheel_etcd) as url, within(TIMEOUT):
        caught = failure(StoreSettings((url,), timeout=TIMEOUT), lambda store: store.create(base + "key", b""))
    assert isinstance(caught, OutcomeUnknownError)
    assert url in str(caught)
    done = run(wheel_etcd.settings(), lambda store: store.get(base + "key")).entry is not None
    assert done == (kind == FORGETFUL)


def test_what_is_wrong_with_several_endpoints_is_said_once(base):
    urls = tuple(nobody_there() for _ in range(3))
    said = str(failure(StoreSettings(urls), lambda store: store.get(base + "key")))
    assert said == f"no etcd endpoint could be used: {', '.join(urls)}: connection refused"


def test_a_write_that_never_left_is_unavailable(base):
    with pytest.raises(StoreUnavailableError, match="connection refused"):
        run(StoreSettings((nobody_there(),)), lambda store: store.create(base + "key", b""))


def test_a_wait_at_a_bad_endpoint_says_so(wheel_etcd, base):
    for kind in (REFUSED, SILENT, PAGE):
        with bad_endpoint(kind, wheel_etcd) as url, within(TIMEOUT), pytest.raises(StoreUnavailableError, match=url):
            run(StoreSettings((url,), timeout=TIMEOUT), lambda store: store.wait(base, 1, prefix=True, limit=30))


def test_an_answer_that_trickles_does_not_pass_the_deadline(base):
    with dead_endpoints.endpoint(drip) as url, within(TIMEOUT), pytest.raises(StoreUnavailableError, match="in time"):
        run(StoreSettings((url,), timeout=TIMEOUT), lambda store: store.get(base))


def test_headers_that_trickle_do_not_pass_the_deadline(base):
    def handle(connection):
        for letter in itertools.chain(b"HTTP/1.1 200 OK\r\nX-Slow: ", itertools.repeat(ord("x"))):
            connection.sendall(bytes([letter]))
            time.sleep(0.05)

    with dead_endpoints.endpoint(handle) as url, within(TIMEOUT), pytest.raises(StoreUnavailableError, match="in time"):
        run(StoreSettings((url,), timeout=TIMEOUT), lambda store: store.get(base))


def test_an_endless_answer_is_cut_off(base):
    with dead_endpoints.endpoint(lambda connection: drip(connection, piece=b" " * 2**20, every=0)) as url:
        caught = failure(StoreSettings((url,), timeout=10), lambda store: store.get(base))
    assert "longer than 64 MiB" in str(caught)


BAD_IDS = ["", '"cluster_id":"",', '"cluster_id":"0",', '"cluster_id":0,', '"cluster_id":"x",', '"cluster_id":"-1",']
BAD_IDS += ['"cluster_id":7,', '"cluster_id":"18446744073709551616",', '"cluster_id":"1e9",', '"cluster_id":["7"],']
"""What etcd never writes: it is a decimal number of 64 bits, not 0, as text."""


@pytest.mark.parametrize("cluster", BAD_IDS)
def test_an_answer_that_names_no_cluster_counts_for_nothing(base, cluster):
    answer = f'{{"header":{{{cluster}"revision":"7"}},"succeeded":true}}'
    with dead_endpoints.endpoint(dead_endpoints.answering(answer)) as url:
        with pytest.raises(StoreUnavailableError, match=r"the field 'cluster_id' must be the id of a cluster"):
            run(StoreSettings((url,)), lambda store: store.get(base))
        with pytest.raises(OutcomeUnknownError, match="the field 'cluster_id' must be the id of a cluster"):
            run(StoreSettings((url,)), lambda store: store.create(base, b""))


def test_the_largest_cluster_id_is_one(base):
    answer = '{"header":{"cluster_id":"18446744073709551615","revision":"7"}}'
    with dead_endpoints.endpoint(dead_endpoints.answering(answer)) as url:
        assert run(StoreSettings((url,)), lambda store: store.get(base)).entry is None


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        "[]",
        '{"header":{}}',
        '{"header":{"cluster_id":"7","revision":"0"}}',
        '{"header":{"cluster_id":"7","revision":"x"}}',
        '{"header":{"cluster_id":"7","revision":1e999}}',
        '{"header":{"cluster_id":"7","revision":"7"},"kvs":[{"key":"é","mod_revision":"1","create_revision":"1"}]}',
        '{"header":{"cluster_id":"7","revision":"7"},"kvs":{}}',
        '{"header":{"cluster_id":"7","revision":"7"},"kvs":[7]}',
        '{"header":{"cluster_id":"7","revision":"7"},"kvs":[{"key":"a"}]}',
        '{"header":{"cluster_id":"7","revision":"7"},"kvs":[{"key":"YQ==","value":"YQ=="}]}',
        '{"error":7}',
        '{"error":{"message":7}}',
    ],
)
def test_an_answer_that_etcd_never_gives_reads_as_nothing(base, answer):
    with (
        dead_endpoints.endpoint(dead_endpoints.answering(answer)) as url,
        pytest.raises(StoreUnavailableError, match=url),
    ):
        run(StoreSettings((url,)), lambda store: store.get(base))


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        '{"header":{"cluster_id":"7","revision":"0"},"succeeded":true}',
        '{"header":{"cluster_id":"7","revision":"7"},"succeeded":"yes"}',
        '{"header":{"cluster_id":"7","revision":"7"},"succeeded":true,"responses":[]}',
        '{"header":{"cluster_id":"7","revision":"7"},"succeeded":true,"responses":[{"response_put":{}}]}',
        '{"error":7}',
    ],
)
def test_a_write_that_is_answered_with_what_etcd_never_says_is_unknown(base, answer):
    with (
        dead_endpoints.endpoint(dead_endpoints.answering(answer)) as url,
        pytest.raises(OutcomeUnknownError, match=url),
    ):
        run(StoreSettings((url,)), lambda store: store.swap(base, b"", 6))


# A bad endpoint before a good one


@pytest.mark.parametrize("kind", [REFUSED, SILENT, PAGE, FORGETFUL])
def test_reads_and_waits_go_on_to_the_next_endpoint(wheel_etcd, base, kind):
    async def story(store):
        assert (await store.get(base + "key")).entry is None
        assert await store.create(base + "key", b"")  # the endpoint that answered last is the first one now

    async def waits(store):
        assert await store.wait(base + "key", 1, limit=20)

    with bad_endpoint(kind, wheel_etcd) as url:
        settings = wheel_etcd.settings(endpoints=(url, *wheel_etcd.endpoints), timeout=TIMEOUT)
        with within(TIMEOUT):
            run(settings, story)
        with within(TIMEOUT):
            run(settings, waits)


def test_a_write_goes_on_where_nothing_was_sent(wheel_etcd, base):
    settings = wheel_etcd.settings(endpoints=(nobody_there(), *wheel_etcd.endpoints))
    assert run(settings, lambda store: store.create(base + "key", b""))


@pytest.mark.parametrize(
    ("error", "applied_nothing"),
    [
        ("etcdserver: no leader", True),
        ("etcdserver: too many requests", True),
        ("etcdserver: request timed out", False),
        ("etcdserver: request timed out, possibly due to previous leader failure", False),
        ("etcdserver: mvcc: database space exceeded", False),
    ],
)
def test_a_write_goes_on_where_the_member_says_that_it_did_nothing(wheel_etcd, base, error, applied_nothing):
    answer = f'{{"error":"{error}","message":"{error}","code":14}}'
    bad = dead_endpoints.named(wheel_etcd.endpoints[0], dead_endpoints.answering(answer, 503, "application/json"))
    with dead_endpoints.endpoint(bad) as url:
        settings = wheel_etcd.settings(endpoints=(url, *wheel_etcd.endpoints))
        if applied_nothing:
            assert run(settings, lambda store: store.create(base + "key", b""))
        else:
            with pytest.raises(OutcomeUnknownError, match=error):
                run(settings, lambda store: store.create(base + "key", b""))


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:2379", "ftp://127.0.0.1", "http://", "http://u:p@127.0.0.1", "http://127.0.0.1/v3"),
        *(
            "http://[::1",
            "http://[x]:1",
            "http://[::1]x:1",
            "http://a b:1",
            "http://a\tb:1",
            "http://a:0",
            "http://a:99999",
        ),
        *("http://a:x", "http://a?b", "http://a#b", "http://a,http://b", "http:/a", "http://a%2fb"),
    ],
)
def test_an_endpoint_that_is_none_is_refused_by_name(url):
    with pytest.raises(UsageError, match="cannot be used"):
        Etcd3Store(StoreSettings((url,)))


def test_a_scheme_in_capitals_is_the_same_scheme():
    with Etcd(tls=Tls.SERVER) as etcd:
        url = etcd.endpoints[0].replace("https:", "HTTPS:")
        assert run(etcd.settings(endpoints=(url,)), lambda store: store.get("k")).entry is None


@pytest.mark.parametrize("url", ["https://root:hunter2@etcd:2379", "root:hunter2@etcd", "http://root:hunter2@[::1"])
def test_a_password_in_an_endpoint_shows_in_no_error(url):
    with pytest.raises(UsageError, match="without a user or a password") as caught:
        Etcd3Store(StoreSettings((url,)))
    assert "hunter2" not in str(caught.value)


def test_no_endpoint_at_all_is_refused():
    with pytest.raises(UsageError, match="no etcd endpoint"):
        Etcd3Store(StoreSettings(()))


# Streams that break

CREATED = '{"result":{"header":{"cluster_id":"CLUSTER","revision":"999999999"},"created":true}}\n'


def created(etcd: Etcd) -> str:
    return CREATED.replace("CLUSTER", etcd.call("/v3/maintenance/status")["header"]["cluster_id"])


def test_watches_that_break_at_once_are_opened_ever_more_seldom(wheel_etcd, base):
    front = dead_endpoints.Front(wheel_etcd.endpoints[0], b"/v3/watch", created(wheel_etcd))
    with dead_endpoints.endpoint(front) as url:
        assert not run(wheel_etcd.settings(endpoints=(url,)), lambda store: store.wait(base, 1, limit=1.5))
    assert 2 <= front.answered <= 6


def test_a_watch_that_broke_is_opened_at_the_next_endpoint(wheel_etcd, base):
    async def story(store):
        made = await store.create(base + "key", b"")
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        await asyncio.to_thread(wait_until, lambda: front.answered, "the first watch breaks")
        await store.swap(base + "key", b"2", made.version)
        assert await waiting

    front = dead_endpoints.Front(wheel_etcd.endpoints[0], b"/v3/watch", created(wheel_etcd))
    with dead_endpoints.endpoint(front) as url, within(5):
        run(wheel_etcd.settings(endpoints=(url, *wheel_etcd.endpoints)), story)
    assert front.answered == 1


# Ends


def test_waits_take_no_threads_and_no_connection_is_left(wheel_etcd, base):
    async def story(store):
        threads, sockets = threading.active_count(), open_sockets()
        made = await store.create(base + "key", b"")
        waits = [asyncio.create_task(store.wait(base + "key", made.version, limit=20)) for _ in range(4)]
        await until(lambda: open_sockets() == sockets + len(waits) + 1, "each waits, and a connection is kept")
        assert threading.active_count() == threads
        for wait in waits[:2]:
            wait.cancel()
        await asyncio.wait(waits[:2])
        await until(lambda: open_sockets() == sockets + 3, "a cancelled wait ends its connection")
        await store.close()
        for wait in waits[2:]:
            with pytest.raises(StoreUnavailableError, match="closed"):
                await wait
        with pytest.raises(StoreUnavailableError, match="closed"):
            await store.get(base + "key")
        await until(lambda: open_sockets() == sockets, "every connection ends")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with within(3):
        run(wheel_etcd.settings(), story)


@pytest.mark.parametrize("handler", [dead_endpoints.silent, drip], ids=["silent", "trickles"])
def test_a_call_that_timed_out_leaves_no_connection_and_no_task(handler):
    async def story(store):
        sockets = open_sockets()
        with pytest.raises(StoreUnavailableError, match="no answer in time"):
            await store.get("key")
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await until(lambda: open_sockets() <= sockets + 1, "the connection ends")  # the endpoint has its own end

    with dead_endpoints.endpoint(handler) as url:
        run(StoreSettings((url,), timeout=0.2), story)
