"""The connections to a server that is asked over HTTP, kept for a call that follows soon.

A server, a proxy or a firewall may drop an idle connection at any moment, also while the next call is on its way. That
must not make the outcome of a call unknown. The rules are those of etcd's connections (store/exchange.py):

- A call that **changes nothing** is sent whole, and once more on a new connection if the answer does not begin.
- A call that **may change something** is sent without its body (`Expect: 100-continue`). The body follows when the
  server has asked for it (store/proof.py). Before that the server does not have the call, so it is sent again on a new
  connection.

A connection is kept for as long as `store/pool.py` says: 5 seconds without a call, and 5 minutes at most. So machines
that do not wait for a slot keep none.
"""

import asyncio
import enum
import socket
from collections.abc import Callable
from typing import Final

from locksmith.store.endpoints import Endpoint
from locksmith.store.link import Link, LinkError, Request
from locksmith.store.pool import Pool
from locksmith.store.proof import Proof

SILENCE: Final = 5.0
"""Seconds after which the kernel ends a kept connection whose peer receives nothing: a firewall has forgotten it."""


class Reuse(enum.Enum):
    """Whether a call may use a connection that an earlier one has left, and leave it for the next."""

    NEVER = enum.auto()
    PROVEN = enum.auto()
    """It may change something."""
    WHOLE = enum.auto()
    """It changes nothing."""


class StaleError(Exception):
    """Not done: the kept connection has ended before the call."""


class KeptLinks:
    """The connections to one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._pool = Pool(endpoint)
        self._proof = Proof()

    def take(self, reuse: Reuse) -> Link | None:
        """Give a connection for a call; None: it needs a new one."""
        if reuse is Reuse.NEVER or (reuse is Reuse.PROVEN and not self._proof.is_likely()):
            return None
        return self._pool.take()

    async def make(self, dialled: socket.socket) -> Link:
        """Give a connection on a connected socket. `OSError`, `LinkError`: it failed."""
        return await self._pool.make(dialled)

    async def send(self, link: Link, request: Request, limit: float, before: Callable[[], None], reuse: Reuse) -> None:
        """Send a call on a kept connection; the server has `limit` seconds to ask for a body. `StaleError`."""
        try:
            link.bound_silence(SILENCE)
            if reuse is Reuse.WHOLE:
                before()
                link.send(request)
                return
            await self._proof.send(link, request, asyncio.get_running_loop().time() + limit)
            before()
            link.send_body()
        except LinkError as error:
            raise StaleError from error

    def leave(self, link: Link, reuse: Reuse, *, whole: bool) -> None:
        """Keep a connection after a whole answer, or end it."""
        if whole and reuse is not Reuse.NEVER:
            self._pool.give(link)
        else:
            link.cut()

    def close(self) -> None:
        """End all connections. Later calls still have a new one each."""
        while (link := self._pool.take()) is not None:
            link.cut()
