"""The server of the metrics port. For every behaviour of clients it takes little from the control loop.

- One thread with its own event loop: no client can make the control loop wait.
- At most `CONNECTIONS` descriptors. A new client takes the place of a client that has sent no request yet.
- About a quarter of a core at most: after more work the thread pauses before it accepts new connections.
- Each connection ends: a request must come within `REQUEST_LIMIT`, and the client must take the answer within
  `ANSWER_LIMIT`.
"""

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from locksmith.daemon.metrics_channel import Channel, Plain, Tls
from locksmith.daemon.metrics_http import HEAD_END, LARGEST_REQUEST, TOO_LARGE, Exposition, plain
from locksmith.util import boottime
from locksmith.util.listener import accept
from locksmith.util.ratelimit import RateLimit
from locksmith.util.visits import NO_RESET, RESET, Stage, Visit, dispensable, origin

log = logging.getLogger(__name__)

CONNECTIONS = 32
"""A Prometheus has one connection at a time, open for some milliseconds."""
REQUEST_LIMIT = 5.0
"""Seconds for the TLS handshake and the request."""
ANSWER_LIMIT = 5.0
"""Seconds for a client to take its answer."""
SHARE = 0.25
"""The share of a core: after more work the thread pauses before it accepts new connections."""
AT_ONCE = 8
"""How many connections it accepts then."""
STOP_LIMIT = 2.0
WARNINGS = 1 / 600
"""Per second: clients can cause a warning."""

_FAILED = plain("500 Internal Server Error", "The metrics cannot be given: see the log of locksmithd.")


class MetricsServer:
    """Serves a registry on a socket until `close`. `context` gives the TLS context for a new connection."""

    def __init__(
        self,
        listener: socket.socket,
        registry: CollectorRegistry,
        context: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._exposition = Exposition(registry)
        self._context = context
        self._visits: dict[Visit, asyncio.Task[None]] = {}
        self._crowded, self._failed = RateLimit(1, WARNINGS), RateLimit(1, WARNINGS)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[None] | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="locksmith metrics", daemon=True)

    def start(self) -> None:
        """Begin. `RuntimeError`: no thread can be started."""
        try:
            self._thread.start()
        except RuntimeError:
            self._listener.close()
            raise

    def close(self) -> None:
        """End every connection, and the thread."""
        if self._ready.wait(STOP_LIMIT) and self._loop is not None and self._serving is not None:
            try:
                self._loop.call_soon_threadsafe(self._serving.cancel)
            except RuntimeError:  # the loop has ended already
                return
            self._thread.join(STOP_LIMIT)

    def _run(self) -> None:
        try:
            boottime.run(self._serve())
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001  # any error: reboots matter more than metrics
            log.error("metrics are no longer served: %s: %s", type(error).__name__, error)  # noqa: TRY400
        finally:
            self._ready.set()
            self._listener.close()

    async def _serve(self) -> None:
        self._loop, self._serving = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        self._listener.setblocking(False)
        worked, at = time.thread_time(), time.monotonic()
        while True:
            for _ in range(AT_ONCE):
                await self._accept()
            rest = (time.thread_time() - worked) / SHARE - (time.monotonic() - at)
            worked, at = time.thread_time(), time.monotonic()
            await asyncio.sleep(max(0.0, rest))

    async def _accept(self) -> None:
        if (came := await accept(self._listener, self._cannot_accept)) is not None:
            connection, address = came
            self._welcome(connection, origin(address))
            await asyncio.sleep(0)  # a request that has arrived is answered before the next connection is accepted

    def _cannot_accept(self, why: str) -> None:
        self._warn(self._failed, "the metrics port takes no connection: %s", why)

    def _welcome(self, connection: socket.socket, client: str) -> None:
        if len(self._visits) >= CONNECTIONS:
            self._end_one()
        visit = Visit(client)

        def end(_task: asyncio.Task[None]) -> None:
            self._visits.pop(visit, None)
            connection.close()

        self._visits[visit] = task = asyncio.ensure_future(self._attend(connection, visit))
        task.add_done_callback(end)

    def _end_one(self) -> None:
        visit = dispensable(list(self._visits))
        self._visits.pop(visit).cancel()
        self._warn(
            self._crowded,
            "the metrics port has more than %d connections: it closes those without a request, as one from %s",
            CONNECTIONS,
            visit.client,
        )

    async def _attend(self, connection: socket.socket, visit: Visit) -> None:
        # Without a clean end, a reset: so the kernel keeps nothing for a client that never takes its end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        try:
            channel = self._channel(Plain(connection, visit.hear))
            async with asyncio.timeout(REQUEST_LIMIT):
                head = await _receive_request(channel)
            visit.stage = Stage.ASKED
            async with asyncio.timeout(ANSWER_LIMIT):
                await channel.send(self._answer(head))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_RESET)
                await channel.end()
        except (OSError, EOFError):
            pass  # the client is too slow (TimeoutError is an OSError), gone, or does not speak HTTP
        except Exception as error:  # noqa: BLE001  # a defect must not fill the log with tracebacks
            self._warn(self._failed, "a client of the metrics port failed: %s: %s", type(error).__name__, error)

    def _channel(self, below: Plain) -> Channel:
        return Tls(below, self._context()) if self._context else below

    def _answer(self, head: bytes) -> bytes:
        if len(head) > LARGEST_REQUEST:
            return TOO_LARGE
        try:
            return self._exposition.answer(head)
        except Exception as error:  # noqa: BLE001  # the library raises any exception for strange headers
            self._warn(self._failed, "metrics cannot be given: %s: %s", type(error).__name__, error)
            return _FAILED

    def _warn(self, limit: RateLimit, text: str, *args: Any) -> None:
        if limit.allows(time.monotonic()):
            log.warning(text, *args)


async def _receive_request(channel: Channel) -> bytes:
    """Read up to the end of the headers, or to more than a request may have."""
    head = b""
    while HEAD_END not in head and len(head) <= LARGEST_REQUEST:
        head += await channel.receive()
    return head.partition(HEAD_END)[0] if HEAD_END in head[:LARGEST_REQUEST] else head
