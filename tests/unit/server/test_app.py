"""The app over real sockets on loopback: calls, bad input, and clients that do not behave."""

import asyncio
import contextlib
import logging
import time
from base64 import b64encode
from collections import deque
from ipaddress import ip_network

import pytest

from locksmith.config.server_model import ServedGroup
from locksmith.errors import HostError
from locksmith.server import app, connection, door, reply
from locksmith.server.connection import Guest
from locksmith.server.refusal import Refusal, RefusalKind
from tests.builders.few_slots import FewSlots
from tests.builders.fleetlock_site import ANYBODY, PROTOCOL, answer, params, request, site_of
from tests.harness.waiting import until


@pytest.fixture
def desk():
    return FewSlots()


async def test_a_slot_is_had_and_given_back_by_repeated_calls(desk):
    async with site_of(desk) as site:
        for _ in range(2):
            assert await site.ask() == (200, {})
        busy = {"kind": "no_slot", "value": "n1 has it"}
        assert await site.ask(body=params("n2")) == (409, busy)
        for _ in range(2):
            assert await site.ask(path="/v1/steady-state") == (200, {})
        assert await site.ask(body=params("n2")) == (200, {})
    assert desk.calls[0] == ("pre-reboot", "web", "n1")


@pytest.mark.parametrize(
    "path", ["/v1/pre-reboot", "/v1/pre-reboot/", "//v1/pre-reboot", "/fleet/lock/v1/pre-reboot", "/v1/pre-reboot?x=1"]
)
async def test_a_call_is_found_below_any_path_and_never_redirected(desk, path):
    async with site_of(desk) as site:
        assert await site.ask(path=path) == (200, {})


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"path": "/v1/pre-reboots"}, 404),
        ({"path": "/"}, 404),
        ({"path": "/v1/PRE-REBOOT"}, 404),
        ({"path": "/v1/pre-reboot%0d%0aX"}, 404),
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"method": "DELETE", "path": "/healthz"}, 405),
        ({"headers": {}}, 400),
        ({"headers": {"fleet-lock-protocol": "yes"}}, 400),
        ({"body": b""}, 400),
        ({"body": b"{"}, 400),
        ({"body": params(client="a\nb")}, 400),
        ({"body": params(group="a b")}, 400),
        ({"body": b"x" * 70_000}, 413),
        ({"headers": {**PROTOCOL, "Upgrade": "websocket", "Connection": "upgrade"}, "body": b""}, 400),
        ({"raw": b"\x16\x03\x01\x02\x00\r\n\r\n"}, 400),
        ({"raw": b"POST /v1/pre-reboot HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000}, 400),
        ({"raw": b"POST /v1/pre-reboot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"}, 400),
        ({"raw": b"POST /v1/pre-reboot HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"}, 400),
    ],
)
async def test_what_is_no_call_is_a_bad_request_and_asks_no_rule(desk, fields, status):
    async with site_of(desk) as site:
        found = await site.ask(**fields)
        assert found[0] == status
        assert found[1]["kind"] == "bad_request"
        assert found[1]["value"]
        assert await site.ask() == (200, {})
    assert len(desk.calls) == 1


async def test_a_body_of_a_gigabyte_is_refused_unread_while_its_client_still_sends(desk):
    async with site_of(desk) as site:
        head = request(headers={**PROTOCOL, "Content-Length": "1000000000"}, body=b"", length=False)
        reader, writer = await site.connect()
        writer.write(head + b"x" * 1_000_000)
        status, said = await answer(reader)
        assert (status, said["kind"]) == (413, "bad_request")
        writer.close()
        chunks = request(headers={**PROTOCOL, "Transfer-Encoding": "chunked"}, body=b"", length=False)
        chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
        assert (await site.ask(chunks + chunk * 10))[0] == 413
    assert desk.calls == []


@pytest.mark.parametrize(
    "raw",
    [
        request(headers={**PROTOCOL, "Host": "["}),
        request(headers={**PROTOCOL, "Host": "a b/?@"}),
        request().replace(b"HTTP/1.1\r\nHost: x", b"HTTP/1.0"),
        request(path="http://locksmith.example:3333/v1/pre-reboot"),
    ],
)
async def test_unusual_requests_that_are_right_are_answered(desk, raw):
    async with site_of(desk) as site:
        assert await site.ask(raw) == (200, {})


