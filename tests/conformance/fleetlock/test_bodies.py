"""Bodies: what is no well-formed call is refused, takes nothing and breaks nothing."""

import json

import pytest

from .fleet import Fleet, new_id
from .wire import CALLS, PRE_REBOOT, body_of

ID, GROUP = "@ID@", "@GROUP@"
"""Stand for the client's id and its group in the tables."""


def params(**fields: object) -> bytes:
    """Give a body whose parameters are these."""
    return json.dumps({"client_params": fields}).encode()


BAD = {
    "empty": b"",
    "blank": b"  \r\n",
    "not JSON": b"id=1&group=default",
    "cut short": b'{"client_params": {"id": "@ID@", "group": "@GROUP@"}',
    "single quotes": b"{'client_params': {'id': '@ID@', 'group': '@GROUP@'}}",
    "null": b"null",
    "number": b"7",
    "string": b'"@ID@"',
    "array": b'[{"client_params": {"id": "@ID@", "group": "@GROUP@"}}]',
    "no client_params": b"{}",
    "fields outside client_params": b'{"id": "@ID@", "group": "@GROUP@"}',
    "client_params is null": b'{"client_params": null}',
    "client_params is an array": b'{"client_params": ["@ID@", "@GROUP@"]}',
    "client_params is a string": b'{"client_params": "@ID@"}',
    "no id": params(group=GROUP),
    "id is null": params(id=None, group=GROUP),
    "id is empty": params(id="", group=GROUP),
    "id is a number": params(id=7, group=GROUP),
    "id is true": params(id=True, group=GROUP),
    "id is an array": params(id=[ID], group=GROUP),
    "id is an object": params(id={"id": ID}, group=GROUP),
    "no group": params(id=ID),
    "group is null": params(id=ID, group=None),
    "group is empty": params(id=ID, group=""),
    "group is a number": params(id=ID, group=0),
    "group is an array": params(id=ID, group=[GROUP]),
    "not UTF-8": b'{"client_params": {"id": "@ID@\xff\xfe", "group": "@GROUP@"}}',
}
STRANGE = {
    "more after the JSON": b'{"client_params": {"id": "@ID@", "group": "@GROUP@"}} more',
    "a raw line break in the id": b'{"client_params": {"id": "@ID@\n", "group": "@GROUP@"}}',
    "a hundred thousand brackets": b"[" * 100_000,
    "brackets in an unknown field": b'{"x": '
    + b"[" * 50_000
    + b"]" * 50_000
    + b', "client_params": {"id": "", "group": ""}}',
    "a number of 10,000 digits": b'{"client_params": {"id": ' + b"9" * 10_000 + b', "group": "@GROUP@"}}',
    "NaN": b'{"client_params": {"id": NaN, "group": "@GROUP@"}}',
    "a byte order mark alone": b"\xef\xbb\xbf",
    "NUL bytes": bytes(64),
}
WRONG_GROUPS = ["{}\n", " {}", "{} ", "{}/x", "../{}", "{}_", "{}\u0000", "{}\u00e9", "{}%20", "*", "{}:x"]


def filled(body: bytes, fleet: Fleet) -> bytes:
    """Put the id of a new client and the group in place."""
    return body.replace(b"@ID@", fleet.remember(new_id()).encode()).replace(b"@GROUP@", fleet.group.encode())


@pytest.mark.must
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_refused(fleet: Fleet, call: str, name: str):
    answer = fleet.server.ask(call, filled(BAD[name], fleet))
    assert not answer.granted, f"{call} with a bad body ({name}) was a success: {answer}"


@pytest.mark.must
def test_bad_bodies_take_no_slot(fleet: Fleet):
    for body in (BAD | STRANGE).values():
        fleet.server.ask(PRE_REBOOT, filled(body, fleet))
    fleet.fill()


@pytest.mark.should
@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_the_clients_fault(fleet: Fleet, name: str):
    answer = fleet.server.ask(PRE_REBOOT, filled(BAD[name], fleet))
    assert answer.is_clients_fault, f"a bad body ({name}) is no error of the server: {answer}"


@pytest.mark.should
@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_body_is_refused_and_breaks_nothing(fleet: Fleet, name: str):
    answer = fleet.server.ask(PRE_REBOOT, filled(STRANGE[name], fleet))
    assert answer.is_clients_fault, f"{name}: {answer}"
    fleet.release(new_id())


@pytest.mark.should
@pytest.mark.parametrize("group", WRONG_GROUPS)
def test_a_group_with_other_characters_is_refused(fleet: Fleet, group: str):
    for call in CALLS:
        answer = fleet.server.ask(call, body_of(fleet.remember(new_id()), group.format(fleet.group)))
        assert answer.is_clients_fault, f"{call} of the group {group.format(fleet.group)!r}: {answer}"


@pytest.mark.should
def test_unknown_fields_are_no_error(fleet: Fleet):
    client = fleet.take()
    fields = {"id": client, "group": fleet.group, "stream": "stable", "more": {"a": [1, None]}}
    body = json.dumps({"client_params": fields, "version": 2, "id": 7}).encode()
    for call in CALLS:
        answer = fleet.server.ask(call, body)
        assert answer.granted, f"{call} with fields that a later client may send: {answer}"


@pytest.mark.should
@pytest.mark.parametrize("form", [{"indent": 2}, {"separators": (",", ":")}, {"sort_keys": True}])
def test_the_layout_of_the_json_is_free(fleet: Fleet, form: dict[str, object]):
    client = fleet.take()
    body = json.dumps({"client_params": {"id": client, "group": fleet.group}}, **form).encode()  # type: ignore[arg-type]  # layouts
    answer = fleet.server.ask(PRE_REBOOT, body + b"\n")
    assert answer.granted, f"Zincati writes its JSON on several lines: {answer}"
