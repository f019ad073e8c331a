"""Server-sent events: the browser is told that something has changed, and fetches the page again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final

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
        self._open: Counter[str] = Counter()

    def is_full(self, who: str) -> bool:
        """Tell whether a person gets no further stream now."""
        return self._open.total() >= MOST or self._open[who] >= MOST_EACH

    def stream(self, request: Request, who: str, groups: Sequence[str], headers: dict[str, str]) -> StreamingResponse:
        """Give the answer that tells of the changes of these groups."""
        given = {**headers, "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return _Stream(self._events(request, groups), given, self._open, who)

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
    """A stream that is counted while it is open."""

    def __init__(self, content: AsyncIterator[bytes], headers: dict[str, str], counts: Counter[str], who: str) -> None:
        super().__init__(content, headers=headers)
        self._counts, self._who = counts, who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, until its end or the client's."""
        self._counts[self._who] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._counts[self._who] -= 1
            self._counts += Counter()  # without those who have none


def _prolong(request: Request, now: float) -> None:
    """Let the connection live until the next sign of life: its deadline is for answers that end."""
    guest = getattr(request.state, "guest", None)
    if guest is not None:
        guest.deadline = now + BEAT + GRACE
