"""The API's HTTP: paths, headers, refusals, and answers that a client may know already."""

import asyncio
import json
from collections.abc import Mapping
from email.utils import formatdate
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from locksmith.errors import StoreError
from locksmith.server.api_answers import NotFoundError
from locksmith.server.api_endpoints import VERSION, BadQueryError
from locksmith.util.records import DECIDING
from locksmith.util.secret import redacted
from locksmith.util.text import cut, printable

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Authorization, Cookie",
    "X-Content-Type-Options": "nosniff",
}
"""What each answer has: it is private, and data that no browser may take for a page."""
PIECE: Final = 128 * 1024
"""Bytes of a large answer that are sent at once."""
LONGEST_PATH: Final = 4096
"""Bytes of a path."""


class RefusedError(Exception):
    """A call that is refused: its status, its kind, and a sentence."""

    def __init__(self, status: int, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.kind = status, kind


def refused_by(error: Exception) -> RefusedError | None:
    """Say how a call is refused that ended with this error; None: it is a defect."""
    match error:
        case RefusedError():
            return error
        case BadQueryError():
            return RefusedError(400, "bad_request", str(error))
        case NotFoundError():
            return RefusedError(404, "not_found", str(error))
        case StoreError() | TimeoutError():
            return RefusedError(503, "store", str(error) or "etcd did not answer in time")
        case _:
            return None


def segments(request: Request) -> list[str]:
    """Give the parts of the path below the version, unescaped one by one: a name may have a slash in it."""
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    if len(raw) > LONGEST_PATH:
        raise RefusedError(414, "bad_request", f"a path has at most {LONGEST_PATH} bytes")
    _, _, rest = raw.partition(VERSION.encode())
    try:
        return [unquote_to_bytes(part).decode() for part in rest.strip(b"/").split(b"/")]
    except UnicodeDecodeError:
        raise RefusedError(400, "bad_request", "the path is not UTF-8") from None


def dump(fields: Mapping[str, object]) -> str:
    """Write an object as JSON, without secrets."""
    return json.dumps(redacted(fields, DECIDING))


def found(request: Request, body: bytes, revision: int) -> Response:
    """Give an answer of this revision of the store, or say that the client has it."""
    tag = f'"{revision}-{blake2b(body, digest_size=8).hexdigest()}"'
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return reply(b"", 304, {"ETag": tag})
    return reply(body, 200, {"ETag": tag})


def refusal(status: int, kind: str, sentence: str) -> Response:
    """Give the answer that refuses a call."""
    more = {"Retry-After": "30"} if status == 503 else {}  # noqa: PLR2004 - Service Unavailable
    return reply(dump({"kind": kind, "value": cut(printable(sentence), 1000)}).encode(), status, more)


class Large(Response):
    """Sends its body in pieces: for a client that does not read, a piece is kept, and not all of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), PIECE):
            piece, more = bytes(self.body[start : start + PIECE]), start + PIECE < len(self.body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            await asyncio.sleep(0)  # others have their turn


def reply(body: bytes, status: int, headers: Mapping[str, str]) -> Response:
    """Give an answer with the headers that each has."""
    every = {**HEADERS, "Date": formatdate(usegmt=True), **headers}
    kind = Response if len(body) <= PIECE else Large
    return kind(body, status, every, media_type=None if status == 304 else "application/json")  # noqa: PLR2004
