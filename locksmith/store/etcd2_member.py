"""One member of a cluster on etcd's v2 API: blocking calls, each sent once, and what each answer means.

python-etcd sends the requests and reads etcd's errors. Three parts are replaced here. Its connections would repeat a
write. Its keys leave a `%` as it is. Its reading takes any JSON for an answer, and the 404 of any server for "key not
found".

Protocol: https://etcd.io/docs/v2.3/api/ and https://etcd.io/docs/v2.3/errorcode/
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import etcd
import urllib3

from locksmith.errors import LocksmithError, StoreRefusedError
from locksmith.store.cluster import parse_id
from locksmith.store.connections import as_latin1, brief, never_connected, open_pool
from locksmith.store.diagnosis import Diagnosis
from locksmith.store.endpoints import Endpoint
from locksmith.store.settings import StoreSettings
from locksmith.util import jsonread

NOT_FOUND = 404
KEY_NOT_FOUND = 100
COMPARE_FAILED = 101
NOT_A_FILE = 102
NOT_A_DIRECTORY = 104
ALREADY_EXISTS = 105
NO_RIGHTS = 110
EVENT_INDEX_CLEARED = 401
DEFINITE = {KEY_NOT_FOUND, COMPARE_FAILED, NOT_A_FILE, NOT_A_DIRECTORY, ALREADY_EXISTS, EVENT_INDEX_CLEARED}
"""The codes of definite answers. 300 (raft internal error) is not definite: that write may still be applied."""

# The library logs each failure as an error with a traceback; here every failure is raised, in a sentence.
logging.getLogger("etcd").propagate = False


class NotSentError(LocksmithError):
    """Not done: there was no connection to this endpoint, or the endpoint has no v2 API."""

    component = "store"
    odd: int | None = None


class LostError(LocksmithError):
    """May be done: the request was sent, and this endpoint gave no answer that counts."""

    component = "store"
    odd: int | None = None
    """The port may be wrong: the HTTP status that it gave, or 0."""


class AnsweredNoError(LocksmithError):
    """Refused: etcd gave a definite error `code`, at its `index`."""

    component = "store"

    def __init__(self, code: int, text: str, index: int) -> None:
        super().__init__(text)
        self.code = code
        self.index = index


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the v2 tree: a value, or a directory (`value` is None) with its `nodes`."""

    key: str
    value: bytes | None
    created: int
    modified: int
    expires: bool
    nodes: tuple["Node", ...]

    @property
    def is_directory(self) -> bool:
        """Whether this is a folder, which has no value."""
        return self.value is None

    def leaves(self) -> Iterator["Node"]:
        """Give every node below, or this node, that has a value."""
        if not self.is_directory:
            yield self
        for node in self.nodes:
            yield from node.leaves()


@dataclass(frozen=True, slots=True)
class Answer:
    """The node of the request, and the store's index at that moment."""

    node: Node
    index: int


@dataclass(frozen=True, slots=True)
class Call:
    """A request about one key. `params` are the API's own (`prevIndex`, `recursive`...)."""

    method: str
    key: str
    params: dict[str, str | int]

    @property
    def writes(self) -> bool:
        """Whether the request changes anything."""
        return self.method != "GET"

    @property
    def counts(self) -> bool:
        """Whether the quorum answers; any other answer is that of a single member, which may lag."""
        return self.writes or self.params.get("quorum") == "true"

    @property
    def path(self) -> str:
        """The key as a path. python-etcd sends a path as it is, so a `%` in the key must be escaped here."""
        return "/keys/" + quote(self.key, safe="/")


class Member:
    """One endpoint of the cluster."""

    def __init__(self, endpoint: Endpoint, settings: StoreSettings) -> None:
        self.url = endpoint.url
        self._client_options = {
            "host": f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host,
            "port": endpoint.port,
            "protocol": "https" if endpoint.tls else "http",
            "username": as_latin1(settings.username),
            "allow_redirect": False,
            "allow_reconnect": False,
        }
        self._settings = settings
        self._endpoint = endpoint
        self._diagnosis = Diagnosis(endpoint, v3=False)

    async def explain(self, error: Exception, by: float) -> str:
        """Say what went wrong; if the endpoint is wrong, also how, and what to do."""
        odd = error.odd if isinstance(error, NotSentError | LostError) else None
        return (await self._diagnosis.find(by, odd) if odd is not None else "") or str(error)

    def request(self, call: Call) -> "Request":
        """Prepare a request."""
        client = etcd.Client(**self._client_options, password=as_latin1(self._settings.password_now or None))
        client.http = tap = _Tap(self._endpoint)
        return Request(client, tap, call, self._endpoint)


