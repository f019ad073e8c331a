"""What a daemon makes of each answer of etcd that is no success, in the shapes of both gateways.

`REFUSALS` are recorded answers. Those that can be had from a server here are compared with what every version says; so
the table is true of 3.4, 3.5.1, 3.5.16 and the newest 3.5. etcd 3.6 writes the newer shape, and is not available as a
package: its answers come from the table, over HTTP, to the real client.
"""

import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3

from locksmith.errors import OutcomeUnknownError, StoreFullError, StoreRefusedError, StoreUnavailableError
from locksmith.store.gateway import NEW_TOKENS
from locksmith.store.protocol import Fingerprint
from locksmith.store.settings import StoreSettings
from tests.contract.refusals import (
    AS_USER,
    AUTHENTICATE,
    CREATED,
    EVENT,
    FOUND,
    HEADER,
    OLD_STATUS,
    PUT,
    RANGE,
    REFUSALS,
    SHAPES,
    TXN,
    WATCH,
    Double,
    Writer,
    failure,
    lines,
    new,
    old,
    read_it,
    token,
    told,
    wait_for_it,
    write_it,
)
from tests.contract.stories import run, within
from tests.harness import dead_endpoints
from tests.harness.etcd import PASSWORD, USER, Etcd, wait_until
from tests.harness.etcd_versions import on_every_version


@pytest.fixture(params=list(SHAPES))
def write(request) -> Writer:
    return SHAPES[request.param]


# The table is true


@dataclass(frozen=True)
class Said:
    """What a server has answered."""

    status: int
    lines: list[dict[str, Any]]

    def is_refusal(self, name: str, write: Writer, stream: bool) -> bool:
        """Whether it is that one of the table; `details` may be left out, and HTTP's words are not compared."""
        refusal = REFUSALS[name]
        if self.status not in {refusal.status, OLD_STATUS.get(name)}:
            return False
        wanted, found = json.loads(write(refusal, stream)), json.loads(json.dumps(self.lines[0]))
        for said in (wanted, wanted.get("error"), found, found.get("error")):
            if isinstance(said, dict):
                said.pop("details", None)
                said.pop("http_status", None)
        return bool(wanted == found)


def ask(etcd, path, token=None, most=1, **fields):
    """Ask one member as the store does, and read so many lines of its answer."""
    headers = {"Grpc-Metadata-hasleader": "true"} | ({"Authorization": token} if token else {})
    with urllib3.PoolManager(retries=False, timeout=5) as http:
        answer = http.request("POST", etcd.endpoints[0] + path, json=fields, headers=headers, preload_content=False)
        lines = [json.loads(line) for line in itertools.islice(answer, most)]
        answer.close()
    return Said(answer.status, lines)


def shape_of(etcd):
    """The shape in which a server writes: its answer to a user, while authentication is off."""
    return new if "error" not in ask(etcd, AUTHENTICATE, name="n", password="p").lines[0] else old


@on_every_version
def test_every_version_says_what_the_table_says(binary):
    key, range_of_one = "a2V5", {"key": "a2V5"}
    with Etcd(binary, quota=1_000_000, auth=False) as etcd:
        write = shape_of(etcd)
        assert ask(etcd, AUTHENTICATE, name="n", password="p").is_refusal("authentication off", write, stream=False)
        assert ask(etcd, RANGE, **range_of_one, revision="99").is_refusal("future", write, stream=False)
        assert ask(etcd, "/v3/lease/revoke", ID="77").is_refusal("no lease", write, stream=False)
        etcd.write_others(3)
        etcd.compact(4)
        assert ask(etcd, RANGE, **range_of_one, revision="2").is_refusal("compacted", write, stream=False)
        cancelled = ask(etcd, WATCH, most=2, create_request={**range_of_one, "start_revision": "2"}).lines[1]["result"]
        assert cancelled["canceled"]
        assert cancelled["compact_revision"] == "4"
        etcd.fill()
        assert ask(etcd, "/v3/kv/put", key=key, value="").is_refusal("no space", write, stream=False)
        etcd.disarm()
        etcd.require_passwords()
        assert ask(etcd, AUTHENTICATE, name=USER, password="p").is_refusal("wrong password", write, stream=False)
        assert ask(etcd, RANGE, **range_of_one, token="old.1").is_refusal("invalid token", write, stream=False)
        assert ask(etcd, RANGE, **range_of_one).is_refusal("no token", write, stream=False)
        token = etcd.token(USER, PASSWORD)
        assert ask(etcd, RANGE, **range_of_one, token=token).is_refusal("permission denied", write, stream=False)
        cancelled = ask(etcd, WATCH, create_request=range_of_one, token=token).lines[0]["result"]
        assert cancelled["cancel_reason"].endswith(REFUSALS["permission denied"].text)
    with Etcd(binary, members=2) as etcd:
        large = "x" * 2 * 1024 * 1024
        assert ask(etcd, "/v3/kv/put", key=key, value=large).is_refusal("too large", write, stream=False)
        etcd.members[1].kill()
        wait_until(lambda: ask(etcd, "/v3/maintenance/status").status != 200, "the member sees that it has no leader")
        assert ask(etcd, RANGE, **range_of_one).is_refusal("no leader", write, stream=False)
        assert ask(etcd, WATCH, create_request=range_of_one).is_refusal("no leader", write, stream=True)


