"""Server-sent events: the browser is told that something has changed, and fetches the page again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from locksmith.server.web.fleet import Fleet

BEAT: Final = 15.0
"""Seconds between two signs of life: a proxy on the way may end a silent connection."""
LIFE: Final = 300.0
"""Seconds after which a stream ends, and the browser begins another: its credential is checked again then."""
MOST: Final = 64
"""Streams at once."""
MOST_EACH: Final = 8
"""Streams of one person at once."""
RETRY: Final = 3000
"""Milliseconds after which a browser begins another stream."""
GRACE: Final = 30.0
"""Seconds within which a client must have taken what was sent."""


class Streams:
    """The streams that are open, and whose they are."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._open: dict[str, list[asyncio.Future[None]]] = {}
        """For each person, what ends each of their streams; the oldest is the first."""

    def makes_room(self, who: str) -> bool:
        """Tell whether a person gets one stream more now.

        If no more may be open, the oldest stream of the person with most ends for it, if that person has still as many
        then as the other has. So a few people do not keep the others out.
        """
        own = len(self._open.get(who, ()))
        if own >= MOST_EACH:
            return False
        if sum(map(len, self._open.values())) < MOST:
            return True
        most = max(self._open.values(), key=len)
        if len(most) < own + 2:
            return False
        most.pop(0).set_result(None)
        return True

    def stream(self, request: Request, who: str, groups: Sequence[str], headers: dict[str, str]) -> StreamingResponse:
        """Give the answer that tells of the changes of these groups."""
        given = {**headers, "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return _Stream(_until(ended, self._events(request, groups)), given, self._open, who, ended)

    async def _events(self, request: Request, groups: Sequence[str]) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + LIFE
        _prolong(request, loop.time())
        yield f"retry: {RETRY}\n: locksmith\n\n".encode()
        async for changed in self._fleet.changes(groups, BEAT):
            _prolong(request, loop.time())
            yield b"event: change\ndata: \n\n" if changed else b": \n\n"
            if loop.time() > ends:
                return


class _Stream(StreamingResponse):
    """A stream that is counted while it is open, or until it is ended for another."""

    def __init__(
        self,
        content: AsyncIterator[bytes],
        headers: dict[str, str],
        opened: dict[str, list[asyncio.Future[None]]],
        who: str,
        ended: "asyncio.Future[None]",
    ) -> None:
        super().__init__(content, headers=headers)
        self._opened, self._who, self._ended = opened, who, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, until its end or the client's."""
        self._opened.setdefault(self._who, []).append(self._ended)
        try:
            await super().__call__(scope, receive, send)
        finally:
            own = self._opened[self._who]
            if self._ended in own:
                own.remove(self._ended)
            if not own:
                del self._opened[self._who]


async def _until(ended: "asyncio.Future[None]", events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give events until `ended` is."""
    while not ended.done():
        event = asyncio.ensure_future(anext(events, b""))
        try:
            either: set[asyncio.Future[Any]] = {event, ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not event.done():
                event.cancel()
                await asyncio.gather(event, return_exceptions=True)
        if event.cancelled() or not (told := event.result()):
            return
        yield told


def _prolong(request: Request, now: float) -> None:
    """Let the connection live until the next sign of life: its deadline is for answers that end."""
    guest = getattr(request.state, "guest", None)
    if guest is not None:
        guest.deadline = now + BEAT + GRACE
