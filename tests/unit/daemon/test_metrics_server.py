"""The metrics port: what clients get, hostile ones too, over real sockets on loopback."""

import contextlib
import gzip
import os
import resource
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from locksmith.config.model import Config, MetricsSettings
from locksmith.daemon import metrics_server
from locksmith.daemon.daemon import _metrics
from locksmith.daemon.metrics import Metrics
from locksmith.store.meter import Meter
from locksmith.util import listener
from locksmith.util.visits import Stage, Visit, dispensable, origin
from tests.harness.certificates import Authority
from tests.harness.etcd import wait_until
from tests.harness.ports import free_ports

PROMETHEUS = tuple(int(part) for part in version("prometheus-client").split(".")[:2])
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
IDLE = b"locksmith_build_info{version="


@contextlib.contextmanager
def serving(**settings) -> Iterator[int]:
    """Serve metrics; give the port."""
    [port] = free_ports(1)
    with Metrics(CollectorRegistry()).serve(MetricsSettings(port=port, **settings)):
        yield port


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as port:
        yield port


def client(port: int, *pieces: bytes, host: str = "127.0.0.1") -> socket.socket:
    """Connect, and send each piece on its own."""
    connection = socket.create_connection((host, port), timeout=10)
    for piece in pieces:
        connection.sendall(piece)
    return connection


def said(connection: socket.socket) -> bytes:
    """Read until the other side ends; a reset ends it too."""
    answer = b""
    with connection, contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            answer += piece
    return answer


def ask(port: int, request: bytes = GET) -> bytes:
    return said(client(port, request))


def read(url, context=None):
    with urllib.request.urlopen(url, timeout=5, context=context) as answer:
        return answer.read()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost", "::"])
def test_the_metrics_are_served_on_ipv4_and_ipv6(address):
    with serving(address=address) as port:
        where = {"::1": "[::1]", "::": "127.0.0.1"}.get(address, address)
        assert IDLE in read(f"http://{where}:{port}/metrics")


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (GET, b"200 OK", IDLE),
        (b"GET / HTTP/1.0\r\n\r\n", b"200 OK", IDLE),
        (b"GET /metrics?name[]=locksmith_build_info HTTP/1.1\r\n\r\n", b"200 OK", IDLE),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404 Not Found", b"/metrics"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nx=1", b"405 Method Not Allowed", b"POST"),
        (b"GET /metrics\r\n\r\n", b"400 Bad Request", b"no HTTP"),
        (b"\x16\x03\x01\x00\xff\r\n\r\n", b"400 Bad Request", b"no HTTP"),
        (b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", b"400 Bad Request", b"no HTTP"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", b"431 Request Header Fields Too Large", b"8192"),
        (b"a" * 100_000, b"431 Request Header Fields Too Large", b"8192"),
        pytest.param(
            *(
                b"GET / HTTP/1.1\r\nAccept: application/openmetrics-text;version=foo\r\n\r\n",
                b"500 Internal",
                b"the log",
            ),
            marks=pytest.mark.skipif(PROMETHEUS < (0, 22), reason="prometheus-client answers it before 0.22"),
        ),
    ],
)
def test_each_request_has_one_answer_and_ends(port, request_, status, text):
    answer = ask(port, request_)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]
    assert text in answer
    assert answer.count(b"HTTP/1.1 ") == (2 if b"no HTTP" in text else 1)
    assert b"Connection: close\r\n" in answer


def test_what_a_head_request_gets_is_the_head(port):
    head, _, body = ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == b""


def test_gzip_and_openmetrics_are_given_where_they_are_accepted(port):
    accepts = b"Accept-Encoding: gzip\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n"
    head, _, body = ask(port, b"GET /metrics HTTP/1.1\r\n" + accepts).partition(b"\r\n\r\n")
    assert b"application/openmetrics-text" in head
    assert gzip.decompress(body).endswith(b"# EOF\n")


