"""Ways to the members of a real etcd on which one request, counted from the start, comes to harm."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from tests.harness import dead_endpoints

LIMIT = 10.0

BEFORE, AFTER = "lost before etcd has it", "its answer is lost"
BEHIND, LATE = "applied behind the next look", "applied when all is over"
"""What becomes of the request: etcd never gets it; or answers in vain; or gets it when the client has gone on to its
next request, which etcd has answered without it, though that answer has not arrived; or when nobody waits any more."""


@dataclass
class LossyProxy:
    """The ways; a client is given their `urls`. Of its requests the `number`th meets its fate.

    `trail` says which way each took, in the order in which they came; `watch` whether it is a watch that came to harm.
    """

    number: int = -1
    fate: str = BEFORE
    urls: tuple[str, ...] = ()
    trail: list[int] = field(default_factory=list)
    watch: bool = False
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def passed(self) -> int:
        """How many requests came."""
        return len(self.trail)

    @property
    def following(self) -> list[int]:
        """The ways of the request that came to harm and of the next one, where they came and do follow each other.

        A watch is open while other requests are made, and may have been left by then.
        """
        return self.trail[self.number : self.number + 2] if self.number >= 0 and not self.watch else []

    def pass_on(self, way: int, upstream: str, client: socket.socket) -> None:
        """Serve one connection, which carries one request."""
        request = dead_endpoints.read_request(client)
        with self.lock:
            number = len(self.trail)
            self.trail.append(way)
        if number == self.number:
            self.watch = request.startswith(b"POST /v3/watch ")
            self._harm(request, upstream, client)
            return
        with _connect(upstream) as server:
            server.sendall(dead_endpoints.only(request))
            if self.fate == BEHIND and number == self.number + 1:
                answer = server.recv(65536)
                self.let_late_ones_arrive()
                client.sendall(answer)
            dead_endpoints.relay(client, server)

    def let_late_ones_arrive(self) -> None:
        """Let the request that is late arrive, and wait for that."""
        self.gate.set()
        if self.fate in {BEHIND, LATE} and self.passed > self.number >= 0:
            assert self.arrived.wait(LIMIT)

    def _harm(self, request: bytes, upstream: str, client: socket.socket) -> None:
        if self.fate in {BEHIND, LATE}:
            client.close()
            self.gate.wait(LIMIT)
        if self.fate != BEFORE:
            with _connect(upstream) as server, contextlib.suppress(OSError):
                server.sendall(dead_endpoints.only(request))
                server.recv(65536)
        self.arrived.set()


@contextmanager
def lossy_proxy(upstreams: Sequence[str], number: int, fate: str) -> Iterator[LossyProxy]:
    """Open a way to each of `upstreams`; of the requests on all of them that one meets that fate."""
    ways = LossyProxy(number, fate)
    with ExitStack() as stack:
        for way, upstream in enumerate(upstreams):
            ways.urls += (stack.enter_context(dead_endpoints.endpoint(partial(ways.pass_on, way, upstream))),)
        stack.callback(ways.gate.set)
        yield ways


def _connect(upstream: str) -> socket.socket:
    at = urlsplit(upstream)
    return socket.create_connection((at.hostname, at.port), LIMIT)
