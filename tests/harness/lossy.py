"""A way to a real etcd on which one request, counted from the start, comes to harm."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.harness import strange

LIMIT = 10.0

BEFORE, AFTER, LATE = "lost before etcd has it", "its answer is lost", "applied when all is over"
"""What becomes of the request: etcd never gets it, or answers in vain, or gets it when nobody waits any more."""


@dataclass
class Lossy:
    """The way; clients are given its `url`. Of the requests, which `passed` counts, the `number`th meets its fate."""

    upstream: str
    number: int = -1
    fate: str = BEFORE
    url: str = ""
    passed: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_on(self, client: socket.socket) -> None:
        """Serve one connection, which carries one request."""
        request = strange.read_request(client)
        with self.lock:
            number, self.passed = self.passed, self.passed + 1
        if number != self.number:
            with self._upstream() as server:
                server.sendall(request)
                strange.relay(client, server)
            return
        if self.fate == LATE:
            client.close()
            self.gate.wait(LIMIT)
        if self.fate != BEFORE:
            with self._upstream() as server, contextlib.suppress(OSError):
                server.sendall(request)
                server.recv(65536)
        self.arrived.set()

    def let_late_ones_arrive(self) -> None:
        """Let the request that is late arrive, and wait for that."""
        self.gate.set()
        if self.fate == LATE and self.passed > self.number >= 0:
            assert self.arrived.wait(LIMIT)

    def _upstream(self) -> socket.socket:
        at = urlsplit(self.upstream)
        return socket.create_connection((at.hostname, at.port), LIMIT)


@contextmanager
def lossy(upstream: str, number: int, fate: str) -> Iterator[Lossy]:
    """Open a way to `upstream` on which that request meets that fate."""
    way = Lossy(upstream, number, fate)
    with strange.endpoint(way.pass_on) as way.url:
        try:
            yield way
        finally:
            way.gate.set()
