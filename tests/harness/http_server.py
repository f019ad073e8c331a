"""A real HTTP server that answers as a handler does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers each GET with a status and a body, and logs nothing."""

    def reply(self) -> tuple[int, bytes]:
        """Give the answer to what was asked."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Send the answer."""
        status, body = self.reply()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def answer(asked: BaseHTTPRequestHandler, status: int, body: object, **headers: str) -> None:
    """Send an answer; a body that is no bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked.send_response(status)
    asked.send_header("Content-Length", str(len(raw)))
    for name, value in headers.items():
        asked.send_header(name, value)
    asked.end_headers()
    asked.wfile.write(raw)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a port of this machine, and give the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, running(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    """Run a server on a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:  # a test that fails must end, too
        server.shutdown()
        thread.join()