# What the client makes of it

MEANINGS = {
    "invalid token": (StoreRefusedError, StoreRefusedError),
    "no token": (StoreRefusedError, StoreRefusedError),
    "old token": (StoreRefusedError, StoreRefusedError),
    "authentication off": (StoreRefusedError, StoreRefusedError),
    "wrong password": (StoreRefusedError, StoreRefusedError),
    "permission denied": (StoreRefusedError, StoreRefusedError),
    "no space": (StoreUnavailableError, StoreFullError),
    "too many requests": (StoreUnavailableError, StoreUnavailableError),
    "no leader": (StoreUnavailableError, StoreUnavailableError),
    "not capable": (StoreUnavailableError, StoreUnavailableError),
    "learner": (StoreUnavailableError, StoreUnavailableError),
    "timed out": (StoreUnavailableError, OutcomeUnknownError),
    "compacted": (StoreRefusedError, StoreRefusedError),
    "future": (StoreRefusedError, StoreRefusedError),
    "no lease": (StoreRefusedError, StoreRefusedError),
    "too large": (StoreRefusedError, StoreRefusedError),
    "unknown": (StoreUnavailableError, OutcomeUnknownError),
    "unknown code": (StoreUnavailableError, OutcomeUnknownError),
}
"""What each means for a read or a watch, and for a write: refused, not done here, or perhaps done."""


@pytest.mark.parametrize("name", list(REFUSALS))
def test_each_refusal_means_the_same_in_both_shapes(write, name):
    unary, stream = told(write, name), told(write, name, stream=True)
    double = Double({RANGE: [unary], TXN: [unary], WATCH: [stream]})
    reading, writing = MEANINGS[name]
    for call, kind in ((read_it, reading), (wait_for_it, reading), (write_it, writing)):
        caught = failure(double, call)
        assert type(caught) is kind
        assert REFUSALS[name].text.removeprefix("etcdserver: ") in str(caught)


@pytest.mark.parametrize("name", ["no leader", "too many requests", "not capable", "learner"])
def test_what_one_member_cannot_do_another_is_asked_for_writes_too(write, name):
    unable = Double({TXN: [told(write, name)], WATCH: [told(write, name, stream=True)]})
    able = Double({TXN: [(200, json.dumps({"header": HEADER, "succeeded": True, "responses": [PUT]}))], WATCH: [EVENT]})
    with dead_endpoints.endpoint(unable) as first, dead_endpoints.endpoint(able) as second:
        run(StoreSettings((first, second)), write_it)
        assert run(StoreSettings((first, second)), wait_for_it)


