"""A small HTTP client that can also send what no well-behaved client sends. Standard library alone."""

import contextlib
import io
import json
import socket
import ssl
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, Self
from urllib.parse import urlsplit

PRE_REBOOT = "pre-reboot"
STEADY_STATE = "steady-state"
CALLS = (PRE_REBOOT, STEADY_STATE)
PROTOCOL = ("fleet-lock-protocol", "true")
"""The header that both calls must have."""

Header = tuple[str, str]


class NoAnswerError(Exception):
    """The server closed the connection, or kept silent for longer than the limit, and gave no whole answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the server. `closes`: it says that the connection ends after it."""

    status: int
    body: bytes
    closes: bool = False

    @property
    def granted(self) -> bool:
        """Whether Zincati reads it as success: any 2xx."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether it is a failure as the specification describes one: 4xx or 5xx."""
        return 400 <= self.status < 600

    @property
    def is_clients_fault(self) -> bool:
        """Whether it says that the request was wrong: 4xx."""
        return 400 <= self.status < 500

    def error(self) -> dict[str, Any]:
        """Give the JSON object of a refusal; empty, if the body is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def __str__(self) -> str:
        """Say what came, on one line: for the messages of checks."""
        return f"{self.status} {self.body[:200]!r}"


def body_of(client: object, group: object, **more: object) -> bytes:
    """Give the body of a call, as Zincati writes it."""
    return json.dumps({"client_params": {"id": client, "group": group}, **more}).encode()


@dataclass(frozen=True, slots=True)
class Server:
    """The server under test: where it is, and how its clients log in. `prefix` is the path of its base URL."""

    host: str
    port: int
    prefix: str
    tls: ssl.SSLContext | None = None
    authorization: str | None = None
    timeout: float = 30.0

    @classmethod
    def at(
        cls, url: str, tls: ssl.SSLContext | None = None, authorization: str | None = None, timeout: float = 30
    ) -> Self:
        """Read a base URL; with or without `/` at its end it means the same. ValueError: it is none."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is no base URL: it begins with http:// or https:// and has no ? and no #")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        context = (tls or ssl.create_default_context()) if secure else None
        return cls(parts.hostname, port, parts.path.rstrip("/"), context, authorization, timeout)

    def path(self, call: str) -> str:
        """Give the path of a call below the base URL."""
        return f"{self.prefix}/v1/{call}"

    def headers(self) -> list[Header]:
        """Give the headers of a good call, apart from the length of its body. Zincati sends no Content-Type."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        found = [("Host", f"{host}:{self.port}"), PROTOCOL]
        return [*found, ("Authorization", self.authorization)] if self.authorization else found

    def request(
        self,
        call: str,
        body: bytes,
        *,
        method: str = "POST",
        path: str | None = None,
        headers: Sequence[Header] | None = None,
        more: Iterable[Header] = (),
        length: int | None = None,
        version: str = "HTTP/1.1",
    ) -> bytes:
        """Write a request; what is not named is as in a good call. `length` -1: no Content-Length at all."""
        lines = [f"{method} {path or self.path(call)} {version}"]
        lines += [f"{name}: {value}" for name, value in [*(self.headers() if headers is None else headers), *more]]
        if length != -1:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def connect(self) -> "Connection":
        """Open a connection. OSError: there is no server."""
        plain = socket.create_connection((self.host, self.port), timeout=self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is None:
            return Connection(plain)
        try:
            return Connection(self.tls.wrap_socket(plain, server_hostname=self.host))
        except OSError:
            plain.close()
            raise

    def ask(self, call: str, body: bytes, method: str = "POST", **changes: Any) -> Answer:
        """Make one call on a connection of its own."""
        with self.connect() as connection:
            connection.send(self.request(call, body, method=method, **changes))
            return connection.answer(method)


class Connection:
    """One connection to the server."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._file = channel.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes. A server that has already answered and closed is no error: `answer` says what it said."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self._channel.sendall(data)

    def answer(self, method: str = "POST") -> Answer:
        """Read one answer; further ones may follow on the connection. NoAnswerError: none came."""
        response = HTTPResponse(_Shared(self._file), method=method)  # type: ignore[arg-type]  # only makefile is used
        try:
            response.begin()
            body = response.read()
        except (OSError, HTTPException) as error:
            raise NoAnswerError(f"no answer: {error or type(error).__name__}") from error
        return Answer(response.status, body, response.will_close)

    def interim(self) -> int:
        """Read one answer that has a head alone, such as `100 Continue`, and give its status."""
        try:
            head = self._file.readline().split()
            while self._file.readline().strip():
                pass
            return int(head[1])
        except (OSError, ValueError, IndexError) as error:
            raise NoAnswerError(f"no answer: {error}") from error

    def is_closed(self) -> bool:
        """Whether the server closes the connection within the limit, and sends nothing before."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True
        except OSError:
            return False

    def reset(self) -> None:
        """Close so that the server's next bytes meet an error, as after a crash of the client."""
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close, whatever is still to come."""
        self._file.close()
        self._channel.close()


class _Shared:
    """Lets several answers be read from one buffered file, which outlives each of them."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def makefile(self, *_: object) -> "_Shared":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        """Leave the file open."""
