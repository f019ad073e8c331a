"""A connection of the metrics port: reads and writes of a non-blocking socket, with TLS or without.

asyncio's own transports read as fast as a client sends, so a client that sends single bytes would keep the interpreter
busy. They also have 256 KiB for each TLS connection. A channel reads only on request, and pauses between many small
reads.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar

from locksmith.daemon.metrics_http import TLS_WANTED

T = TypeVar("T")

PIECE = 16 * 2**10
FREE_READS = 8
"""A handshake and a request take at most four."""
READ_PAUSE = 0.05
"""Seconds between two further reads."""


class Channel(Protocol):
    """The operations of a connection. `OSError`, `EOFError`: the client is gone, or breaks the protocol."""

    async def receive(self) -> bytes:
        """Give the next bytes, at least one."""

    async def send(self, data: bytes) -> None:
        """Send all bytes."""

    async def end(self) -> None:
        """Say that no more bytes follow."""


class Plain:
    """Without TLS. `heard` is called whenever bytes have come."""

    def __init__(self, connection: socket.socket, heard: Callable[[], None]) -> None:
        self._socket = connection
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._reads = 0

    async def receive(self) -> bytes:
        """Give the next bytes."""
        self._reads += 1
        if self._reads > FREE_READS:
            await asyncio.sleep(READ_PAUSE)
        data = await self._loop.sock_recv(self._socket, PIECE)
        if not data:
            raise EOFError
        self._heard()
        return data

    async def send(self, data: bytes) -> None:
        """Send all bytes."""
        await self._loop.sock_sendall(self._socket, data)

    async def end(self) -> None:
        """Close the socket for writing, and drop unread bytes: they would reset the connection and lose the answer."""
        self._socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(BlockingIOError):
            self._socket.recv(PIECE)


class Tls:
    """With TLS, over a plain channel; the first call does the handshake."""

    def __init__(self, below: Plain, context: ssl.SSLContext) -> None:
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def receive(self) -> bytes:
        """Give the next bytes."""
        data = await self._run(lambda: self._tls.read(PIECE))
        if not data:
            raise EOFError
        return data

    async def send(self, data: bytes) -> None:
        """Send all bytes."""
        await self._run(lambda: self._tls.write(data))

    async def end(self) -> None:
        """Send the end of TLS, and wait for no answer."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()
        await self._below.end()

    async def _run(self, work: Callable[[], T]) -> T:
        while True:
            try:
                result = work()
            except ssl.SSLWantReadError:
                await self._flush()
                self._incoming.write(await self._below.receive())
            except ssl.SSLError as error:
                await self._flush()  # the alert that says why
                if error.reason == "HTTP_REQUEST":
                    await self._below.send(TLS_WANTED)
                    await self._below.end()
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._below.send(data)