async def test_an_old_connection_ends_with_its_answer(desk, monkeypatch):
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        writer.write(request())
        assert await answer(reader) == (200, {})
        monkeypatch.setattr(connection, "LONGEST", 0.0)
        writer.write(request())
        assert await answer(reader) == (200, {})
        assert await reader.read() == b""
        writer.close()


async def test_an_answer_on_a_kept_connection_waits_for_no_acknowledgement(desk):
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        took = []
        for _ in range(30):
            begun = time.monotonic()
            writer.write(request())
            assert await answer(reader) == (200, {})
            took.append(time.monotonic() - begun)
        writer.close()
    assert min(took[5:]) < 0.02


async def test_a_refused_body_that_was_read_ends_its_answer_and_no_connection(desk):
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        writer.write(request(body=b"{"))
        assert (await answer(reader))[0] == 400
        writer.write(request())
        assert await answer(reader) == (200, {})
        writer.write(request(headers={}))
        begun = time.monotonic()
        assert (await answer(reader))[0] == 400
        assert await reader.read() == b""
        assert time.monotonic() - begun < 4
        writer.close()


async def test_a_client_that_waits_for_100_continue_sends_no_body_that_is_refused(desk):
    async with site_of(desk) as site:
        expecting = {**PROTOCOL, "Expect": "100-continue"}
        reader, writer = await site.connect()
        writer.write(request(headers=expecting)[: -len(params())])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(params())
        assert await answer(reader) == (200, {})
        writer.write(request(headers={**expecting, "Content-Length": "100000"}, body=b"", length=False))
        assert (await answer(reader))[0] == 413
        writer.close()


async def test_a_chunked_body_in_pieces_is_read(desk):
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        raw = params()
        writer.write(request(headers={**PROTOCOL, "Transfer-Encoding": "chunked"}, body=b"", length=False))
        for at in range(0, len(raw), 7):
            piece = raw[at : at + 7]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")
        assert await answer(reader) == (200, {})
        writer.close()


@pytest.mark.slow
async def test_a_slow_body_is_refused_in_time(desk, monkeypatch):
    monkeypatch.setattr(reply, "BODY_LIMIT", 0.2)
    async with site_of(desk) as site:
        status, said = await site.ask(raw=request()[:-5])
        assert (status, said["kind"]) == (408, "bad_request")
    assert desk.calls == []


@pytest.mark.slow
@pytest.mark.parametrize("first", [b"", b"POST /v1/pre", request()[:-1] + b"", b"GET /healthz HTTP/1.1\r\n\r\n"])
async def test_a_connection_that_goes_on_with_nothing_is_ended(desk, monkeypatch, first):
    monkeypatch.setattr(connection, "REQUEST_LIMIT", 0.2)
    monkeypatch.setattr(door, "REQUEST_LIMIT", 0.2)
    monkeypatch.setattr(connection, "IDLE_LIMIT", 0.1)
    monkeypatch.setattr(connection, "CALL_LIMIT", 0.3)
    monkeypatch.setattr(door, "SWEEP", 0.02)
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        writer.write(first)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                while await reader.read(1000):
                    pass
        assert site.door.connections == 0
        writer.close()


@pytest.mark.parametrize("first", [b"", b"POST /v1/pre"])
async def test_silent_connections_do_not_keep_a_client_out(desk, caplog, first):
    async with site_of(desk, lobby=20, inside=5) as site:
        silent = [await site.connect() for _ in range(100)]
        for _, writer in silent:
            writer.write(first)
        for _ in range(3):
            assert await site.ask() == (200, {})
            silent.append(await site.connect())
        assert site.door.connections <= 25
        for _, writer in silent:
            writer.close()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


@pytest.mark.slow
async def test_a_call_under_way_is_not_ended_for_a_new_connection(desk):
    desk.delay = 0.3
    async with site_of(desk, inside=3) as site:
        found = await asyncio.gather(*(site.ask() for _ in range(9)))
    assert found == [(200, {})] * 9


