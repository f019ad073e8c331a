"""Headers, methods, paths and credentials: who may call, and what is no call at all."""

import base64

import pytest

from .fleet import Fleet, new_id
from .wire import CALLS, PRE_REBOOT, PROTOCOL, STEADY_STATE, body_of

BASIC = base64.b64encode(b"conformance:not the password").decode()
WRONG_VALUES = ["false", "", "1", "yes", "truetrue", "true, false"]
WRONG_PATHS = ["/v1/{}x", "/v1/{}/more", "/v2/{}", "/{}", "/v1/", "/v1/x/{}"]


def without_protocol(fleet: Fleet) -> list[tuple[str, str]]:
    """Give the headers of a good call, without the one of the protocol."""
    return [header for header in fleet.server.headers() if header != PROTOCOL]


def assert_no_call(fleet: Fleet, call: str, what: str, **changes: object) -> None:
    """Check that a request is no success, and neither takes nor frees a slot."""
    if call == PRE_REBOOT:
        client = fleet.remember(new_id())
        answer = fleet.server.ask(call, body_of(client, fleet.group), **changes)  # type: ignore[arg-type]  # of `request`
        assert not answer.granted, f"{what} was granted: {answer}"
        fleet.fill()
    else:
        holder, *_ = fleet.fill()
        answer = fleet.server.ask(call, body_of(holder, fleet.group), **changes)  # type: ignore[arg-type]  # of `request`
        assert not answer.granted, f"{what} was a success: {answer}"
        fleet.assert_full(what)


@pytest.mark.must
@pytest.mark.parametrize("call", CALLS)
def test_a_call_without_the_header_is_refused(fleet: Fleet, call: str):
    assert_no_call(fleet, call, f"a call without {PROTOCOL[0]}", headers=without_protocol(fleet))


@pytest.mark.must
@pytest.mark.parametrize("value", WRONG_VALUES)
def test_a_call_with_another_value_of_the_header_is_refused(fleet: Fleet, value: str):
    headers = [*without_protocol(fleet), (PROTOCOL[0], value)]
    client = fleet.remember(new_id())
    answer = fleet.server.ask(PRE_REBOOT, body_of(client, fleet.group), headers=headers)
    assert not answer.granted, f"{PROTOCOL[0]}: {value!r} was granted: {answer}"


@pytest.mark.should
def test_the_value_of_the_header_has_small_letters(fleet: Fleet):
    client = fleet.remember(new_id())
    headers = [*without_protocol(fleet), (PROTOCOL[0], "TRUE")]
    answer = fleet.server.ask(PRE_REBOOT, body_of(client, fleet.group), headers=headers)
    assert not answer.granted, f"the value is fixed, and TRUE is not it: {answer}"


@pytest.mark.must
@pytest.mark.parametrize("name", ["Fleet-Lock-Protocol", "FLEET-LOCK-PROTOCOL"])
def test_the_case_of_the_headers_name_is_free(fleet: Fleet, name: str):
    fleet.release(fleet.take())
    answer = fleet.server.ask(
        STEADY_STATE, body_of(new_id(), fleet.group), headers=[*without_protocol(fleet), (name, "true")]
    )
    assert answer.granted, f"names of headers have no case in HTTP, but {name} was refused: {answer}"


@pytest.mark.must
@pytest.mark.parametrize("value", [None, "application/x-www-form-urlencoded", "application/json; charset=utf-8"])
@pytest.mark.parametrize("call", CALLS)
def test_any_content_type_or_none_will_do(fleet: Fleet, call: str, value: str | None):
    client = fleet.remember(new_id())
    answer = None
    for _ in fleet.tries():
        more = [("Content-Type", value)] if value else []
        answer = fleet.server.ask(call, body_of(client, fleet.group), more=more)
        if answer.granted:
            return
    pytest.fail(f"Zincati sends no Content-Type, and curl -d that of a form; {value or 'none'} was refused: {answer}")


@pytest.mark.must
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("call", CALLS)
def test_only_post_is_a_call(fleet: Fleet, call: str, method: str):
    client = fleet.remember(new_id())
    answer = fleet.server.ask(call, body_of(client, fleet.group), method=method)
    assert not answer.granted, f"{method} was a success: {answer}"


@pytest.mark.must
def test_other_methods_take_and_free_nothing(fleet: Fleet):
    for call in CALLS:
        assert_no_call(fleet, call, f"GET {call}", method="GET")
        fleet.clean()


@pytest.mark.must
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("path", WRONG_PATHS)
def test_other_paths_are_no_calls(fleet: Fleet, call: str, path: str):
    client = fleet.remember(new_id())
    other = fleet.server.prefix + path.format(call)
    answer = fleet.server.ask(call, body_of(client, fleet.group), path=other)
    assert not answer.granted, f"POST {other} was a success: {answer}"


@pytest.mark.must
def test_calls_are_answered_and_not_redirected(fleet: Fleet):
    for call in CALLS:
        answer = fleet.server.ask(call, body_of(fleet.remember(new_id()), fleet.group))
        assert not 300 <= answer.status < 400, f"{fleet.server.path(call)} is redirected: {answer}"


@pytest.mark.should
@pytest.mark.parametrize("value", [None, "Bearer not-the-token", f"Basic {BASIC}", "Basic %%%", "Bearer", ""])
def test_a_call_with_wrong_credentials_is_refused(fleet: Fleet, value: str | None):
    if not fleet.server.authorization:
        pytest.skip("no --fleetlock-token and no --fleetlock-password")
    headers = [header for header in fleet.server.headers() if header[0] != "Authorization"]
    headers += [] if value is None else [("Authorization", value)]
    for call in CALLS:
        client = fleet.remember(new_id())
        answer = fleet.server.ask(call, body_of(client, fleet.group), headers=headers)
        assert answer.is_clients_fault, f"{call} with {value!r} in place of the right credentials: {answer}"