class Request:
    """A request, which another thread can end."""

    def __init__(self, client: etcd.Client, tap: "_Tap", call: Call, endpoint: Endpoint) -> None:
        self._client = client
        self._tap = tap
        self._call = call
        self._endpoint = endpoint

    def run(self, bounds: urllib3.Timeout) -> Answer:
        """Give the answer to the request: a blocking call.

        Raises `NotSentError`, `LostError` (also after its end), `AnsweredNoError`, `StoreRefusedError`; and
        `TimeoutError` for a long poll that saw nothing.
        """
        try:
            path = self._client.version_prefix + self._call.path
            response = self._client.api_execute(path, self._call.method, self._call.params, bounds)
            return _read_answer(response.data, response.headers.get("X-Etcd-Index", ""))
        except etcd.EtcdException as error:
            if isinstance(error, etcd.EtcdConnectionFailed) and (said := self._endpoint.certificate_fault(error.cause)):
                raise NotSentError(said) from None
            raise _tell(self._call, error) from None
        except (ValueError, TypeError, RecursionError) as error:  # TypeError: an errorCode of no type to look up
            raise LostError(f"the answer is none of etcd's v2 API: {brief(error)}") from None

    @property
    def cluster(self) -> str:
        """The id of the cluster that has answered; `LostError`: the answer does not name it."""
        try:
            return parse_id(self._tap.header("X-Etcd-Cluster-Id"), 16, "X-Etcd-Cluster-Id")
        except jsonread.BadJsonError as error:
            raise LostError(f"{error}: each etcd sends it, so what is between must let this header pass") from None

    def end(self) -> None:
        """Make `run` return soon; nothing is sent any more."""
        self._tap.close()


class _Tap:
    """A pool as python-etcd needs it, for one request, which gives access to the response under way."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._response: urllib3.BaseHTTPResponse | None = None
        self._closed = threading.Event()

    def request(self, method: str, url: str, headers: dict[str, str], **options: Any) -> urllib3.BaseHTTPResponse:
        """Give the response; its body is not read yet.

        Each request has its own connection. If the server has just dropped an idle connection, the outcome of a write
        would be unknown.
        """
        if self._closed.is_set():
            raise NotSentError("it was cancelled")
        pool = open_pool(self._endpoint.context)
        self._response = pool.request(method, url, headers={**headers, "Connection": "close"}, **options)
        if self._closed.is_set():
            self.close()
        return self._response

    request_encode_body = request

    def header(self, name: str) -> str:
        """Give a header of the response; empty: there is none."""
        return self._response.headers.get(name, "") if self._response is not None else ""

    def close(self) -> None:
        """Shut the socket down, which wakes the thread that reads from it."""
        self._closed.set()
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # read to its end already
            if self._response is not None:
                self._response.shutdown()

    def clear(self) -> None:
        """Keep all connections: python-etcd calls this when a client goes, and its request may be under way."""


def _tell(call: Call, error: etcd.EtcdException) -> Exception:
    """Give the error that the library's error means for the call."""
    if isinstance(error, etcd.EtcdWatchTimedOut):
        return TimeoutError()
    if isinstance(error, etcd.EtcdConnectionFailed):
        if never_connected(error.cause):
            return NotSentError(brief(error.cause))
        lost = LostError(brief(error.cause))
        lost.odd = None if isinstance(error.cause, urllib3.exceptions.TimeoutError) else 0
        return lost
    if isinstance(error, etcd.EtcdClusterIdChanged):
        return LostError("another cluster answers than before")
    return _tell_answer(call, error, error.payload if isinstance(error.payload, dict) else {})


def _tell_answer(call: Call, error: etcd.EtcdException, payload: dict[str, Any]) -> Exception:
    """Tell etcd's "no" from the answer of another server."""
    code, index, text = payload.get("errorCode"), payload.get("index"), brief(error)
    if isinstance(code, int) and code in DEFINITE and isinstance(index, int):
        return AnsweredNoError(code, text, index)
    if code == NO_RIGHTS or isinstance(error, etcd.EtcdInsufficientPermissions):
        return StoreRefusedError(f"etcd refused {call.method} of {call.key}: {text}: check user, password and role")
    if str(payload.get("cause", "")).startswith("404 page not found"):
        without = NotSentError("this etcd has no v2 API (`--enable-v2` turns it on, up to etcd 3.5)")
        without.odd = NOT_FOUND
        return without
    return LostError(f"no answer of etcd's v2 API that helps: {text}")


def _read_answer(body: bytes, index: str) -> Answer:
    node = jsonread.read(jsonread.load_object(body), "node", dict)
    return Answer(_read_node(node), int(index))


def _read_node(fields: object) -> Node:
    if not isinstance(fields, dict):
        raise jsonread.BadJsonError("a node must be an object")
    is_directory = jsonread.read(fields, "dir", bool, default=False)
    return Node(
        key=jsonread.read(fields, "key", str, "/").removeprefix("/"),  # the root has no key
        value=None if is_directory else _read_value(fields),
        created=_read_index(fields, "createdIndex", is_directory),
        modified=_read_index(fields, "modifiedIndex", is_directory),
        expires="expiration" in fields,
        nodes=tuple(_read_node(node) for node in jsonread.read(fields, "nodes", list, [])),
    )


def _read_value(fields: dict[str, Any]) -> bytes:
    return jsonread.read(fields, "value", str, "").encode()  # what was just deleted has none


def _read_index(fields: dict[str, Any], name: str, is_directory: bool) -> int:
    index = jsonread.read(fields, name, int, 0)
    if index <= 0 and not is_directory:
        raise jsonread.BadJsonError(f"the field {name!r} must be more than 0")
    return index
