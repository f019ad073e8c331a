"""Accepts connections, within limits: of their number, and of the time of each.

- At most `CONNECTIONS`. A new client takes the place of one that has sent no whole request: see `dispensable`.
- Each connection is ended at its deadline.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from locksmith.server.access import plain_address
from locksmith.server.connection import REQUEST_LIMIT, Connection, Guest
from locksmith.util.ratelimit import RateLimit
from locksmith.util.visits import Stage, dispensable, origin

log = logging.getLogger(__name__)

CONNECTIONS: Final = 512
"""Below the 1024 descriptors of a service, of which etcd's connections need some."""
GRACE: Final = 0.2
"""Seconds in which a new connection is not ended for another: many clients may come at one moment."""
ROOM_PAUSE: Final = 0.02
SWEEP: Final = 0.5
"""Seconds between two looks at the deadlines."""
SHUTDOWN_LIMIT: Final = 2.0
"""Seconds for the end of TLS."""
NO_DESCRIPTOR_PAUSE: Final = 1.0
WARNINGS: Final = 1 / 600
"""Per second: clients can cause a warning."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Door:
    """Serves an app on a socket until `close`. `context` gives the TLS context for a new connection."""

    def __init__(
        self, listener: socket.socket, config: Config, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self._listener, self._config, self._context = listener, config, context
        self._state = ServerState()
        self._guests: dict[Guest, asyncio.Task[None]] = {}
        self._crowded, self._failed = RateLimit(1, WARNINGS), RateLimit(1, WARNINGS)
        self._changed = asyncio.Event()
        self._serving: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        self._serving = [asyncio.ensure_future(self._serve()), asyncio.ensure_future(self._sweep())]

    async def close(self, limit: float) -> None:
        """Accept no more, let each answer that is under way be sent within `limit` seconds, and end all."""
        if not self._serving:
            return
        accepting, sweeping = self._serving
        self._serving = []
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        self._listener.close()
        for guest in list(self._guests):
            if guest.protocol is None:
                guest.end()
            else:
                guest.protocol.finish()
        try:
            async with asyncio.timeout(limit):
                while self._guests:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("%d connections did not end in time, and are closed", len(self._guests))
        for guest in list(self._guests):
            guest.end()
        sweeping.cancel()
        await asyncio.gather(sweeping, *self._guests.values(), return_exceptions=True)
        await asyncio.sleep(0)  # the transports' last calls

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room()
            # Not the loop's own `sock_accept`: if it is cancelled, it may lose a connection.
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                await self._incoming(loop)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._warn(self._failed, "the server takes no connection: %s", error.strerror)
                    await asyncio.sleep(NO_DESCRIPTOR_PAUSE)
            else:
                connection.setblocking(False)
                self._welcome(connection, address)
                await asyncio.sleep(0)  # what has come is read before the next connection is accepted

    async def _room(self) -> None:
        """Wait while there is no room, and each connection has a request that is worked on, or has hardly begun."""
        while len(self._guests) >= CONNECTIONS:
            waiting, now = self._waiting(), asyncio.get_running_loop().time()
            if waiting and dispensable(waiting).since + GRACE <= now:
                return
            await asyncio.sleep(ROOM_PAUSE)

    def _waiting(self) -> list[Guest]:
        return [guest for guest in self._guests if guest.stage is not Stage.ASKED]

    def _end_one(self) -> None:
        guest = dispensable(self._waiting())
        self._forget(guest)
        guest.end()
        self._warn(
            self._crowded,
            "there are more than %d connections: those without a request are closed, as one from %s",
            CONNECTIONS,
            guest.client,
        )

    def _welcome(self, connection: socket.socket, address: Any) -> None:
        if len(self._guests) >= CONNECTIONS:
            self._end_one()
        guest = Guest(origin(address), address=str(plain_address(str(address[0]))), connection=connection)
        guest.since = asyncio.get_running_loop().time()
        guest.deadline = guest.since + REQUEST_LIMIT
        self._guests[guest] = asyncio.ensure_future(self._attach(connection, guest))

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

    def _forget(self, guest: Guest) -> None:
        self._guests.pop(guest, None)
        self._changed.set()

    async def _incoming(self, loop: asyncio.AbstractEventLoop) -> None:
        incoming = asyncio.Event()
        loop.add_reader(self._listener, incoming.set)
        try:
            await incoming.wait()
        finally:
            loop.remove_reader(self._listener)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP)
            now = loop.time()
            for guest in [guest for guest in self._guests if guest.deadline < now]:
                guest.end()

    def _warn(self, limit: RateLimit, text: str, *args: Any) -> None:
        if limit.allows(asyncio.get_running_loop().time()):
            log.warning(text, *args)
