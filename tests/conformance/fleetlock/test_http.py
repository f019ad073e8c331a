"""HTTP itself: all forms in which a request may arrive, and connections that are broken, slow or silent."""

import time
from contextlib import ExitStack

import pytest

from .fleet import Fleet, new_id
from .wire import CALLS, PRE_REBOOT, PROTOCOL, STEADY_STATE, NoAnswerError, body_of

SILENT = 50
LARGE = 8 * 1024 * 1024
GARBAGE = {
    "TLS to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "no HTTP": b"HELO conformance\r\n\r\n",
    "a line without end": b"POST /" + b"x" * 200_000,
    "no version": b"POST /v1/pre-reboot\r\n\r\n",
    "only line breaks": b"\r\n" * 100,
}


@pytest.mark.should
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_chunked_body_is_read(fleet: Fleet, size: int):
    client = fleet.take()
    body = body_of(client, fleet.group)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])
    for call in CALLS:
        answer = fleet.server.ask(call, chunks, more=[("Transfer-Encoding", "chunked")], length=-1)
        assert answer.granted, f"{call} in chunks of {size} bytes: {answer}"


@pytest.mark.should
def test_a_slow_body_is_read(fleet: Fleet):
    client = fleet.take()
    body = body_of(client, fleet.group)
    request = fleet.server.request(PRE_REBOOT, body)
    with fleet.server.connect() as connection:
        connection.send(request[: -len(body)])
        for start in range(0, len(body), 8):
            time.sleep(0.05)
            connection.send(body[start : start + 8])
        answer = connection.answer()
    assert answer.granted, f"a body that takes a second: {answer}"


@pytest.mark.should
def test_a_slow_client_holds_up_no_other(fleet: Fleet):
    request = fleet.server.request(PRE_REBOOT, body_of(fleet.remember(new_id()), fleet.group))
    with fleet.server.connect() as connection:
        connection.send(request[:-5])
        begun = time.monotonic()
        fleet.release(fleet.take())
        assert time.monotonic() - begun < fleet.wait, "another client waited for a body that does not come"


@pytest.mark.should
def test_silent_connections_hold_up_no_client(fleet: Fleet):
    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(fleet.server.connect())
        fleet.release(fleet.take())


@pytest.mark.should
def test_expect_100_continue_is_answered(fleet: Fleet):
    client = fleet.take()
    body = body_of(client, fleet.group)
    request = fleet.server.request(PRE_REBOOT, body, more=[("Expect", "100-continue")])
    with fleet.server.connect() as connection:
        connection.send(request[: -len(body)])
        status = connection.interim()
        assert status == 100, f"a client that asks before it sends its body was answered {status}"
        connection.send(body)
        answer = connection.answer()
    assert answer.granted, f"after 100 Continue: {answer}"


@pytest.mark.should
def test_one_connection_carries_many_calls(fleet: Fleet):
    client = fleet.take()
    with fleet.server.connect() as connection:
        for call in (PRE_REBOOT, STEADY_STATE, STEADY_STATE):
            connection.send(fleet.server.request(call, body_of(client, fleet.group)))
            answer = connection.answer()
            assert answer.granted, f"{call} on a kept connection: {answer}"


@pytest.mark.should
def test_a_kept_connection_survives_a_refusal(fleet: Fleet):
    client = fleet.take()
    headers = [header for header in fleet.server.headers() if header != PROTOCOL]
    with fleet.server.connect() as connection:
        connection.send(fleet.server.request(PRE_REBOOT, body_of(client, fleet.group), headers=headers))
        refusal = connection.answer()
        assert not refusal.granted, f"a call without {PROTOCOL[0]}: {refusal}"
        if refusal.closes:
            return  # as any server may: the client connects again
        connection.send(fleet.server.request(PRE_REBOOT, body_of(client, fleet.group)))
        answer = connection.answer()
    assert answer.granted, f"the body of the refused call was read as a part of the next: {answer}"


@pytest.mark.should
def test_pipelined_calls_are_answered_in_order(fleet: Fleet):
    holder, *_ = fleet.fill()
    other = fleet.remember(new_id())
    calls = [(PRE_REBOOT, holder), (PRE_REBOOT, other), (STEADY_STATE, other), (STEADY_STATE, holder)]
    answers = []
    with fleet.server.connect() as connection:
        connection.send(b"".join(fleet.server.request(call, body_of(client, fleet.group)) for call, client in calls))
        for _ in calls:
            answers.append(connection.answer())
            if answers[-1].closes:
                break  # as any server may: the client sends the others again
    said = [answer.granted for answer in answers]
    assert said == [True, False, True, True][: len(said)], f"{calls} were answered with success: {said}"


@pytest.mark.should
def test_a_large_body_is_refused_or_read(fleet: Fleet):
    client = fleet.remember(new_id())
    body = body_of(client, fleet.group, padding="x" * LARGE)
    try:
        answer = fleet.server.ask(STEADY_STATE, body)
    except NoAnswerError:
        pass  # closed while the body was sent: as good as refused
    else:
        assert answer.status < 500, f"a body of {LARGE} bytes: {answer}"
    fleet.release(fleet.take())


@pytest.mark.should
@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999", "10, 20", "x"])
def test_a_wrong_length_is_no_success(fleet: Fleet, length: str):
    body = body_of(fleet.remember(new_id()), fleet.group)
    with fleet.server.connect() as connection:
        connection.send(fleet.server.request(PRE_REBOOT, body, more=[("Content-Length", length)], length=-1))
        if length.isdecimal():
            connection.close()  # it may wait for all of it
        else:
            try:
                answer = connection.answer()
            except NoAnswerError:
                pass
            else:
                assert answer.is_clients_fault, f"Content-Length: {length}: {answer}"
    fleet.fill()


@pytest.mark.should
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_breaks_nothing(fleet: Fleet, name: str):
    with fleet.server.connect() as connection:
        connection.send(GARBAGE[name])
    fleet.release(fleet.take())


@pytest.mark.should
def test_http_1_0_is_spoken(fleet: Fleet):
    client = fleet.take()
    answer = fleet.server.ask(PRE_REBOOT, body_of(client, fleet.group), version="HTTP/1.0")
    assert answer.granted, f"HTTP/1.0: {answer}"


@pytest.mark.should
def test_a_call_ends_within_the_limit(fleet: Fleet):
    holders = fleet.fill()
    for call, client in ((PRE_REBOOT, new_id()), (PRE_REBOOT, holders[0]), (STEADY_STATE, holders[0])):
        begun = time.monotonic()
        fleet.server.ask(call, body_of(fleet.remember(client), fleet.group))
        taken = time.monotonic() - begun
        assert taken < fleet.wait, f"{call} took {taken:.1f} s: clients and proxies give up"
