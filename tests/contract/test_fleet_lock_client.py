"""The client of the strategy `fleet-lock` against servers that are wrong, hostile or slow: one sentence for each."""

import asyncio
import socket
import ssl
import time
from base64 import b64encode
from contextlib import closing

import pytest

from locksmith.agent.fleet_lock import FleetLockSettings
from locksmith.errors import HostError, LocksmithError, OutcomeUnknownError, StoreUnavailableError
from locksmith_strategies.fleet_lock_client import LONGEST_VALUE, PRE_REBOOT, FleetLockClient
from tests.harness import fleet_lock
from tests.harness.certificates import Authority
from tests.harness.fleet_lock import fleet_lock_double
from tests.harness.http_server import answer
from tests.harness.waiting import until

PATH = fleet_lock.PRE_REBOOT


@pytest.fixture
def server():
    with fleet_lock_double() as made:
        yield made


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def call(url, limit=20.0, **settings):
    client = FleetLockClient(FleetLockSettings(url=url, **settings))
    return asyncio.run(client.call(PRE_REBOOT, "web", "n1", limit))


def failure(url, limit=20.0, **settings):
    with pytest.raises(LocksmithError) as failed:
        call(url, limit, **settings)
    assert str(failed.value).startswith(f"the FleetLock server {url} ")
    return type(failed.value), str(failed.value).removeprefix(f"the FleetLock server {url} ")


def tls(pair, *, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_yes_and_its_body_is_not_read(server, status):
    server.instead[PATH] = lambda asked: answer(asked, status, b"x" * 1000)
    assert call(server.url).granted
    assert server.calls == [(PATH, "web", "n1")]


@pytest.mark.parametrize("status", [300, 302, 400, 401, 404, 409, 500, 503, 599])
def test_anything_else_is_a_no(server, status):
    server.refuse(PATH, status, "no_slot", "held by n2")
    reply = call(server.url)
    assert (reply.granted, reply.status, reply.kind, reply.value) == (False, status, "no_slot", "held by n2")


def test_a_path_of_the_base_url_is_kept():
    with fleet_lock_double(base="/a/b%20c") as server:
        assert call(server.url).granted


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no",
        b"[]",
        b'{"kind":3,"value":[]}',
        b'{"kind":null}',
        b"[" * 5000,
        b"\xff\xfe",
        b'{"kind":"a","kind":"b"}',
    ],
)
def test_a_refusal_without_fleetlocks_words_is_a_refusal(server, body):
    server.instead[PATH] = lambda asked: answer(asked, 409, body)
    reply = call(server.url)
    assert (reply.status, reply.kind, reply.value) == (409, "", "")


def test_hostile_words_are_cut_and_cleaned(server):
    server.refuse(PATH, 409, "k" * 9999, "\x1b[31m `locksmithctl unlock --force`\n\u202e" + "v" * 99999 + "\x00")
    server.instead["/"] = server.instead[PATH]
    reply = call(server.url)
    assert len(reply.kind) <= 120
    assert len(reply.value) < LONGEST_VALUE + 50
    assert reply.value.isprintable()
    assert not {"`", "\x1b", "\n", "\u202e"} & set(reply.value)


def gigabyte(asked):
    asked.send_response(500)
    asked.send_header("Content-Length", str(2**30))
    asked.end_headers()
    try:
        for _ in range(2**14):
            asked.wfile.write(b"x" * 2**16)
    except OSError:
        asked.server.ended.set()


def test_an_answer_of_a_gigabyte_is_not_read(server):
    server.instead[PATH] = gigabyte
    began = time.monotonic()
    assert call(server.url).status == 500
    assert server.ended.wait(10), "the connection is cut off"
    assert time.monotonic() - began < 10


def slow(asked):
    asked.send_response(503)
    asked.send_header("Content-Length", "100")
    asked.end_headers()
    asked.server.ended.wait(20)


def test_a_body_that_never_comes_is_a_refusal_all_the_same(server, monkeypatch):
    monkeypatch.setattr("locksmith.host.http_server.BODY_LIMIT", 0.3)
    server.instead[PATH] = slow
    assert call(server.url).status == 503


def test_a_server_that_hangs_may_have_done_it(server):
    server.instead[PATH] = lambda asked: asked.server.ended.wait(20)
    kind, text = failure(server.url, 0.5)
    assert (kind, text) == (OutcomeUnknownError, "gave no answer within 0.5 s")


def test_so_may_a_server_that_loses_its_answer(server):
    server.lost.add(PATH)
    kind, text = failure(server.url)
    assert (kind, text) == (OutcomeUnknownError, "gave no answer: it closed the connection without an answer")
    assert server.holders["web"] == {"n1"}


