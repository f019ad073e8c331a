"""The kept connections of an endpoint: which may carry another request, and when they are closed.

A connection is kept for `KEPT` seconds after an answer. While a watch is open one connection is kept longer, because a
write follows an event. `exchange.py` says what a kept connection may carry.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from locksmith.store.endpoints import Endpoint
from locksmith.store.link import Link, LinkError, connect

KEPT = 5.0
"""Seconds without a request. All known proxies and firewalls allow more; and each connection costs etcd memory."""
LONGEST_LIFE = 300.0
"""Seconds after which a connection is replaced, so that a new certificate or address of the server counts."""
SPARE = 2
"""Connections that are kept, at most."""


class Pool:
    """All connections to an endpoint, also those in use."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._links: set[Link] = set()
        self._idle: dict[Link, float] = {}
        self._streams = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self) -> Link | None:
        """Give the kept connection that was used last; None: none may be used."""
        self._drop_old()
        return self._idle.popitem()[0] if self._idle else None

    async def make(self, dialled: socket.socket) -> Link:
        """Give a connection on a connected socket. `OSError`, `LinkError`: it failed."""
        link = await connect(self.endpoint, dialled, self.endpoint.context)
        self._links.add(link)
        link.ended = lambda: self._forget(link)
        if self._closed:
            link.cut()
            raise LinkError("the connection was closed")
        return link

    def give(self, link: Link) -> None:
        """Keep a connection whose request was answered, or close it."""
        if self._closed or len(self._idle) >= SPARE or not link.ready():
            link.cut()
            return
        self._idle[link] = asyncio.get_running_loop().time()
        self._set_timer()

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Note that a watch is open during this block."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    def close(self) -> None:
        """End all connections, also those in use; further connections are refused."""
        self._closed = True
        for link in tuple(self._links):
            link.cut()
        if self._timer is not None:
            self._timer.cancel()

    def _forget(self, link: Link) -> None:
        self._links.discard(link)
        self._idle.pop(link, None)

    def _drop_old(self) -> None:
        now, context = asyncio.get_running_loop().time(), self.endpoint.context
        for link, since in tuple(self._idle.items()):
            last = self._streams and len(self._idle) == 1
            too_old = now - since >= KEPT and not last
            if too_old or now - link.made >= LONGEST_LIFE or link.context is not context:
                link.cut()

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._drop_old()
        if self._idle:
            self._set_timer()
