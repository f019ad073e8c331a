"""Whatever is read from a server: etcd's answers on both APIs, Alertmanager's, Prometheus'."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from locksmith.errors import HostError, StoreRefusedError
from locksmith.gates.alerts import Alerts, parse
from locksmith.gates.settings import AlertSettings
from locksmith.store import etcd2_member as v2
from locksmith.store import etcd3_wire as wire
from locksmith.store import grpc
from locksmith.store.endpoints import Endpoint
from locksmith.store.exchange import MaybeDoneError, NotDoneError
from locksmith.store.protocol import Put
from locksmith.store.settings import StoreSettings
from tests.junk.bus_readers import at_once
from tests.junk.reader import Reader

KV = b'{"key":"ay8=","value":"dg==","mod_revision":"7","create_revision":"6","lease":"9","version":"1"}'
HEADER = b'"header":{"cluster_id":"1","member_id":"2","revision":"8","raft_term":"3"}'
RANGE = b"{%s,%s}" % (HEADER, b'"kvs":[%s],"count":"1"' % KV)
WRITTEN = b'{%s,"succeeded":true,"responses":[{"response_put":{"prev_kv":%s}},{"response_range":{"count":"2"}}]}' % (
    HEADER,
    KV,
)
SEVERAL = b'{%s,"succeeded":true,"responses":[{"response_range":{"kvs":[%s]}},{"response_range":{}}]}' % (HEADER, KV)
LEASE = b'{%s,"ID":"7587","TTL":"60"}' % HEADER
ALIVE = b'{"result":%s}' % LEASE
CREATED = b'{"result":{%s,"watch_id":"1","created":true}}' % HEADER
EVENTS = b'{"result":{%s,"events":[{"kv":%s}]}}' % (HEADER, KV)
CANCELLED = b'{"result":{%s,"canceled":true,"compact_revision":"5","cancel_reason":"x"}}' % HEADER
ERROR = b'{"error":"etcdserver: no leader","code":14,"message":"etcdserver: no leader"}'
STREAM_ERROR = b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"x"}}'
NEW_ERROR = b'{"code":16,"message":"etcdserver: invalid auth token","details":[]}'
NEW_STREAM_ERROR = b'{"error":{"code":16,"message":"etcdserver: invalid auth token","details":[]}}'

NODE = b'{"key":"/k","value":"v","modifiedIndex":7,"createdIndex":6,"expiration":"2026-05-01T00:00:00Z","ttl":5}'
FOLDER = b'{"action":"get","node":{"key":"/d","dir":true,"nodes":[%s],"modifiedIndex":3,"createdIndex":3}}' % NODE
FOUND = b'{"action":"compareAndSwap","node":%s,"prevNode":%s}' % (NODE, NODE)
V2_ERROR = b'{"errorCode":101,"message":"Compare failed","cause":"[3 != 7]","index":9}'

ALERTS = b'[{"labels":{"alertname":"Down","severity":"page"},"status":{"state":"active","silencedBy":[]}}]'
QUERY = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"a"},"value":[1,"2"]}]}}'
QUIET = b'{"status":"success","data":{"resultType":"vector","result":[]}}'


def _v3(of: Callable[[grpc.Message], object], *good: bytes) -> Reader:
    def read(raw: bytes) -> object:
        try:
            return (of(grpc.decode(raw, 200)), "")
        except (MaybeDoneError, NotDoneError) as error:
            raise HostError(str(error)) from None

    return Reader(read, good)


def _v3_error(raw: bytes) -> object:
    """Give an error as it is meant, too: that is what is read."""
    try:
        return grpc.decode(raw, 503)
    except (MaybeDoneError, NotDoneError, StoreRefusedError) as error:
        return error


def _v2(status: int, *good: bytes) -> Reader:
    endpoint = Endpoint("http://127.0.0.1:1", "127.0.0.1", 1, None)
    member = v2.Member(endpoint, StoreSettings(endpoints=("http://127.0.0.1:1",)))

    def read(raw: bytes) -> object:
        request = member.request(v2.Call("GET", "k", {}))
        response = SimpleNamespace(status=status, data=raw, headers={"X-Etcd-Index": "9"}, getheader=lambda _name: None)
        request._client.http = SimpleNamespace(request=lambda *_, **__: response, clear=lambda: None)
        try:
            return request.run(None)  # type: ignore[arg-type]  # nothing is sent that could be late
        except v2.AnsweredNoError as error:
            return error
        except (v2.LostError, v2.NotSentError) as error:
            raise HostError(str(error)) from None

    return Reader(read, good, share=3)


class _Alerts(Alerts):
    """The gate, whose servers answer with what it is given."""

    raw = b""

    async def _get(self, url: str) -> Any:
        return parse(self.raw, url)


def _alerts(settings: AlertSettings, *good: bytes) -> Reader:
    gate = _Alerts(settings)

    def read(raw: bytes) -> object:
        gate.raw = raw
        found = at_once(gate.check(None))
        if any("cannot be read" in one.text for one in found):
            raise HostError(found[0].text)
        return found

    return Reader(read, good)


def http_readers() -> dict[str, Reader]:
    """Give all of them, by what they read."""
    change = Put("k", b"v", 7)
    return {
        "v3 key": _v3(wire.reading, RANGE),
        "v3 keys": _v3(lambda message: wire.readings(message, 2), SEVERAL),
        "v3 list": _v3(wire.listing, RANGE),
        "v3 count": _v3(wire.counted, RANGE),
        "v3 first key": _v3(wire.key_or_none, RANGE),
        "v3 transaction": _v3(lambda message: wire.committed(message, [change]), WRITTEN),
        "v3 transaction with a count": _v3(lambda message: wire.entered(message, [change]), WRITTEN),
        "v3 lease": _v3(wire.lease_id, LEASE),
        "v3 keep-alive": _v3(wire.seconds_left, ALIVE),
        "v3 watch": _v3(wire.Changes(8), CREATED, EVENTS, CANCELLED),
        "v3 error": Reader(_v3_error, (ERROR, STREAM_ERROR, NEW_ERROR, NEW_STREAM_ERROR), refuses=False),
        "v2 answer": _v2(200, FOUND, FOLDER),
        "v2 error": _v2(412, V2_ERROR),
        "alerts": _alerts(AlertSettings(alertmanager="http://a"), ALERTS),
        "query": _alerts(AlertSettings(prometheus="http://p", query="up == 0"), QUERY, QUIET),
    }
