"""A way to a real etcd on which a request can be held up: before it arrives there, or before its answer comes back."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.harness import dead_endpoints

LIMIT = 30.0
"""Seconds after which a request that is held goes on by itself."""

Operation = dict[str, Any]
Wanted = Callable[[list[Operation]], bool]
"""Whether the operations of a transaction are the ones a test means."""


@dataclass
class Held:
    """A request that is to be held, the first that is wanted: `arrived` when it is held, `done` when etcd did it."""

    wanted: Wanted
    answered: bool
    found: bool = False
    arrived: bool = False
    done: bool = False
    gate: threading.Event = field(default_factory=threading.Event)

    def let_go(self) -> None:
        """Let it go on, whoever still waits for it."""
        self.gate.set()


class DelayProxy:
    """The way itself; clients are given its `url`. `passed` counts the connections, which carry one request each."""

    def __init__(self, upstream: str) -> None:
        at = urlsplit(upstream)
        self._upstream = (at.hostname, at.port)
        self._held: list[Held] = []
        self.url = ""
        self.passed = 0

    def hold(self, wanted: Wanted, *, answered: bool = False) -> Held:
        """Hold the next transaction that is wanted: before etcd gets it, or `answered`, when etcd has done it."""
        self._held.append(Held(wanted, answered))
        return self._held[-1]

    def let_all_go(self) -> None:
        """Hold nothing any more."""
        for held in self._held:
            held.let_go()

    def pass_on(self, client: socket.socket) -> None:
        """Serve one connection."""
        self.passed += 1
        request = dead_endpoints.read_request(client)
        held = self._holds(request)
        if held is not None and not held.answered:
            held.gate.wait(LIMIT)
        with socket.create_connection(self._upstream, LIMIT) as server:
            server.sendall(dead_endpoints.only(request))
            if held is not None:
                answer = server.recv(65536)
                held.arrived = held.done = True
                held.gate.wait(LIMIT)
                client.sendall(answer)
            dead_endpoints.relay(client, server)

    def _holds(self, request: bytes) -> Held | None:
        operations = _operations(request)
        for held in self._held:
            if not held.found and held.wanted(operations):
                held.found, held.arrived = True, not held.answered
                return held
        return None


@contextmanager
def delay_proxy(upstream: str) -> Iterator[DelayProxy]:
    """Open a way to `upstream`."""
    way = DelayProxy(upstream)
    with dead_endpoints.endpoint(way.pass_on) as way.url:
        try:
            yield way
        finally:
            way.let_all_go()


def take(operations: list[Operation]) -> bool:
    """A slot is taken."""
    return "held" in states_in(operations)


def commit(operations: list[Operation]) -> bool:
    """The point of no return is passed."""
    return "committed" in states_in(operations)


def release(operations: list[Operation]) -> bool:
    """A slot is given back: the record goes."""
    gone = [operation["request_delete_range"] for operation in operations if "request_delete_range" in operation]
    return any(b"/holders/" in base64.b64decode(key["key"]) for key in gone)


def states_in(operations: list[Operation]) -> list[str]:
    """Give the states of the records that are written."""
    puts = [operation["request_put"] for operation in operations if "request_put" in operation]
    records = [json.loads(base64.b64decode(put["value"])) for put in puts]
    return [record.get("state", "") for record in records if isinstance(record, dict)]


def _operations(request: bytes) -> list[Operation]:
    head, _, body = request.partition(b"\r\n\r\n")
    operations: list[Operation] = json.loads(body)["success"] if b"/v3/kv/txn" in head else []
    return operations
