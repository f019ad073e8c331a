"""What a daemon makes of each answer of etcd that is no success, in the shapes of both gateways.

`REFUSALS` are recorded answers. Those that can be had from a server here are compared with what every version says; so
the table is true of 3.4, 3.5.1, 3.5.16 and the newest 3.5. etcd 3.6 writes the newer shape, and is not available as a
package: its answers come from the table, over HTTP, to the real client.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import urllib3

from locksmith.errors import (
    OutcomeUnknownError,
    StoreError,
    StoreFullError,
    StoreRefusedError,
    StoreUnavailableError,
)
from locksmith.kv.settings import StoreSettings
from locksmith.kv.store import Fingerprint
from tests.contract.stories import run, within
from tests.harness import strange
from tests.harness.etcd import PASSWORD, USER, Etcd, wait_until
from tests.harness.etcd_versions import EVERY_VERSION, on_every_version

AUTHENTICATE, RANGE, TXN, WATCH = "/v3/auth/authenticate", "/v3/kv/range", "/v3/kv/txn", "/v3/watch"


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


def ask(etcd, path, token=None, **fields):
    """Ask one member as the store does; of a stream the first lines are read."""
    headers = {"Grpc-Metadata-hasleader": "true"} | ({"Authorization": token} if token else {})
    with urllib3.PoolManager(retries=False, timeout=5) as http:
        answer = http.request("POST", etcd.endpoints[0] + path, json=fields, headers=headers, preload_content=False)
        lines = [json.loads(line) for line, _ in zip(answer, range(2 if path == WATCH and answer.status == 200 else 1))]
        answer.close()
    return Said(answer.status, lines)
