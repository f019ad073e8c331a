"""Accepts connections, within limits: of their number, and of the time of each.

- A connection that has sent nothing, or a part of a head, waits in the lobby at the cost of a socket. So thousands of
  them fit there.
- When the head of its request has come, it goes inside, to uvicorn. At most `INSIDE` are there. Of those that wait for
  that, each client has its turn.
- If there is no room, a new connection takes the place of one without a whole request: see `dispensable`.
- Each connection is ended at its deadline.

Above 300 lines, in one piece: the same limits count a connection while it waits, is inside, and ends.
"""

import asyncio
import itertools
import logging
import resource
import socket
import ssl
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from locksmith.errors import HostError
from locksmith.server.access import plain_address
from locksmith.server.connection import REQUEST_LIMIT, Connection, Guest
from locksmith.server.first_bytes import LARGEST_HEAD, is_whole_head, is_whole_hello
from locksmith.util.listener import accept
from locksmith.util.ratelimit import RateLimit
from locksmith.util.visits import RESET, Stage, dispensable, origin

log = logging.getLogger(__name__)

INSIDE: Final = 512
LOBBY: Final = 16_384
PARKED: Final = 16_384
"""Machines that wait for a slot, or have just been answered: they keep no other from coming inside."""
SPARE: Final = 256
"""File descriptors for all else: etcd, hooks, the log."""
THINNED: Final = 16
"""If the lobby is full, one of so many is ended: to choose among thousands takes a moment."""
TOGETHER: Final = 8
"""Connections that are accepted, or come inside, in one round of the event loop.

While hundreds of calls are worked on, a round takes long: with one connection in each, those who come wait for minutes.
"""
GRACE: Final = 0.2
"""Seconds in which a connection inside is not ended for another: many clients may come at one moment."""
ROOM_PAUSE: Final = 0.02
SWEEP: Final = 0.5
"""Seconds between two checks of the deadlines."""
SHUTDOWN_LIMIT: Final = 2.0
"""Seconds for the end of TLS."""
WARNINGS: Final = 1 / 600
"""Per second: clients can cause a warning."""


