"""The body of a request, within its limits, and the answer that is sent to it."""

import asyncio
import logging
from email.utils import formatdate
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from locksmith.server.answers import Answer
from locksmith.server.requests import LARGEST_BODY, TOO_LARGE, TOO_SLOW, too_large
from locksmith.util.visits import Stage

log = logging.getLogger(__name__)

BODY_LIMIT: Final = 10.0
"""Seconds for a body."""
DRAIN_LIMIT: Final = 2.0
"""Seconds in which a client may still send what is not read, so that it sees its answer and no reset."""
MOST_DRAINED: Final = 16 * 1024 * 1024


async def read_body(request: Request, most: int = LARGEST_BODY) -> bytes | Answer:
    """Read the body of a request, or give the answer that refuses it: it may have `most` bytes.

    `ClientDisconnect`: the client is gone.
    """
    raw = bytearray()
    try:
        # A whole one is there already. Thousands of machines call, and each limit is one more timer of the event loop.
        async with asyncio.timeout(None if _is_whole(request) else BODY_LIMIT):
            async for piece in request.stream():
                raw += piece
                if len(raw) > most:
                    return TOO_LARGE if most == LARGEST_BODY else too_large(most)
    except TimeoutError:
        return TOO_SLOW
    return bytes(raw)


def _is_whole(request: Request) -> bool:
    guest = getattr(request.state, "guest", None)
    return guest is not None and guest.stage is Stage.ASKED


class Reply(Response):
    """Sends an answer. If a client still sends what is not read, it may go on for a moment, so that it sees it."""

    def __init__(self, request: Request, answer: Answer) -> None:
        headers = {**answer.headers, **date(), **({"Connection": "close"} if answer.closes else {})}
        super().__init__(answer.body, answer.status, headers, media_type="application/json")
        self._closes = answer.closes
        kind = answer.refusal.kind.value if answer.refusal else "granted"
        address = getattr(getattr(request.state, "guest", None), "address", "")
        log.debug("%s %s %s: %d %s", address, request.method, request.scope["path"], answer.status, kind)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        if not self._closes:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # The body is whole by its length; `more_body` keeps the connection.
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    left = MOST_DRAINED
    try:
        async with asyncio.timeout(DRAIN_LIMIT):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return


def date() -> dict[str, str]:
    """Give the header `Date`, which uvicorn is kept from."""
    return {"Date": formatdate(usegmt=True)}
