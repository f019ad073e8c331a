"""A proxy to a real etcd or locksmith-server that keeps its clients' connections, and drops one at a chosen moment."""

import contextlib
import ctypes
import enum
import re
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.harness import dead_endpoints

LIMIT = 10.0
SO_ATTACH_FILTER, BPF_RETURN = 26, 6


_CLOSES = re.compile(rb"(?<=\r\n)connection: close\r\n", re.IGNORECASE)


class Drop(enum.Enum):
    """When a connection is dropped: around the request that comes on it after others."""

    IDLE = "closed while idle"
    AT_ONCE = "closed when the first byte of the request comes"
    AT_HEAD = "reset when the head of the request has come"
    ASKED = "closed when the body was asked for, before it came"
    AT_BODY = "closed when the request has come, before etcd has it"
    DONE = "closed when etcd has answered, before the client has a byte of it"
    WITHIN = "closed within the answer"
    FORGOTTEN = "nothing arrives any more, and nothing is said: a firewall has forgotten the connection"


class _DroppedError(Exception):
    """The connection is to be closed."""


@dataclass
class Keeping:
    """The proxy; clients are given its `url`.

    `drop`: what becomes of the first request on a kept connection; `first`: also of a connection's first. `continues`:
    whether it asks for the body where the client waits for that; `refusal`: what it says instead. `closes`: whether it
    says `Connection: close` with each answer. `delay` holds each answer up, in seconds. `kept` counts the requests that
    came on a connection after another, `passed` those that etcd was given, `connections` what it says.
    """

    upstream: str
    drop: Drop | None = None
    first: bool = False
    continues: bool = True
    closes: bool = False
    delay: float = 0.0
    refusal: bytes = b""
    url: str = ""
    kept: int = 0
    passed: int = 0
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def serve(self, client: socket.socket) -> None:
        """Serve one connection."""
        self.connections += 1
        number = 0
        with contextlib.suppress(_DroppedError):
            while True:
                self._one(client, number)
                number += 1
                if self._dropping(number, Drop.FORGOTTEN):
                    _forget(client)
                    self.over.wait(LIMIT)
                if self._dropping(number, Drop.IDLE) or self.closes:
                    return

    def _one(self, client: socket.socket, number: int) -> None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += _received(client)
            self._may_drop(number, Drop.AT_ONCE)
        head, _, body = raw.partition(b"\r\n\r\n")
        self.kept += number > 0
        self.heads.append(head)
        if self._dropping(number, Drop.AT_HEAD):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise _DroppedError
        if b"100-continue" in head and self.continues:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._may_drop(number, Drop.ASKED)
        elif b"100-continue" in head and self.refusal:
            client.sendall(self.refusal)
            return
        length = dead_endpoints.content_length(head)
        while len(body) < length:
            body += _received(client)
        self._may_drop(number, Drop.AT_BODY)
        self._pass_on(client, head + b"\r\n\r\n" + body, number)

    def _pass_on(self, client: socket.socket, request: bytes, number: int) -> None:
        at = urlsplit(self.upstream)
        with socket.create_connection((at.hostname, at.port), LIMIT) as server:
            server.sendall(dead_endpoints.only(request.replace(b"Expect: 100-continue\r\n", b"")))
            self.passed += 1
            while piece := _relayed(server, client):
                self._may_drop(number, Drop.DONE)
                self.over.wait(self.delay)
                piece = piece if self.closes else _CLOSES.sub(b"", piece, count=1)
                if self._dropping(number, Drop.WITHIN):
                    client.sendall(piece[:-2])
                    raise _DroppedError
                client.sendall(piece)

    def _may_drop(self, number: int, moment: Drop) -> None:
        if self._dropping(number, moment):
            raise _DroppedError

    def _dropping(self, number: int, moment: Drop) -> bool:
        """Tell whether this is the moment; it comes once."""
        if self.drop is not moment or not (number or self.first):
            return False
        self.drop = None
        return True


def _forget(connection: socket.socket) -> None:
    """Have the kernel drop each packet that comes for a connection (socket(7), SO_ATTACH_FILTER)."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RETURN, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(drop_all))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def _received(client: socket.socket) -> bytes:
    data = client.recv(65536)
    if not data:
        raise _DroppedError
    return data


def _relayed(server: socket.socket, client: socket.socket) -> bytes:
    """Give the next piece of an answer; empty at its end, also where the client has gone."""
    ready, _, _ = select.select([server, client], [], [], LIMIT)
    return server.recv(65536) if server in ready else b""


@contextmanager
def keeping(upstream: str, **options: object) -> Iterator[Keeping]:
    """Open the proxy."""
    way = Keeping(upstream, **options)  # type: ignore[arg-type]
    with dead_endpoints.endpoint(way.serve) as way.url:
        try:
            yield way
        finally:
            way.over.set()
