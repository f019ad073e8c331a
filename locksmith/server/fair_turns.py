"""Requests for the page, the API and the metrics: a few are worked on at once, and each caller has its turn.

All of them are made by one event loop. If one caller sends hundreds of requests at a moment, each other request would
wait for those hundreds. So of each origin one goes on, then one of the next; and of the credentials that an origin
shows, as a proxy does, one after another too. A caller may have `MOST_WAITING` requests that wait. More are refused,
and their connections end.

A turn is for work. If a request waits for etcd, its turn is over after `HOLD` seconds, and another begins.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from locksmith.errors import LocksmithError
from locksmith.server.api_http import refusal
from locksmith.server.connection import CLOSE

AT_ONCE: Final = 4
"""Requests that are worked on at once: those of some find all in memory while one reads etcd."""
MOST_WAITING: Final = 64
"""Requests of a credential that wait; a browser sends six at once."""
HOLD: Final = 0.25
"""Seconds after which a turn is over whose request waits for something else."""
RETRY_AFTER: Final = 5
"""Seconds after which who was refused may ask again."""

Handler = Callable[[Request], Awaitable[Response]]


class CrowdedError(LocksmithError):
    """Refused: too many requests of one caller wait."""


class _Turn:
    """A turn that has begun. It is over once: with its request, or by the time."""

    __slots__ = ("_clock", "_done")

    def __init__(self, done: Callable[[], None]) -> None:
        self._done: Callable[[], None] | None = done
        self._clock = asyncio.get_running_loop().call_later(HOLD, self.end)

    def end(self) -> None:
        self._clock.cancel()
        done, self._done = self._done, None
        if done is not None:
            # Not at once: most requests end without a wait, and many have come since the loop looked for them.
            asyncio.get_running_loop().call_soon(done)


class FairTurns:
    """Who works, and who waits, by origin and credential."""

    def __init__(self, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING) -> None:
        self._free, self._most = at_once, most_waiting
        self._waiting: OrderedDict[str, OrderedDict[str, deque[asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, origin: str, credential: str) -> AsyncIterator[None]:
        """Wait for a turn; `CrowdedError`: too many requests with this credential wait already."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(origin, credential)
        turn = _Turn(self._pass_on)
        try:
            yield
        finally:
            turn.end()

    async def _wait(self, origin: str, credential: str) -> None:
        queue = self._waiting.setdefault(origin, OrderedDict()).setdefault(credential, deque())
        if len(queue) >= self._most:
            raise CrowdedError
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()  # it had its turn a moment ago
            raise

    def _pass_on(self) -> None:
        """Give the turn to the next who waits."""
        while self._waiting:
            origin, credentials = self._waiting.popitem(last=False)
            credential, queue = credentials.popitem(last=False)
            first = queue.popleft()
            if queue:
                credentials[credential] = queue
            if credentials:
                self._waiting[origin] = credentials
            if not first.done():
                first.set_result(None)
                return
        self._free += 1

    def routes(self, routes: Sequence[BaseRoute]) -> list[BaseRoute]:
        """Give the same routes, whose GET requests take turns."""
        return [self._taking_turns(one) if isinstance(one, Route) and _is_get(one) else one for one in routes]

    def _taking_turns(self, route: Route) -> Route:
        handler: Handler = route.endpoint

        async def handle(request: Request) -> Response:
            request.state.asked = asyncio.get_running_loop().time()
            try:
                async with self.turn(*_caller(request)):
                    return await handler(request)
            except CrowdedError:
                return _crowded()

        return Route(route.path, handle, methods=["GET"])


def _is_get(route: Route) -> bool:
    return "GET" in (route.methods or ())


def _caller(request: Request) -> tuple[str, str]:
    """Give the origin of a request, and what it shows as its credential: whether that is right is seen later."""
    shown = request.headers.get("authorization", "") or request.headers.get("cookie", "")
    return str(request.state.guest.client), shown


def _crowded() -> Response:
    sentence = f"more than {MOST_WAITING} requests with this credential wait here: ask for less at once"
    response = refusal(429, "too_many", sentence)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    response.raw_headers.append(CLOSE)
    return response