def test_requests_in_a_row_have_one_answer(port):
    assert ask(port, GET * 20).count(b"HTTP/1.1 200 OK") == 1


def test_a_request_in_single_bytes_and_one_that_is_half_closed_are_answered(port):
    assert IDLE in said(client(port, *[GET[at : at + 1] for at in range(len(GET))]))
    half = client(port, GET)
    half.shutdown(socket.SHUT_WR)
    assert IDLE in said(half)


@pytest.mark.slow
def test_who_does_not_finish_its_request_is_ended(port, monkeypatch):
    monkeypatch.setattr(metrics_server, "REQUEST_LIMIT", 0.2)
    for pieces in ((), (b"GET /",), (b"GET / HTTP/1.1\r\nX: y\r\n",)):
        assert said(client(port, *pieces)) == b""
    assert IDLE in ask(port)


@pytest.mark.slow
def test_who_does_not_take_its_answer_is_ended(port, monkeypatch):
    monkeypatch.setattr(metrics_server, "ANSWER_LIMIT", 0.2)
    monkeypatch.setattr("locksmith.daemon.metrics_http.Exposition.answer", lambda _self, _head: b"x" * 10_000_000)
    slow = client(port, GET)
    wait_until(lambda: established(port) == 0, "the server ends it", 10)
    assert len(said(slow)) < 10_000_000


def test_a_new_client_takes_the_place_of_one_that_has_not_asked(port, caplog):
    silent = [client(port) for _ in range(100)]
    assert IDLE in ask(port)
    wait_until(lambda: established(port) <= metrics_server.CONNECTIONS, "the others are ended", 10)
    assert len([record for record in caplog.records if "more than 32 connections" in record.message]) == 1
    for connection in silent:
        connection.close()


