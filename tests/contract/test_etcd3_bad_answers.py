"""Answers that etcd never gives, and answers cut off: none is a yes, a no, or a reason for a new token."""

import asyncio
import json

import pytest

from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.store.settings import StoreSettings
from tests.contract.refusals import (
    AS_USER,
    AUTHENTICATE,
    CHANGED,
    CREATED,
    DONE,
    EVENT,
    FOUND,
    HEADER,
    PUT,
    RANGE,
    REFUSALS,
    SHAPES,
    TXN,
    WATCH,
    Double,
    Writer,
    failure,
    new,
    old,
    read_it,
    token,
    told,
    wait_for_it,
    write_it,
)
from tests.contract.stories import run
from tests.harness import dead_endpoints


@pytest.fixture(params=list(SHAPES))
def write(request) -> Writer:
    return SHAPES[request.param]


# What no etcd says


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, '{"code":5,"message":"Not Found","details":[]}'),  # the gateway's own, for a path it does not know
        (404, '{"error":"Not Found","code":5,"message":"Not Found"}'),
        (401, '{"code":16,"message":"jwt is missing"}'),  # a proxy
        (403, '{"code":7,"message":"RBAC: access denied"}'),
        (403, '{"code":403,"message":"etcdserver: permission denied by the proxy"}'),
        (401, '{"code":"16","message":"etcdserver: invalid auth token"}'),
        (401, '{"code":16,"message":null}'),
        (401, '{"code":16}'),
        (401, '{"message":"etcdserver: invalid auth token"}'),
        (401, '{"error":"etcdserver: invalid auth token"}'),
        (401, '{"error":"etcdserver: invalid auth token","code":16,"message":"another"}'),
        (401, '{"error":{"grpc_code":16,"code":7,"message":"etcdserver: invalid auth token"}}'),
        (401, '{"error":{"message":"etcdserver: invalid auth token"}}'),
        (401, '{"error":{"code":true,"message":"etcdserver: invalid auth token"}}'),
        (401, '{"error":[],"code":16,"message":"etcdserver: invalid auth token"}'),
        (200, '{"code":16,"message":"etcdserver: invalid auth token"}'),
        (200, '{"error":"etcdserver: invalid auth token","code":16}'),
        (200, '{"code":0,"message":""}'),
        (503, "upstream connect error or disconnect/reset before headers"),
        (503, ""),
        (401, ""),
        (502, FOUND),
        (502, DONE),
        (200, '{"header":{"revision":"5"},"code":16,"message":"etcdserver: invalid auth token"}'),
        (200, '{"header":{"revision":"5"},"succeeded":true,"error":"x"}'),
        (200, '{"result":{"header":{"revision":"5"},"succeeded":true},"error":{"code":16,"message":"x"}}'),
    ],
)
def test_what_is_neither_an_answer_nor_a_refusal_of_etcds_is_in_doubt(status, body):
    double = Double({AUTHENTICATE: [token(1)], RANGE: [(status, body)], TXN: [(status, body)], WATCH: [(status, body)]})
    for call in (read_it, wait_for_it):
        assert type(failure(double, call, **AS_USER)) is StoreUnavailableError
    assert type(failure(double, write_it, **AS_USER)) is OutcomeUnknownError
    assert [path for path, _ in double.asked].count(AUTHENTICATE) == 3  # none of them means a new token


FULL_ANSWERS = {
    "old refusal": (401, old(REFUSALS["invalid token"], False)),
    "new refusal": (401, new(REFUSALS["invalid token"], False)),
    "old stream": (401, old(REFUSALS["invalid token"], True)),
    "new stream": (401, new(REFUSALS["invalid token"], True).strip()),
    "success": (200, json.dumps({"header": HEADER, "succeeded": True, "responses": [PUT]})),
    "result": (200, json.dumps({"result": {"header": HEADER, "events": [{}]}})),
}


@pytest.mark.parametrize("name", list(FULL_ANSWERS))
def test_an_answer_that_is_cut_off_at_any_byte_is_no_answer(name):
    status, body = FULL_ANSWERS[name]
    cuts = [(status, body[:length]) for length in range(len(body))]

    async def story(store):
        for _ in cuts:
            with pytest.raises(StoreUnavailableError):
                await store.get("key")
            with pytest.raises(OutcomeUnknownError):
                await store.swap("key", b"", 4)
            with pytest.raises(StoreUnavailableError):
                await store.wait("key", 5, limit=5)

    double = Double({RANGE: list(cuts), TXN: list(cuts), WATCH: list(cuts)})
    with dead_endpoints.endpoint(double) as url:
        run(StoreSettings((url,)), story)
    assert len(double.asked) == 3 * len(cuts)


def test_a_stream_that_is_cut_off_at_any_byte_after_its_beginning_is_opened_again(write):
    created = json.dumps(CREATED) + "\n"
    ends = [json.dumps(CHANGED), write(REFUSALS["no leader"], True).strip()]
    cuts = [(200, created + end[:length]) for end in ends for length in range(len(end))]

    async def story(store):
        assert all(await asyncio.gather(*(store.wait("key", 5, limit=20) for _ in cuts)))

    double = Double({WATCH: [*cuts, EVENT]})
    with dead_endpoints.endpoint(double) as url:
        run(StoreSettings((url,)), story)
    assert len(double.asked) == 2 * len(cuts)  # none of them ended a wait


def test_an_authentication_that_is_cut_off_at_any_byte_does_nothing(write):
    bodies = [token(1)[1], told(write, "authentication off")[1], told(write, "wrong password")[1]]
    cuts = [(400, body[:length]) for body in bodies for length in range(len(body))]

    async def story(store):
        for _ in cuts:
            with pytest.raises(StoreUnavailableError, match="authentication"):
                await store.swap("key", b"", 4)

    double = Double({AUTHENTICATE: list(cuts)})
    with dead_endpoints.endpoint(double) as url:
        run(StoreSettings((url,), **AS_USER), story)
    assert {path for path, _ in double.asked} == {AUTHENTICATE}
