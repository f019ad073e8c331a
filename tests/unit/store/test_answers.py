"""Whatever a server answers, it is read, or refused on purpose: never a traceback."""

import contextlib
import io
import json

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.errors import ConflictError, StoreRefusedError
from locksmith.store import etcd3_wire as wire
from locksmith.store import grpc
from locksmith.store.endpoints import Endpoint
from locksmith.store.etcd2_member import AnsweredNoError, Call, LostError, Member, NotSentError
from locksmith.store.exchange import MaybeDoneError, NotDoneError
from locksmith.store.protocol import Delete, Put
from locksmith.store.settings import StoreSettings
from locksmith.util.jsonread import BadJsonError, load_object, read

ODD = [None, True, -1, 7, 1.5, 1e999, 10**400, "", "7", "é", "aw==", "\ud800", [], [7], {}, {"a": 7}]
odd = st.sampled_from(ODD)


def fields(names, value=odd, **nested):
    """Objects with any of these fields: most of them as they should be, the others odd."""
    return st.fixed_dictionaries({}, optional={**dict.fromkeys(names.split(), value), **nested}) | odd


kv = fields("key value mod_revision create_revision lease", st.just("7777") | odd)
v3 = fields(
    "canceled created compact_revision cancel_reason succeeded events ID TTL",
    header=st.just({"revision": "7"}) | fields("revision"),
    kvs=st.lists(kv, max_size=2),
    responses=st.lists(fields("", response_put=fields("", prev_kv=kv)), max_size=2),
)
v3_answer = v3 | fields("error code message") | fields("", result=v3) | fields("", error=fields("grpc_code message"))

node = fields("key value dir expiration createdIndex modifiedIndex nodes", st.just("/k") | st.just(7) | odd)
v2_answer = fields("", node=node) | fields("errorCode index cause message", st.just(100) | odd)


@pytest.mark.parametrize("text", ['{"a":1e999}', '{"a":[-1e400]}', '{"a":NaN}', '{"a":-Infinity}'])
def test_a_number_beyond_all_bounds_is_refused(text):
    with pytest.raises(BadJsonError):
        load_object(text)


def test_a_whole_number_beyond_all_bounds_is_no_float():
    with pytest.raises(BadJsonError, match="too large"):
        read({"a": 10**400}, "a", float)
    assert read({"a": 10**15}, "a", float) == 1e15


@pytest.mark.parametrize("value", [True, 1.0, 1e999, None, [], "x", "9" * 5000])
def test_a_number_of_etcd_is_whole(value):
    with pytest.raises(BadJsonError, match="must be a whole number") as caught:
        grpc.number({"revision": value}, "revision")
    assert len(str(caught.value)) < 200


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(v3_answer)
def test_no_answer_to_v3_ends_in_a_traceback(message):
    raw = spelt(message)
    for parse in (
        wire.reading,
        wire.listing,
        wire.lease_id,
        wire.seconds_left,
        wire.Changes(3),
        lambda answer: wire.committed(answer, [Put("k", b"", 3)]),
        lambda answer: wire.committed(answer, [Delete("k", 3)]),
    ):
        with contextlib.suppress(BadJsonError, MaybeDoneError, NotDoneError, StoreRefusedError, ConflictError):
            parse(grpc.decode(raw, 200))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(v2_answer, st.sampled_from([200, 400, 401, 404, 412, 500]), st.sampled_from(["5", "", "x", "9" * 5000]))
def test_no_answer_to_v2_ends_in_a_traceback(message, status, index):
    endpoint = Endpoint("http://127.0.0.1:1", "127.0.0.1", 1, None)
    request = Member(endpoint, StoreSettings()).request(Call("GET", "k", {}))
    request._client.http = Answering(spelt(message), status, index)
    with contextlib.suppress(LostError, NotSentError, AnsweredNoError, StoreRefusedError):
        request.run(urllib3.Timeout(1))


class Answering:
    """In the place of a connection pool: one answer, whatever is asked."""

    def __init__(self, raw, status, index):
        self._answer = urllib3.HTTPResponse(
            io.BytesIO(raw), status=status, headers={"X-Etcd-Index": index}, preload_content=False
        )

    def request(self, *_args, **_options):
        return self._answer

    def clear(self):
        """Be asked for this when the client goes."""


def spelt(message):
    """Write it as JSON, where Python's infinity is a number that is too large."""
    return json.dumps(message).replace("Infinity", "1e999").encode()