def size_of_lobby() -> int:
    """Give how many connections may wait, and have this process get the descriptors: systemd gives 1024 at first."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = LOBBY + PARKED + INSIDE + SPARE
    soft = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    left = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - INSIDE - SPARE
    return max(THINNED, min(LOBBY, left - PARKED if left > 2 * PARKED else left // 2))


class Door:
    """Serves an app on a socket until `close`. `context` gives the TLS context for a new connection."""

    def __init__(
        self,
        listener: socket.socket,
        config: Config,
        context: Callable[[], ssl.SSLContext] | None = None,
        *,
        lobby: int = SPARE,
        inside: int = INSIDE,
    ) -> None:
        self._listener, self._config, self._context = listener, config, context
        self._is_whole = is_whole_hello if context else is_whole_head
        self._lobby, self._most = lobby, inside
        self._state = ServerState()
        self._waiting: dict[Guest, socket.socket] = {}
        self._ready: OrderedDict[str, deque[Guest]] = OrderedDict()
        self._inside: dict[Guest, asyncio.Task[None]] = {}
        self._parked: set[Guest] = set()
        self._crowded, self._failed = RateLimit(1, WARNINGS), RateLimit(1, WARNINGS)
        self._come, self._gone = asyncio.Event(), asyncio.Event()
        self._serving: list[asyncio.Task[None]] = []

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._waiting) + len(self._inside)

    def open(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        self._serving = [asyncio.ensure_future(part()) for part in (self._accept, self._admit, self._sweep)]

    async def until(self, stopping: asyncio.Event) -> None:
        """Wait until it is to stop. `HostError`: a defect keeps it from accepting; systemd starts the server again."""
        stop = asyncio.ensure_future(stopping.wait())
        done, _ = await asyncio.wait({stop, *self._serving}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in done - {stop}:
            error = task.exception()
            raise HostError(f"no connection is accepted any more: {type(error).__name__}: {error}")

    async def close(self, limit: float, draining: Callable[[], None] = lambda: None) -> None:
        """Accept no more, let each answer that is under way be sent within `limit` seconds, and end all.

        `draining` answers those who wait. By then each of their connections is to end with its answer, so no client
        sends its next request to this server.
        """
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._serving = []
        self._listener.close()
        for guest in list(self._waiting):
            self._turn_away(guest)
        for guest in list(self._inside):
            if guest.protocol is None:
                guest.end()
            else:
                guest.protocol.finish()
        draining()
        try:
            async with asyncio.timeout(limit):
                while self._inside:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            log.warning("%d connections did not end in time, and are closed", len(self._inside))
        left = dict(self._inside)
        for guest in left:
            guest.end()
        await asyncio.gather(*left.values(), return_exceptions=True)
        await asyncio.sleep(0)  # the transports' last calls

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for number in itertools.count(1):
            if (came := await accept(self._listener, self._cannot_accept)) is None:
                continue
            connection, address = came
            with suppress(OSError):
                # asyncio would not, as the listener's protocol has no number: each answer on a kept connection would
                # wait 40 ms for an acknowledgement.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._welcome(loop, connection, address)
            except BaseException:
                connection.close()
                raise
            if number % TOGETHER == 0:
                await asyncio.sleep(0)  # what has come is read before the next connections are accepted

    def _cannot_accept(self, why: str) -> None:
        self._warn(self._failed, "the server takes no connection: %s", why)

    def _welcome(self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: Any) -> None:
        if len(self._waiting) >= self._lobby:
            self._thin_out()
        where = str(plain_address(str(address[0])))
        guest = Guest(origin(address), address=where, connection=connection, parks=self._park)
        guest.deadline = loop.time() + REQUEST_LIMIT
        self._waiting[guest] = connection
        loop.add_reader(connection, self._speaks, guest)

    def _thin_out(self) -> None:
        crowd = Counter(guest.client for guest in self._waiting)
        ranked = sorted(self._waiting, key=lambda guest: (-crowd[guest.client], guest.stage))
        for guest in ranked[: max(1, len(ranked) // THINNED)]:
            self._turn_away(guest)
        self._tell_crowd(self._lobby, ranked[0])

    def _turn_away(self, guest: Guest) -> None:
        """End a connection of the lobby, with a reset."""
        connection = self._waiting.pop(guest)
        asyncio.get_running_loop().remove_reader(connection)
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()

    def _speaks(self, guest: Guest) -> None:
        """See what has come, without taking it. The kernel tells when there is more (SO_RCVLOWAT, socket(7))."""
        connection = self._waiting[guest]
        try:
            seen = connection.recv(LARGEST_HEAD, socket.MSG_PEEK)
            # If it does not grow, the client has ended its side: that is seen inside.
            whole = not seen or self._is_whole(seen) or len(seen) <= guest.seen
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if whole else len(seen) + 1)
        except BlockingIOError:
            return
        except OSError:
            self._turn_away(guest)
            return
        if not seen:
            self._turn_away(guest)
            return
        guest.hear()
        guest.seen = len(seen)
        if not whole:
            return
        asyncio.get_running_loop().remove_reader(connection)
        self._ready.setdefault(guest.client, deque()).append(guest)
        self._come.set()

    async def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        for number in itertools.count(1):
            guest = await self._next()
            await self._room(loop)
            if (connection := self._waiting.pop(guest, None)) is None:  # its time has ended meanwhile
                continue
            if self._places_taken >= self._most:
                self._end_one()
            guest.since = loop.time()
            guest.deadline = guest.since + REQUEST_LIMIT
            self._inside[guest] = asyncio.ensure_future(self._attach(connection, guest))
            if number % TOGETHER == 0:
                await asyncio.sleep(0)

    async def _next(self) -> Guest:
        """Wait for a connection that goes inside: of each client one, in turn."""
        while not self._ready:
            self._come.clear()
            await self._come.wait()
        client, guests = self._ready.popitem(last=False)
        guest = guests.popleft()
        if guests:
            self._ready[client] = guests
        return guest

    async def _room(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait while each connection inside has a request that is worked on, or has hardly begun."""
        while self._places_taken >= self._most:
            idle = self._without_request()
            if idle and dispensable(idle).since + GRACE <= loop.time():
                return
            if not idle:
                self._shorten()
            await asyncio.sleep(ROOM_PAUSE)

    def _shorten(self) -> None:
        """Have clients of several connections end some with their next answers, for those who wait.

        They may have sent hundreds of requests in each.
        """
        inside = [guest for guest in self._inside if guest not in self._parked and guest.protocol is not None]
        going_on = [guest for guest in inside if not guest.last]
        waiting = 1 + sum(map(len, self._ready.values()))
        for _ in range(min(TOGETHER, waiting - (len(inside) - len(going_on)))):
            most = max(Counter(guest.client for guest in going_on).values(), default=0)
            if most > 1 and (protocol := (guest := dispensable(going_on)).protocol) is not None:
                protocol.finish()
                going_on.remove(guest)

    def _without_request(self) -> list[Guest]:
        return [guest for guest in self._inside if guest.stage is not Stage.ASKED and guest not in self._parked]

    def _end_one(self) -> None:
        guest = dispensable(self._without_request())
        self._forget(guest)
        guest.end()
        self._tell_crowd(self._most, guest)

    def _tell_crowd(self, most: int, guest: Guest) -> None:
        text = "there are more than %d connections: those without a request are closed, as one from %s"
        self._warn(self._crowded, text, most, guest.client)

    async def _attach(self, connection: socket.socket, guest: Guest) -> None:
        tls: dict[str, Any] = {}
        try:
            if self._context is not None:
                tls = {
                    "ssl": self._context(),
                    "ssl_handshake_timeout": REQUEST_LIMIT,
                    "ssl_shutdown_timeout": SHUTDOWN_LIMIT,
                }
            loop = asyncio.get_running_loop()
            make = lambda: Connection(self._config, self._state, guest, self._forget)  # noqa: E731 - what asyncio takes
            await loop.connect_accepted_socket(make, connection, **tls)
        except OSError as error:  # a handshake that failed; `ssl.SSLError` and `TimeoutError` are of this kind
            log.debug("%s: no TLS: %s", guest.address, error)
            self._forget(guest)

    @property
    def _places_taken(self) -> int:
        return len(self._inside) - len(self._parked)

    def _park(self, guest: Guest, parked: bool) -> None:
        self._parked.discard(guest)
        if not parked or guest not in self._inside:
            return
        if len(self._parked) >= PARKED and (idle := [one for one in self._parked if one.stage is Stage.SILENT]):
            ends = dispensable(idle)
            self._forget(ends)
            ends.end()
        if len(self._parked) < PARKED:
            self._parked.add(guest)

    def _forget(self, guest: Guest) -> None:
        self._inside.pop(guest, None)
        self._parked.discard(guest)
        self._gone.set()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP)
            now = loop.time()
            for guest in [guest for guest in self._waiting if guest.deadline < now]:
                self._turn_away(guest)
            for guest in [guest for guest in self._inside if guest.deadline < now]:
                guest.end()

    def _warn(self, limit: RateLimit, text: str, *args: Any) -> None:
        if limit.allows(asyncio.get_running_loop().time()):
            log.warning(text, *args)
