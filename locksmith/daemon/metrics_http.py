"""The HTTP of the metrics port: a request, its answer, and the connection ends. Pure except for the registry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app

LARGEST_REQUEST = 8 * 2**10
"""Bytes of a request with its headers; a scrape of Prometheus has some 300."""

PATHS = ("/metrics", "/")

HEAD_END = b"\r\n\r\n"


class BadRequestError(Exception):
    """Cannot be read: the bytes are no HTTP request."""


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that decide its answer."""

    method: str
    path: str
    query: str
    accept: str = ""
    accept_encoding: str = ""


def parse(head: bytes) -> Request:
    """Give the request of a request line and headers. `BadRequestError`: they are no HTTP."""
    line, *fields = head.decode("latin-1").split("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or not parts[0].isalpha():  # noqa: PLR2004 - RFC 9112, 3
        raise BadRequestError
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon:
            raise BadRequestError
        headers[name.lower()] = value.strip()
    path, _, query = parts[1].partition("?")
    return Request(parts[0], path, query, headers.get("accept", ""), headers.get("accept-encoding", ""))


def _write(status: str, headers: Sequence[tuple[str, str]], body: bytes, *, with_body: bool = True) -> bytes:
    fields = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + (body if with_body else b"")


def plain(status: str, text: str) -> bytes:
    """Give an answer with a sentence."""
    return _write(status, [("Content-Type", "text/plain; charset=utf-8")], f"{text}\n".encode())


BAD_REQUEST = plain("400 Bad Request", "This is no HTTP/1.1 request.")
TLS_WANTED = plain("400 Bad Request", "This port speaks TLS: ask with https://.")
TOO_LARGE = plain("431 Request Header Fields Too Large", f"A request may have {LARGEST_REQUEST} bytes.")
NOT_FOUND = plain("404 Not Found", "The metrics are at /metrics.")


class Exposition:
    """The answers, as the client library makes them: Prometheus' text format or OpenMetrics, with gzip if accepted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._app = make_wsgi_app(registry)

    def answer(self, head: bytes) -> bytes:
        """Give the answer to a request. The library may raise any exception for strange headers."""
        try:
            request = parse(head.removesuffix(HEAD_END))
        except BadRequestError:
            return BAD_REQUEST
        return self._ask(request) if request.path in PATHS else NOT_FOUND

    def _ask(self, request: Request) -> bytes:
        said: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            said.extend((status, headers))

        environ = {
            "REQUEST_METHOD": "GET" if request.method == "HEAD" else request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query,
            "HTTP_ACCEPT": request.accept,
            "HTTP_ACCEPT_ENCODING": request.accept_encoding,
        }
        body = b"".join(self._app(environ, start))
        status, headers = said
        return _write(status, headers, body, with_body=request.method != "HEAD")
