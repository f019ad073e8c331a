"""Endpoints that are there and answer nothing of use, on loopback ports."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

LIMIT = 10.0
"""Seconds that any step of a dead endpoint may take."""


@contextmanager
def endpoint(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve each connection with `handle`, in a thread of its own; gives the URL."""
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client went away, or the test is over
            handle(connection)

    def accept() -> None:
        with suppress(OSError):  # the listener was shut
            while True:
                connection, _ = listener.accept()
                connection.settimeout(LIMIT)
                connections.append(connection)
                threads.append(threading.Thread(target=serve, args=[connection]))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            _shut(listener)
            acceptor.join(LIMIT)
            for connection in connections:
                _shut(connection)
            for thread in threads:
                thread.join(LIMIT)


def answering(body: str, status: int = 200, kind: str = "text/html") -> Callable[[socket.socket], None]:
    """Answer whatever is asked with the same page."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(_answer(body.encode(), status, kind))

    return handle


def echo(connection: socket.socket) -> None:
    """Answer with the body of what is asked."""
    _, _, body = read_request(connection).partition(b"\r\n\r\n")
    connection.sendall(_answer(body, 200, "text/html"))


@dataclass
class Front:
    """Passes every request on to `upstream`, but answers those with `wanted` in them itself, and counts them."""

    upstream: str
    wanted: bytes
    answer: str
    status: int = 200
    answered: int = 0

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        request = read_request(connection)
        if self.wanted in request:
            self.answered += 1
            connection.sendall(_answer(self.answer.encode(), self.status, "application/json"))
            return
        at = urlsplit(self.upstream)
        with socket.create_connection((at.hostname, at.port), LIMIT) as server:
            server.sendall(only(request))
            relay(connection, server)


def only(request: bytes) -> bytes:
    """Make a request the only one of its connection: what is relayed after it is not looked at."""
    first, _, rest = request.partition(b"\r\n")
    return first + b"\r\nConnection: close\r\n" + rest


def relay(client: socket.socket, server: socket.socket) -> None:
    """Carry everything both ways until one of them hangs up."""
    other = {client: server, server: client}
    while True:
        for ready in select.select([client, server], [], [])[0]:
            piece = ready.recv(65536)
            if not piece:
                return
            other[ready].sendall(piece)


def named(upstream: str, handle: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """Let `upstream` say which cluster it belongs to, and `handle` answer everything else."""
    front = Front(upstream, b"nothing is answered here", "")

    def serve(connection: socket.socket) -> None:
        head = connection.recv(1024, socket.MSG_PEEK)
        asks = any(question in head for question in (b"/v3/maintenance/status", b"/_locksmith/cluster"))
        (front if asks else handle)(connection)

    return serve


def silent(connection: socket.socket) -> None:
    """Read what is asked and never answer."""
    while connection.recv(65536):
        pass


def forgetful(upstream: str) -> Callable[[socket.socket], None]:
    """Let `upstream` carry out one request, then hang up instead of passing the answer on."""
    at = urlsplit(upstream)

    def handle(connection: socket.socket) -> None:
        request = read_request(connection)
        with socket.create_connection((at.hostname, at.port), LIMIT) as server:
            server.sendall(request)
            server.recv(65536)

    return handle


def read_request(connection: socket.socket) -> bytes:
    """Read one request with its body."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += _more(connection)
    head, _, body = request.partition(b"\r\n\r\n")
    while len(body) < content_length(head):
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _answer(body: bytes, status: int, kind: str) -> bytes:
    head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the client hung up within its request")
    return data


def content_length(head: bytes) -> int:
    names = (line.lower().partition(b":") for line in head.split(b"\r\n"))
    return next((int(value) for name, _, value in names if name == b"content-length"), 0)


def _shut(any_socket: socket.socket) -> None:
    with suppress(OSError):
        any_socket.shutdown(socket.SHUT_RDWR)