@pytest.mark.slow
async def test_a_head_in_pieces_goes_inside_when_it_is_whole(desk):
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        other, writer_of_other = await site.connect()
        writer_of_other.write(b"POST /v1/pre-reboot")
        raw = request()
        for at in range(0, len(raw), 5):
            assert len(site.door._inside) == (b"\r\n\r\n" in raw[:at])
            writer.write(raw[at : at + 5])
            await asyncio.sleep(0.01)
        assert await answer(reader) == (200, {})
        writer_of_other.write_eof()
        with contextlib.suppress(ConnectionError):
            assert (await other.read()).startswith((b"HTTP/1.1 400", b""))
        writer.close()
        writer_of_other.close()
        await until(lambda: not site.door.connections, "both are ended")


async def test_those_who_wait_go_inside_one_of_each_client_in_turn(desk):
    async with site_of(desk) as site:
        guests = [Guest(client) for client in ("crowd", "crowd", "crowd", "alone", "other")]
        for guest in guests:
            site.door._ready.setdefault(guest.client, deque()).append(guest)
        crowd, crowd2, crowd3, alone, other = guests
        assert [await site.door._next() for _ in guests] == [crowd, alone, other, crowd2, crowd3]


async def test_connections_are_kept_and_pipelined_calls_answered_in_their_order(desk):
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        writer.write(request() + request(body=params("n2")) + request(path="/healthz", method="GET", body=b""))
        assert [(await answer(reader))[0] for _ in range(3)] == [200, 409, 200]
        writer.write(request(path="/v1/steady-state"))
        assert await answer(reader) == (200, {})
        writer.close()


@pytest.mark.parametrize("line", ["POST /v1/pre-reboot", "GET /healthz"])
async def test_what_follows_a_body_with_two_lengths_is_not_answered(desk, line):
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        head = f"{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"0\r\n\r\n" + request(path="/healthz", method="GET", body=b""))
        said = await reader.read()
        assert said.count(b"HTTP/1.1 ") == 1
        assert desk.calls == []
        writer.close()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("queued", 409),
        ("frozen", 409),
        ("held", 409),
        ("halted", 409),
        ("window", 409),
        ("not_ready", 503),
        ("store", 503),
    ],
)
async def test_each_refusal_has_its_status(desk, kind, status):
    desk.refusal = Refusal(RefusalKind(kind), "until 14:00")
    async with site_of(desk) as site:
        assert await site.ask() == (status, {"kind": kind, "value": "until 14:00"})


async def test_an_error_of_the_rules_is_no_permission_and_no_traceback(desk, caplog):
    desk.fails = ZeroDivisionError("secret")
    async with site_of(desk) as site:
        status, said = await site.ask()
        assert (status, said["kind"]) == (500, "store")
        assert "secret" not in said["value"]
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "a call failed: ZeroDivisionError: secret"
    assert record.exc_info is None


@pytest.mark.slow
async def test_rules_that_take_too_long_are_answered_for_and_not_cut_off(desk, monkeypatch):
    monkeypatch.setattr(app, "CALL_LIMIT", 0.05)
    desk.delay = 0.2
    async with site_of(desk) as site:
        status, said = await site.ask()
        assert (status, said["kind"]) == (503, "store")
        await asyncio.sleep(0.3)
    assert desk.held == {"web": {"n1"}}


@pytest.mark.slow
async def test_a_stop_answers_what_is_under_way_and_closes_what_is_idle(desk):
    desk.delay = 0.3
    async with site_of(desk) as site:
        reader, writer = await site.connect()
        idle, writer_of_idle = await site.connect()
        writer_of_idle.write(request(path="/healthz", method="GET", body=b""))
        assert (await answer(idle))[0] == 200
        writer.write(request())
        await until(lambda: desk.calls, "the call is under way")
        begun = time.monotonic()
        await site.door.close(5)
        assert 0.1 < time.monotonic() - begun < 4
        assert await answer(reader) == (200, {})
        assert await reader.read() == b""
        assert await idle.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await site.connect()
        writer.close()
        writer_of_idle.close()


