"""Real receivers of notifications on loopback ports: a webhook, and a mail server."""

import email.policy
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.harness.http_server import running


@dataclass
class Webhook:
    """A receiver by HTTP: what it got, and how it answers: with `status` of a request's number, from 1 on."""

    url: str = ""
    status: Callable[[int], int] = lambda _number: 200
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """The path, the headers and the body of each request, also of those that were refused."""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The JSON of each request."""
        return [json.loads(body) for _, _, body in self.requests]

    @property
    def ids(self) -> list[str]:
        """The id of each request's notice."""
        return [body["id"] for body in self.bodies]

    def target(self, scheme: str = "json", path: str = "/hook") -> str:
        """Give the URL for apprise."""
        return f"{scheme}://{self.url.removeprefix('http://')}{path}"


@contextmanager
def webhook(status: Callable[[int], int] = lambda _number: 200) -> Iterator[Webhook]:
    """Receive by HTTP. A status of 0 is no answer: the request hangs until the end."""
    found, ended = Webhook(status=status), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, dict(self.headers.items()), body))
            answer = found.status(len(found.requests))
            if answer == 0:
                ended.wait(60)
                return
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        with running(server):
            try:
                yield found
            finally:
                ended.set()


@dataclass
class MailServer:
    """A receiver by SMTP: the lines of each message, as they came, and the recipients of each."""

    port: int = 0
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)

    @property
    def messages(self) -> list[EmailMessage]:
        """The messages, parsed."""
        parsed = [message_from_bytes(one, policy=email.policy.default) for one in self.raw]
        return [one for one in parsed if isinstance(one, EmailMessage)]


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """Receive by SMTP, as little of it as a client needs."""
    found = MailServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            recipients: list[str] = []
            self._say("220 mail.example")
            while line := self.rfile.readline():
                match line.split()[:1]:
                    case [b"DATA" | b"data"]:
                        self._say("354 go on")
                        found.raw.append(self._data())
                        found.recipients.append(recipients)
                        recipients = []
                        self._say("250 taken")
                    case [b"QUIT" | b"quit"]:
                        self._say("221 bye")
                        return
                    case _:
                        if line.upper().startswith(b"RCPT"):
                            recipients.append(line.decode().partition(":")[2].strip(" <>\r\n"))
                        self._say("250 fine")

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def _data(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                lines.append(line.removeprefix(b"."))
            return b"".join(lines)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
