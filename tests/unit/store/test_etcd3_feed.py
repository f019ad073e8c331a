"""The messages of a watch of a prefix: a transaction is told whole, and what etcd never says is no event."""

import base64
from typing import Any

import pytest

from locksmith.store.etcd3_feed import Messages
from locksmith.store.exchange import MaybeDoneError
from locksmith.store.feed import Batch, Opened, Removed
from locksmith.store.grpc import TokenRefusedError
from locksmith.store.protocol import Entry
from locksmith.util.jsonread import BadJsonError


def message(revision=9, events=(), **fields):
    return {"header": {"cluster_id": "1", "revision": str(revision)}, "events": list(events), **fields}


def put(key, revision, created=1):
    raw = base64.b64encode(key.encode()).decode()
    return {"kv": {"key": raw, "mod_revision": str(revision), "create_revision": str(created), "lease": "7"}}


def deleted(key, revision):
    raw = base64.b64encode(key.encode()).decode()
    return {"type": "DELETE", "kv": {"key": raw, "mod_revision": str(revision)}}


def test_a_batch_ends_where_its_fragments_end():
    heard: list[Any] = []
    messages = Messages(heard.append)
    for one in (
        message(5, created=True),
        message(9, [put("a", 6), deleted("b", 7)], fragment=True),
        message(9, [put("c", 7)]),
        message(9),
    ):
        assert messages(one) is None
    a, c = Entry("a", b"", 6, 1, 7), Entry("c", b"", 7, 1, 7)
    assert heard == [Opened(5), Batch((a, Removed("b", 7), c), 7)]


def test_a_watch_that_is_opened_again_forgets_half_a_message():
    heard: list[Any] = []
    messages = Messages(heard.append)
    for one in (
        message(5, created=True),
        message(9, [put("a", 6)], fragment=True),
        message(9, created=True),
        message(9, [put("a", 6)]),
    ):
        messages(one)
    assert heard[-1] == Batch((Entry("a", b"", 6, 1, 7),), 6)


@pytest.mark.parametrize(
    "wrong",
    [
        message(9, [{"kv": {}}]),
        message(9, ["a"]),
        message(9, [{"type": "MOVE", "kv": {}}]),
        message(9, [put("a", 0)]),
        message(9, [deleted("a", 0)]),
        {"events": 1},
    ],
)
def test_what_etcd_never_says_is_refused(wrong):
    messages = Messages(lambda _told: None)
    messages(message(5, created=True))
    with pytest.raises(BadJsonError):
        messages(wrong)


def test_events_of_a_watch_that_is_not_open_are_refused():
    with pytest.raises(BadJsonError, match="before it says that it is open"):
        Messages(lambda _told: None)(message(9, [put("a", 6)]))


def test_why_a_watch_was_cancelled():
    messages = Messages(lambda _told: None)
    assert messages(message(9, canceled=True, compact_revision="8")) is True
    with pytest.raises(TokenRefusedError):
        messages(message(9, canceled=True, cancel_reason="rpc error: etcdserver: invalid auth token"))
    with pytest.raises(MaybeDoneError):
        messages(message(9, canceled=True, cancel_reason="etcdserver: no leader"))