async def test_a_server_that_can_accept_no_more_ends_and_does_not_look_alive(desk, monkeypatch):
    async with site_of(desk) as site:
        waiting = asyncio.ensure_future(site.door.until(asyncio.Event()))
        monkeypatch.setattr(door, "origin", lambda _address: 1 // 0)
        _, writer = await site.connect()
        with pytest.raises(HostError, match="no connection is accepted any more: ZeroDivisionError"):
            await waiting
        writer.close()


async def test_it_waits_for_its_stop(desk):
    async with site_of(desk) as site:
        stopping = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, stopping.set)
        await site.door.until(stopping)
        assert await site.ask() == (200, {})


def bearer(secret):
    return {**PROTOCOL, "Authorization": f"Bearer {secret}"}


async def test_a_password_file_is_followed_and_none_passes_while_it_cannot_be_used(desk, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "password"
    file.write_text("first secret 1\n")
    groups = {"web": ServedGroup(password_file=file), "db": ANYBODY}
    async with site_of(desk, groups) as site:
        assert (await site.ask())[0] == 401
        assert (await site.ask(headers=bearer("second secret")))[0] == 401
        basic = {**PROTOCOL, "Authorization": f"Basic {b64encode(b'zincati:first secret 1').decode()}"}
        assert await site.ask(headers=basic) == (200, {})
        assert await site.ask(headers=bearer("first secret 1")) == (200, {})
        file.write_text("second secret 2\n")
        assert (await site.ask(headers=bearer("first secret 1")))[0] == 401
        assert await site.ask(headers=bearer("second secret 2")) == (200, {})
        file.write_text("second secret 2\nthird secret 3\n")
        assert await site.ask(headers=bearer("third secret 3")) == (200, {})
        assert "still sends" not in caplog.text
        assert await site.ask(headers=bearer("second secret 2")) == (200, {})
        assert "still sends the password of an earlier line of its file: the last line has the new" in caplog.text
        for broken in ("second secret 2\n\nthird secret 3\n", "\n".join(map(str, range(100)))):
            file.write_text(broken)
            assert (await site.ask(headers=bearer("second secret 2")))[0] == 503
        file.chmod(0o666)
        file.write_text("everybody's own\n")
        for secret in ("second secret 2", "everybody's own"):
            status, said = await site.ask(headers=bearer(secret))
            assert (status, said["kind"]) == (503, "unauthorized")
        file.unlink()
        assert (await site.ask(headers=bearer("second secret 2")))[0] == 503
        file.write_text("third secret 3\n")
        assert await site.ask(headers=bearer("third secret 3")) == (200, {})
    for secret in ("first secret 1", "second secret", "third secret", "everybody"):
        assert secret not in caplog.text


async def test_headers_of_proxies_are_not_believed(desk):
    groups = {"web": ServedGroup(clients=(ip_network("10.0.0.0/8"),))}
    headers = {**PROTOCOL, "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1", "X-Real-IP": "10.0.0.1"}
    async with site_of(desk, groups) as site:
        status, said = await site.ask(headers=headers)
        assert (status, said["kind"]) == (403, "unauthorized")
        assert said["value"] == "127.0.0.1 is not among the clients of the group web"
    assert desk.calls == []


async def test_refused_calls_do_not_fill_the_log(desk, caplog):
    async with site_of(desk) as site:
        for number in range(50):
            assert (await site.ask(body=params(group=f"other{number}")))[0] == 403
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 <= len(warnings) <= 4
    assert warnings[0].startswith("refused: n1 of other0, from 127.0.0.1: this group is not served here")


async def test_no_answer_tells_a_stranger_whether_a_guess_is_a_secret(desk, tmp_path):
    guess = "correct-horse-battery7"
    file = tmp_path / "password"
    file.write_text(guess)
    async with site_of(desk, {"web": ServedGroup(password_file=file)}) as site:
        assert (await site.ask())[0] == 401, "the server knows the secret by now"
        for raw in (
            request(body=params(guess, guess)),
            request(body=params("n1", f"{guess}/")),
            request(body=f'{{"{guess}": 1, "{guess}": 2}}'.encode()),
            request(method=guess),
            request(path=f"/{guess}"),
            request(headers={**PROTOCOL, "Content-Encoding": guess}),
            request(headers={**PROTOCOL, guess: guess, "fleet-lock-protocol": guess}),
        ):
            reader, writer = await site.connect()
            writer.write(raw)
            status, said = await answer(reader)
            assert status >= 400
            assert guess not in str(said)
            assert "***" not in str(said)
            writer.close()
