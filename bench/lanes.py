"""HTTP to etcd's gateway over kept connections, as cheap as ten thousand clients in one process have to be.

A connection carries one request at a time. An answer is whole once all that it names is there, or the last chunk.
"""

import asyncio
import json
from urllib.parse import urlsplit

from bench.raw import LIMIT, Raw, RawError
from locksmith.store.grpc import Message

END_OF_CHUNKS = b"0\r\n\r\n"


class Lane(asyncio.Protocol):
    """One connection."""

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole."""
        self._got += data
        if self._answer is not None and not self._answer.done() and (body := _whole(self._got)) is not None:
            self._answer.set_result(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the request that waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or EOFError("etcd closed the connection"))

    async def post(self, path: str, fields: Message) -> Message:
        """Send a request and read its answer."""
        assert self._transport is not None
        self._got.clear()
        self._answer = asyncio.get_running_loop().create_future()
        body = json.dumps(fields).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)
        async with asyncio.timeout(self._limit):
            answer = await self._answer
        if not self._got.startswith(b"HTTP/1.1 200"):
            raise RawError(f"{path}: {answer.decode()}")
        return Raw.message(answer)

    def close(self) -> None:
        """Let go."""
        if self._transport is not None:
            self._transport.close()


async def open_lane(url: str, limit: float = LIMIT) -> Lane:
    """Connect; `limit` is for each call, in seconds."""
    at = urlsplit(url)
    async with asyncio.timeout(limit):
        _, lane = await asyncio.get_running_loop().create_connection(
            lambda: Lane(limit), str(at.hostname), at.port or 80
        )
    return lane


def _whole(got: bytearray) -> bytes | None:
    """Give the body of an answer that is all there."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = got.find(b"Content-Length: ", 0, end)
    if length >= 0:
        body = bytes(got[end + 4 :])
        return body if len(body) == int(got[length + 16 : got.find(b"\r\n", length)]) else None
    return _joined(bytes(got[end + 4 :])) if got.endswith(END_OF_CHUNKS) else None


def _joined(chunks: bytes) -> bytes | None:
    body = b""
    while True:
        size, _, rest = chunks.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            return body
        body, chunks = body + rest[:count], rest[count + 2 :]
        if not chunks:
            return None