@pytest.mark.parametrize(
    "garbage", [b"\x00\x01\x02\x03\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\n" * 99]
)
def test_garbage_is_no_answer(garbage, server):
    server.instead[PATH] = lambda asked: asked.wfile.write(garbage)
    kind, text = failure(server.url)
    assert kind is OutcomeUnknownError
    assert text.startswith("gave no answer: ")
    assert text.isprintable()


def test_a_redirect_is_not_followed(server):
    with fleet_lock_double() as other:
        server.instead[PATH] = lambda asked: answer(asked, 307, b"", Location=other.url)
        reply = call(server.url)
        assert (reply.status, reply.location, other.calls) == (307, other.url, [])


def test_a_server_that_is_not_there_has_done_nothing():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        kind, text = failure(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (kind, text) == (StoreUnavailableError, "cannot be reached: connection refused")
    kind, text = failure("http://no-such-host.invalid")
    assert kind is StoreUnavailableError
    assert text.startswith("cannot be reached: ")


def test_http_to_a_port_with_tls_names_the_right_url(ca):
    with fleet_lock_double(tls(ca.issue("right"))) as server:
        url = server.url.replace("https:", "http:")
        kind, text = failure(url)
        assert kind is StoreUnavailableError
        assert text == f"cannot be asked: its port speaks TLS: write {server.url} in fleet-lock.url"
        assert server.calls == []


def test_https_to_a_port_without_tls_names_the_right_url(server):
    kind, text = failure(server.url.replace("http:", "https:"))
    assert kind is StoreUnavailableError
    assert text == f"cannot be asked: its port speaks no TLS: write {server.url} in fleet-lock.url"


def test_a_server_with_a_trusted_certificate_is_asked(ca):
    with fleet_lock_double(tls(ca.issue("trusted"))) as server:
        assert call(server.url, cafile=ca.cert).granted


def test_a_certificate_that_is_not_trusted_is_said_so(ca, tmp_path):
    with fleet_lock_double(tls(ca.issue("strange"))) as server:
        kind, text = failure(server.url, cafile=Authority(tmp_path / "other").cert)
        assert kind is StoreUnavailableError
        assert "its certificate cannot be trusted" in text
        assert server.calls == []
    with fleet_lock_double(tls(ca.issue("other-name", "subjectAltName=DNS:elsewhere"))) as server:
        _, text = failure(server.url, cafile=ca.cert)
        assert "its certificate is for elsewhere, not for 127.0.0.1: name it so in fleet-lock.url" in text


def test_a_client_certificate_is_shown_and_its_lack_is_said(ca):
    pair = ca.issue("client")
    with fleet_lock_double(tls(ca.issue("mutual"), client_ca=ca.cert)) as server:
        assert call(server.url, cafile=ca.cert, certfile=pair.cert, keyfile=pair.key).granted
        server.calls.clear()
        kind, text = failure(server.url, cafile=ca.cert)
        assert kind is StoreUnavailableError
        assert "fleet-lock.certfile and fleet-lock.keyfile name none" in text
        assert server.calls == []


def test_a_password_and_a_token_are_sent_as_they_are_now(server, tmp_path):
    file = tmp_path / "secret"
    file.write_text("hush-hush-1\n")
    file.chmod(0o600)
    server.who = f"Basic {b64encode(b'ops:hush-hush-1').decode()}"
    assert call(server.url, username="ops", password_file=file).granted
    server.who = "Bearer hush-hush-1"
    assert call(server.url, token_file=file).granted
    client = FleetLockClient(FleetLockSettings(url=server.url, token_file=file))
    assert asyncio.run(client.call(PRE_REBOOT, "web", "n1", 20)).granted
    file.write_text("hush-hush-two\n")
    refused = asyncio.run(client.call(PRE_REBOOT, "web", "n1", 20))
    assert (refused.status, "hush" in refused.value) == (401, False)
    server.who = "Bearer hush-hush-two"
    assert asyncio.run(client.call(PRE_REBOOT, "web", "n1", 20)).granted


def test_a_secret_that_cannot_be_read_is_an_error_and_nothing_is_asked(server, tmp_path):
    with pytest.raises(HostError, match=r"\[fleet-lock\] names .*missing, which cannot be read"):
        call(server.url, token_file=tmp_path / "missing")
    assert server.calls == []


def test_a_call_that_is_cancelled_is_cut_off_at_once(server):
    gone = []

    def wait_for_the_end(asked):
        gone.append(asked.connection.recv(1))

    server.instead[PATH] = wait_for_the_end

    async def story():
        client = FleetLockClient(FleetLockSettings(url=server.url))
        asking = asyncio.ensure_future(client.call(PRE_REBOOT, "web", "n1", 20))
        await until(lambda: server.calls, "it is asked")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: gone, "the connection is cut off")

    asyncio.run(story())