@pytest.mark.parametrize("name", ["invalid token", "no token", "old token", "permission denied"])
def test_a_token_that_is_refused_is_renewed_and_the_call_made_again(write, name):
    refused = told(write, name)
    answers = {
        AUTHENTICATE: [token(1), token(2)],
        RANGE: [(200, FOUND), refused, (200, FOUND)],
        TXN: [refused, (200, json.dumps({"header": HEADER, "succeeded": True, "responses": [PUT]}))],
        WATCH: [told(write, name, stream=True), EVENT],
    }

    async def story(store):
        await store.get("key")
        await store.get("key")
        await store.swap("key", b"", 4)
        assert await store.wait("key", 5, limit=5)

    double = Double(answers)
    with dead_endpoints.endpoint(double) as url:
        run(StoreSettings((url,), **AS_USER), story)
    assert double.asked[:5] == [
        (AUTHENTICATE, ""),
        (RANGE, "token1"),
        (RANGE, "token1"),
        (AUTHENTICATE, ""),
        (RANGE, "token2"),
    ]


def test_a_token_that_is_always_refused_is_not_renewed_for_ever(write):
    double = Double({AUTHENTICATE: [token(1), token(2), token(3)], RANGE: [told(write, "invalid token")]})
    assert "refused the user 'locksmith': invalid auth token" in str(failure(double, read_it, **AS_USER))
    assert [path for path, _ in double.asked] == [AUTHENTICATE, RANGE] * NEW_TOKENS


def test_authentication_that_is_off_needs_no_token(write):
    double = Double({AUTHENTICATE: [told(write, "authentication off")], RANGE: [(200, FOUND)], WATCH: [EVENT]})

    async def story(store):
        await store.get("key")
        assert await store.wait("key", 5, limit=5)

    with dead_endpoints.endpoint(double) as url:
        run(StoreSettings((url,), **AS_USER), story)
    assert double.asked == [(AUTHENTICATE, ""), (RANGE, ""), (WATCH, "")]


def test_a_wrong_password_is_told(write):
    double = Double({AUTHENTICATE: [told(write, "wrong password")]})
    for call in (read_it, write_it, wait_for_it):
        caught = failure(double, call, **AS_USER)
        assert type(caught) is StoreRefusedError
        assert "the user 'locksmith': authentication failed, invalid user ID or password" in str(caught)


def test_a_full_store_tells_the_way_out(write):
    double = Double({RANGE: [told(write, "no space")], TXN: [told(write, "no space")]})
    for call in (read_it, write_it):
        assert "say `etcdctl alarm disarm`" in str(failure(double, call))


def test_a_revision_that_was_compacted_or_never_was_is_known(write):
    seen = Fingerprint("key", 4, "digest")
    present = (200, json.dumps({"header": HEADER}))
    with dead_endpoints.endpoint(Double({RANGE: [told(write, "compacted"), present]})) as url:
        assert run(StoreSettings((url,)), lambda store: store.knows(seen)) is not True
    with dead_endpoints.endpoint(Double({RANGE: [told(write, "future")]})) as url:
        assert run(StoreSettings((url,)), lambda store: store.knows(seen)) is False


@pytest.mark.parametrize(
    "cancelled",
    [
        {"canceled": True, "compact_revision": "4"},
        {"canceled": True, "cancel_reason": "etcdserver: mvcc: required revision has been compacted"},
    ],
)
def test_a_watch_of_a_compacted_revision_says_read_again(cancelled):
    double = Double({WATCH: [lines(CREATED, {"result": {"header": HEADER, **cancelled}})]})
    with dead_endpoints.endpoint(double) as url, within(1):
        assert run(StoreSettings((url,)), wait_for_it)


@pytest.mark.parametrize("name", ["invalid token", "old token", "permission denied"])
@pytest.mark.parametrize("how", ["cancelled", "cut off"])
def test_a_watch_that_is_refused_after_it_was_created_is_opened_with_a_new_token(write, name, how):
    refusal = REFUSALS[name]
    reason = f"rpc error: code = Whatever desc = {refusal.text}"
    end = {
        "cancelled": {"result": {"header": HEADER, "canceled": True, "cancel_reason": reason}},
        "cut off": json.loads(write(refusal, True)),
    }[how]
    double = Double({AUTHENTICATE: [token(1), token(2)], WATCH: [lines(CREATED, end), EVENT]})
    with dead_endpoints.endpoint(double) as url, within(1):
        assert run(StoreSettings((url,), **AS_USER), wait_for_it)
    assert double.asked == [(AUTHENTICATE, ""), (WATCH, "token1"), (AUTHENTICATE, ""), (WATCH, "token2")]
