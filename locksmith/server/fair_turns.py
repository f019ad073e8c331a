"""Requests for the page, the API and the metrics: a few are worked on at once, and each caller has its turn.

All of them are made by one event loop. If one caller sends hundreds of requests at a moment, each other request would
wait for those hundreds. So of each origin one goes on, then one of the next; and of the callers of an origin, as those
of a proxy, one after another too. A caller is who its credential proves, however it is spelled and in each session.
Those whose credential proves nothing are one caller of their origin.

A caller may have `MOST_WAITING` requests that wait, and an origin `MOST_OF_ORIGIN`. More are refused, and their
connections end. A request whose client has gone waits no longer, and is not worked on.

A turn is for work. If a request waits for etcd, its turn is over after `HOLD` seconds, and another begins.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from locksmith.errors import LocksmithError
from locksmith.server.api_http import refusal
from locksmith.server.connection import CLOSE, Guest
from locksmith.server.identity import Identity
from locksmith.server.ports import Identifies

AT_ONCE: Final = 4
"""Requests that are worked on at once: those of some find all in memory while one reads etcd."""
MOST_WAITING: Final = 64
"""Requests of a caller that wait; a browser sends six at once."""
MOST_OF_ORIGIN: Final = 256
"""Requests of an origin that wait; a caller none of whose requests waits may add one all the same."""
HOLD: Final = 0.25
"""Seconds after which a turn is over whose request waits for something else."""
RETRY_AFTER: Final = 5
"""Seconds after which who was refused may ask again."""

Handler = Callable[[Request], Awaitable[Response]]


class CrowdedError(LocksmithError):
    """Refused: too many requests of one caller, or of its origin, wait."""


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
    """Who works, and who waits, by origin and caller. `who` tells the caller of a request, where others wait."""

    def __init__(
        self,
        who: Identifies,
        at_once: int = AT_ONCE,
        most_waiting: int = MOST_WAITING,
        most_of_origin: int = MOST_OF_ORIGIN,
    ) -> None:
        self._who, self._free = who, at_once
        self._most, self._most_of_origin = most_waiting, most_of_origin
        self._waiting: OrderedDict[str, OrderedDict[str, deque[asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, request: Request) -> AsyncIterator[None]:
        """Wait for a turn.

        `CrowdedError`: too many requests of its caller, or its origin, wait already. `ClientDisconnect`: its client has
        gone.
        """
        guest: Guest = request.state.guest
        caller = "" if self._free else await self._caller(request)
        if self._free:
            self._free -= 1
        else:
            await self._wait(guest, caller)
        turn = _Turn(self._pass_on)
        try:
            if guest.gone:
                raise ClientDisconnect
            yield
        finally:
            turn.end()

    async def _caller(self, request: Request) -> str:
        """Name the caller of a request; empty: its credential proves nothing."""
        who = await self._who.identify(request)
        return f"{who.role} {who.name}" if isinstance(who, Identity) else ""

    async def _wait(self, guest: Guest, caller: str) -> None:
        mine = self._place(guest.client, caller)
        guest.when_gone(mine.cancel)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._leave(guest.client, caller, mine)
            else:
                self._pass_on()  # it had its turn a moment ago
            if guest.gone:
                raise ClientDisconnect from None
            raise
        finally:
            guest.when_gone(None)

    def _place(self, origin: str, caller: str) -> "asyncio.Future[None]":
        callers = self._waiting.get(origin, OrderedDict())
        own = callers.get(caller, deque())
        if len(own) >= self._most or (own and sum(map(len, callers.values())) >= self._most_of_origin):
            raise CrowdedError
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        own.append(place)
        callers[caller] = own
        self._waiting[origin] = callers
        return place

    def _leave(self, origin: str, caller: str, place: "asyncio.Future[None]") -> None:
        callers = self._waiting.get(origin, OrderedDict())
        if place not in callers.get(caller, ()):  # passed over already
            return
        callers[caller].remove(place)
        if not callers[caller]:
            del callers[caller]
        if not callers:
            del self._waiting[origin]

    def _pass_on(self) -> None:
        """Give the turn to the next who waits."""
        while self._waiting:
            origin, callers = self._waiting.popitem(last=False)
            caller, queue = callers.popitem(last=False)
            first = queue.popleft()
            if queue:
                callers[caller] = queue
            if callers:
                self._waiting[origin] = callers
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
            try:
                async with self.turn(request):
                    return await handler(request)
            except CrowdedError:
                return _crowded()
            except ClientDisconnect:
                return Response()  # which is not sent

        return Route(route.path, handle, methods=["GET"])


def _is_get(route: Route) -> bool:
    return "GET" in (route.methods or ())


def _crowded() -> Response:
    most = f"{MOST_WAITING} requests of this caller, or {MOST_OF_ORIGIN} of its address,"
    response = refusal(429, "too_many", f"{most} wait here: ask for less at once")
    response.headers["Retry-After"] = str(RETRY_AFTER)
    response.raw_headers.append(CLOSE)
    return response