def established(port: int) -> int:
    """Connections of a port that this process has accepted."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in lines if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01")


def test_without_a_free_descriptor_it_waits_and_then_goes_on(port, monkeypatch, caplog):
    monkeypatch.setattr(listener, "NO_DESCRIPTOR_PAUSE", 0.05)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert IDLE in ask(port)  # it runs
    asks = socket.socket()
    asks.settimeout(10)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        asks.connect(("127.0.0.1", port))
        asks.sendall(GET)
        wait_until(lambda: "takes no connection: Too many open files" in caplog.text, "it says so", 10)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert IDLE in said(asks)


def test_the_client_with_the_most_connections_gives_one_up():
    prometheus = Visit("192.0.2.1")
    asked, first, second = Visit("this machine", Stage.ASKED), Visit("this machine"), Visit("this machine")
    assert dispensable([prometheus, asked, first, second]) is first
    assert dispensable([asked, second, prometheus, first]) is second
    assert dispensable([prometheus, first]) is prometheus


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("127.0.0.1", "this machine"),
        ("127.8.9.10", "this machine"),
        ("::1", "this machine"),
        ("::ffff:127.0.0.1", "this machine"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1:2", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_clients_are_told_apart_by_what_they_cannot_choose(address, client):
    assert origin((address, 1234)) == client


def test_the_thread_ends_with_the_daemon():
    with serving() as port:
        waiting = client(port)
    assert said(waiting) == b""
    with pytest.raises(ConnectionRefusedError):
        client(port)


# What cannot be served


def test_a_port_that_is_taken_is_logged_and_not_fatal(port, caplog):
    with Metrics(CollectorRegistry()).serve(MetricsSettings(port=port)):
        assert IDLE in ask(port)
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.message.startswith(f"metrics are not served: 127.0.0.1:{port}: ")
    assert "Address already in use" in record.message


@pytest.mark.parametrize("address", ["256.0.0.1", "192.0.2.1", "x" * 70, "a\0b"])
def test_an_address_that_is_not_this_machines_is_logged_and_not_fatal(caplog, address):
    with Metrics(CollectorRegistry()).serve(MetricsSettings(address=address, port=0)):
        assert f"metrics are not served: {address}:0" in caplog.text


def test_nothing_listens_where_metrics_are_off():
    [port] = free_ports(1)
    with contextlib.ExitStack() as stack:
        config = Config(metrics=MetricsSettings(enabled=False, port=port))
        meter, reporters, group = _metrics(config, stack, shared=True)
        assert (type(meter), reporters, group) == (Meter, [], None)
        with pytest.raises(ConnectionRefusedError):
            client(port)


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.cert)


def test_the_metrics_are_served_with_tls_while_others_do_not_finish_their_handshake(authority):
    pair = authority.issue("metrics")
    with serving(certfile=pair.cert, keyfile=pair.key) as port:
        stalled = [client(port), client(port, b"\x16"), client(port, b"\x16\x03\x01\x02\x00\x01")]
        assert IDLE in read(f"https://127.0.0.1:{port}/metrics", trusting(authority))
        for connection in stalled:
            connection.close()


@pytest.mark.slow
def test_a_handshake_that_stalls_is_ended(authority, monkeypatch):
    monkeypatch.setattr(metrics_server, "REQUEST_LIMIT", 0.2)
    pair = authority.issue("metrics")
    with serving(certfile=pair.cert, keyfile=pair.key) as port:
        assert said(client(port, b"\x16\x03\x01")) == b""


def test_http_to_the_tls_port_is_told_so(authority):
    pair = authority.issue("metrics")
    with serving(certfile=pair.cert, keyfile=pair.key) as port:
        assert b"ask with https://" in ask(port)
        ask(port, b"garbage" * 1000)
        assert IDLE in read(f"https://127.0.0.1:{port}/metrics", trusting(authority))


def test_a_renewed_certificate_is_used_and_one_that_is_no_use_is_not(authority, tmp_path, caplog):
    pair = authority.issue("metrics")
    other = Authority(tmp_path / "other")
    renewed = other.issue("metrics")
    with serving(certfile=pair.cert, keyfile=pair.key) as port:
        url = f"https://127.0.0.1:{port}/metrics"
        shutil.copy(renewed.cert, pair.cert)
        assert IDLE in read(url, trusting(authority))
        assert "TLS files have changed and cannot be used" in caplog.text
        shutil.copy(renewed.key, pair.key)
        assert IDLE in read(url, trusting(other))


@pytest.mark.parametrize(
    ("begins", "ends", "says"),
    [(-3, -1, "expired on 2"), (1, 3, "holds from 2")],
    ids=["expired", "not yet valid"],
)
def test_a_certificate_that_clients_refuse_is_told_once(authority, caplog, begins, ends, says):
    pair = authority.issue("metrics", begins=begins, ends=ends)
    with serving(certfile=pair.cert, keyfile=pair.key) as port:
        for _ in range(2):
            with pytest.raises(OSError, match="certificate"):
                read(f"https://127.0.0.1:{port}/metrics", trusting(authority))
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"clients refuse the certificate of the metrics port: {pair.cert} {says}")


def test_a_broken_certificate_and_a_key_with_a_passphrase_are_logged_and_not_fatal(authority, caplog, tmp_path):
    text, pair = tmp_path / "text.pem", authority.issue("metrics")
    text.write_text("no certificate")
    secret = tmp_path / "secret.key"
    command = ["openssl", "ec", "-in", pair.key, "-out", secret, "-aes256", "-passout", "pass:x"]
    subprocess.run(command, check=True, capture_output=True)
    for certfile, keyfile in ((text, text), (pair.cert, secret), (pair.cert, tmp_path / "missing")):
        caplog.clear()
        began = time.monotonic()
        with serving(certfile=certfile, keyfile=keyfile) as port, pytest.raises(ConnectionRefusedError):
            client(port)
        assert f"the certificate {certfile} and its key {keyfile} cannot be used" in caplog.text
        assert time.monotonic() - began < 5
