"""Recorded answers of etcd's HTTP gateway that are no success, in both shapes, and a server that gives them."""

import json
import socket
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from locksmith.errors import StoreError
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.protocol import Change
from locksmith.store.settings import StoreSettings
from tests.contract.stories import run, within
from tests.harness import dead_endpoints
from tests.harness.etcd import PASSWORD, USER

AUTHENTICATE, RANGE, TXN, WATCH = "/v3/auth/authenticate", "/v3/kv/range", "/v3/kv/txn", "/v3/watch"
STATUS = "/v3/maintenance/status"


@dataclass(frozen=True)
class Refusal:
    """An error of etcd's: what its gRPC server says, and the HTTP status that goes with the code."""

    status: int
    code: int
    text: str


REFUSALS = {
    "invalid token": Refusal(401, 16, "etcdserver: invalid auth token"),
    "no token": Refusal(400, 3, "etcdserver: user name is empty"),
    "old token": Refusal(400, 3, "etcdserver: revision of auth store is old"),
    "authentication off": Refusal(400, 9, "etcdserver: authentication is not enabled"),
    "wrong password": Refusal(400, 3, "etcdserver: authentication failed, invalid user ID or password"),
    "permission denied": Refusal(403, 7, "etcdserver: permission denied"),
    "no space": Refusal(429, 8, "etcdserver: mvcc: database space exceeded"),
    "too many requests": Refusal(429, 8, "etcdserver: too many requests"),
    "no leader": Refusal(503, 14, "etcdserver: no leader"),
    "not capable": Refusal(400, 9, "etcdserver: not capable"),
    "learner": Refusal(503, 14, "etcdserver: rpc not supported for learner"),
    "timed out": Refusal(503, 14, "etcdserver: request timed out"),
    "compacted": Refusal(400, 11, "etcdserver: mvcc: required revision has been compacted"),
    "future": Refusal(400, 11, "etcdserver: mvcc: required revision is a future revision"),
    "no lease": Refusal(404, 5, "etcdserver: requested lease not found"),
    "too large": Refusal(400, 3, "etcdserver: request is too large"),
    "unknown": Refusal(500, 2, "etcdserver: something that no version says"),
    "unknown code": Refusal(500, 99, "etcdserver: something that no version says"),
}

OLD_STATUS = {"authentication off": 412}
"""What 3.4 answers with another HTTP status."""


def old(refusal: Refusal, stream: bool) -> str:
    """Write it as grpc-gateway v1 does: etcd up to upstream's 3.5."""
    code, text = refusal.code, refusal.text
    if stream:
        said = {"grpc_code": code, "http_code": refusal.status, "message": text, "http_status": "Some Words"}
        return json.dumps({"error": said}, separators=(",", ":"))
    return json.dumps({"error": text, "code": code, "message": text}, separators=(",", ":"))


def new(refusal: Refusal, stream: bool) -> str:
    """Write it as grpc-gateway v2 does: etcd 3.6, and Debian's 3.5."""
    said = {"code": refusal.code, "message": refusal.text, "details": []}
    return json.dumps({"error": said}) + "\n" if stream else json.dumps(said)


SHAPES = {"old": old, "new": new}
Writer = Callable[[Refusal, bool], str]
Told = tuple[int, str]
"""An HTTP status and a body."""


HEADER = {"cluster_id": "7", "member_id": "8", "revision": "5", "raft_term": "2"}
FOUND = json.dumps({"header": HEADER})
DONE = json.dumps({"header": HEADER, "succeeded": True})
CREATED = {"result": {"header": HEADER, "created": True}}
KEY = b64encode(b"key").decode()
WRITTEN = {"kv": {"key": KEY, "create_revision": "3", "mod_revision": "6", "value": ""}}
CHANGED = {"result": {"header": HEADER, "events": [WRITTEN]}}
PUT = {"response_put": {"header": HEADER, "prev_kv": {"create_revision": "3"}}}


@dataclass
class Double:
    """Answers each path with what is written for it, one answer after another, the last for ever; keeps what it got.

    It names its cluster when it is asked for that, and has no other page; neither question is kept.
    """

    answers: dict[str, list[Told]]
    asked: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, connection: socket.socket) -> None:
        """Serve one request."""
        request = dead_endpoints.read_request(connection)
        path = request.split(b" ")[1].decode()
        tokens = [line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization: ")]
        if path not in self.answers:
            self._send(connection, *((200, FOUND) if path == STATUS else (404, "404 page not found\n")))
            return
        with self.lock:
            self.asked.append((path, tokens[0].split()[1].decode() if tokens else ""))
            left = self.answers[path]
            status, body = left.pop(0) if len(left) > 1 else left[0]
        self._send(connection, status, body)

    def _send(self, connection: socket.socket, status: int, body: str) -> None:
        head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode())


def told(write: Writer, name: str, stream: bool = False) -> Told:
    """Give an answer of the table, with its status."""
    refusal = REFUSALS[name]
    return refusal.status, write(refusal, stream)


def lines(*messages: dict[str, Any]) -> Told:
    """Give the lines of a stream."""
    return 200, "".join(json.dumps(message) + "\n" for message in messages)


EVENT = lines(CREATED, CHANGED)
"""A watch that tells of a change."""


def token(number: int) -> Told:
    """Give a token to a user."""
    return 200, json.dumps({"header": HEADER, "token": f"token{number}"})


def failure(double: Double, call: Callable[[Etcd3Store], Awaitable[object]], **settings: Any) -> StoreError:
    """Make a call that has to fail, and soon; give its error."""
    with dead_endpoints.endpoint(double) as url, within(1), pytest.raises(StoreError) as caught:
        run(StoreSettings((url,), **settings), call)
    return caught.value


def read_it(store: Etcd3Store) -> Awaitable[object]:
    return store.get("key")


def write_it(store: Etcd3Store) -> Awaitable[object]:
    return store.swap("key", b"", 4)


def wait_for_it(store: Etcd3Store) -> Awaitable[Change | None]:
    return store.wait("key", 5, limit=5)


AS_USER: dict[str, Any] = {"username": USER, "password": PASSWORD}
