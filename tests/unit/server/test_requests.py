"""Requests of FleetLock's clients: what is read, and what is refused with which sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.server.answers import Answer, bad_request, refused
from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.server.requests import LARGEST_BODY, Call, head_problem, parse_body

PROTOCOL = ("fleet-lock-protocol", "true")


def body(**params):
    return json.dumps({"client_params": params}).encode()


def sentence(answer):
    assert isinstance(answer, Answer)
    assert answer.refusal is not None
    assert answer.refusal.kind is RefusalKind.BAD_REQUEST
    return answer.refusal.sentence


@pytest.mark.parametrize(
    "raw",
    [
        b'{"client_params":{"id":"978a225b3d7b40e9acd7ce9b62f68444","group":"web.eu-1"}}',
        b' {"client_params": {"group": "web.eu-1", "id": "978a225b3d7b40e9acd7ce9b62f68444", "more": [1]}, "x": {}} \n',
    ],
)
def test_a_call_is_read_with_fields_that_later_clients_may_add(raw):
    assert parse_body(raw) == Call("web.eu-1", "978a225b3d7b40e9acd7ce9b62f68444")


@pytest.mark.parametrize("client", ["n", "n1.example/a b", "é" * 128, "日本", "a:b@c"])
def test_an_id_may_be_any_text_that_can_be_shown(client):
    assert parse_body(body(id=client, group="a")) == Call("a", client)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "the body is empty: it must be like"),
        (b" \n", "the body is empty"),
        (b"id=n1", "the body cannot be read: not JSON"),
        (b"\xff\xfe", "the body cannot be read: not JSON"),
        (b"{}", "the field 'client_params' is missing"),
        (b"[]", "a JSON object is needed, not a list"),
        (b"null", "a JSON object is needed, not null"),
        (b'"x"', "a JSON object is needed"),
        (b'{"client_params": null}', "the field 'client_params' must be an object, not null"),
        (b'{"client_params": []}', "the field 'client_params' must be an object, not a list"),
        (b'{"client_params": "x"}', "the field 'client_params' must be an object, not a string"),
        (b'{"client_params": {"group": "a"}}', "in client_params, the field 'id' is missing"),
        (b'{"client_params": {"id": "a"}}', "in client_params, the field 'group' is missing"),
        (b'{"client_params": {"id": 1, "group": "a"}}', "the field 'id' must be a string, not a whole number"),
        (b'{"client_params": {"id": true, "group": "a"}}', "the field 'id' must be a string, not true or false"),
        (b'{"client_params": {"id": "a", "group": null}}', "the field 'group' must be a string, not null"),
        (b'{"client_params": {"id": "a", "group": {}}}', "the field 'group' must be a string, not an object"),
        (b'{"client_params": {"id": "a", "id": "b", "group": "a"}}', "a field appears twice"),
        (b'{"client_params": {}, "client_params": {"id": "a", "group": "a"}}', "a field appears"),
        (b'{"client_params": {"id": "a", "group": "a"}} {}', "not JSON"),
        (b'{"client_params": {"id": "a", "group": "a"}', "not JSON"),
        (b'{"client_params": {"id": "a", "group": "a", "n": NaN}}', "NaN is not JSON"),
        (b'{"client_params": ' + b"[" * 60_000, "not JSON"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "more than 32 lists or objects within one another"),
        (b'{"client_params": {"id": "' + b"a" * LARGEST_BODY + b'"}}', "at most 65536 are read"),
        (b"9" * 5000, "not JSON"),
        (body(id="", group="a"), "the client's id is empty"),
        (body(id="  ", group="a"), "the client's id is empty"),
        (body(id="a\n", group="a"), "has control characters"),
        (body(id="a\x00b", group="a"), "has control characters"),
        (body(id="a\x1b[31m", group="a"), "has control characters"),
        (body(id="a\u202eb", group="a"), "has control characters"),
        (body(id="a\u200bb", group="a"), "has control characters"),
        (body(id="a\u2028b", group="a"), "has control characters"),
        (b'{"client_params": {"id": "\\ud800", "group": "a"}}', "has control characters"),
        (body(id=" a", group="a"), "begins or ends with a space"),
        (body(id="--all", group="a"), "the client's id begins with `-`"),
        (body(id="-", group="a"), "the client's id begins with `-`"),
        (body(id="a" * 256, group="a"), "has 256 characters, and at most 255 are taken"),
        (body(id="a", group=""), "the group has a name that is not allowed: 1 to 200 of"),
        (body(id="a", group="a b"), "the group has a name that is not allowed"),
        (body(id="a", group="a/b"), "the group has a name that is not allowed"),
        (body(id="a", group="a_b"), "the group has a name that is not allowed"),
        (body(id="a", group="é"), "the group has a name that is not allowed"),
        (body(id="a", group="a\n"), "the group has a name that is not allowed"),
        (body(id="a", group=".."), "the group has a name that is not allowed"),
        (body(id="a", group="a" * 201), "1 to 200 of the characters"),
    ],
)
def test_a_bad_body_is_refused_with_a_sentence(raw, says):
    answer = parse_body(raw)
    assert isinstance(answer, Answer)
    assert says in sentence(answer)
    assert answer.status == 400
    assert len(answer.body) < 1500


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_body_is_a_call_or_refused(raw):
    found = parse_body(raw)
    assert isinstance(found, Call) or sentence(found)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.sampled_from(["client_params", "id", "group"]), one),
    )
)
def test_any_json_is_a_call_or_refused(value):
    found = parse_body(json.dumps(value).encode())
    assert isinstance(found, Call) or sentence(found)


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ([], 400, "the header `fleet-lock-protocol: true` is missing"),
        ([("fleet-lock-protocol", "false")], 400, "must be there once, as `true`"),
        ([("fleet-lock-protocol", "TRUE")], 400, "must be there once, as `true`"),
        ([("fleet-lock-protocol", "")], 400, "must be there once"),
        ([PROTOCOL, PROTOCOL], 400, "must be there once"),
        ([PROTOCOL, ("fleet-lock-protocol", "false")], 400, "must be there once"),
        ([PROTOCOL, ("content-encoding", "gzip")], 400, "the body must not be compressed"),
        ([PROTOCOL, ("content-length", "65537")], 413, "the body has more than the 65536 bytes"),
        ([PROTOCOL, ("content-length", "1000000000")], 413, "the body has more than"),
        ([PROTOCOL, ("content-length", "9" * 5000)], 413, "the body has more than"),
        ([PROTOCOL, ("content-length", "-1")], 400, "this is no HTTP"),
        ([PROTOCOL, ("content-length", "5, 6")], 400, "this is no HTTP"),
        ([PROTOCOL, ("content-length", "5"), ("transfer-encoding", "chunked")], 400, "this is no HTTP"),
    ],
)
def test_bad_headers_are_refused_before_a_body_is_read(headers, status, says):
    answer = head_problem(headers)
    assert answer is not None
    assert says in sentence(answer)
    assert (answer.status, answer.closes) == (status, True)


@pytest.mark.parametrize(
    "headers",
    [
        [PROTOCOL],
        [("Fleet-Lock-Protocol", " true ")],
        [PROTOCOL, ("content-length", "65536"), ("content-type", "text/plain"), ("content-encoding", "identity")],
        [PROTOCOL, ("transfer-encoding", "chunked")],
    ],
)
def test_headers_of_clients_pass_with_any_content_type_or_none(headers):
    assert head_problem(headers) is None


def test_no_refusal_has_a_status_that_a_client_takes_for_a_permission():
    for kind in RefusalKind:
        answer = refused(Refusal(kind, "because"))
        assert 400 <= answer.status < 600
        assert json.loads(answer.body) == {"kind": kind.value, "value": "because"}
        assert json.loads(refused(Refusal(kind, "")).body)["value"]
    for status in (200, 202, 204):
        with pytest.raises(ValueError, match="must not succeed"):
            bad_request("x", status)
    with pytest.raises(ValueError, match="must succeed"):
        Answer(503)
