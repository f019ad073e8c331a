"""HTTP to etcd's gateway from one event loop, as cheap as thousands of clients in one process have to be."""

import asyncio
import json
from urllib.parse import urlsplit

from locksmith.store.grpc import Message

LIMIT = 600.0
"""Seconds for one answer: etcd is slow while thousands come at once."""


class RawError(Exception):
    """etcd did not do what was asked."""


class Raw:
    """One endpoint. Each request has a connection of its own, as locksmith's have."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self._host, self._port = at.hostname, at.port

    async def call(self, path: str, fields: Message) -> Message:
        """Post one request and read its answer; `RawError` unless etcd did it."""
        return self.message(await self.read(path, fields))

    async def read(self, path: str, fields: Message) -> bytes:
        """Post one request and give its answer as it came."""
        async with asyncio.timeout(LIMIT):
            reader, writer = await self._post(path, fields)
            answer = await reader.read()
            writer.close()
        return answer

    @staticmethod
    def message(answer: bytes) -> Message:
        """Parse an answer."""
        message: Message = json.loads(answer)
        result: Message = message.get("result", message)  # a stream's messages are wrapped
        return result

    async def open_stream(self, path: str, fields: Message) -> asyncio.StreamWriter:
        """Post one request and wait for the first message of its answer; the stream lasts as long as its writer."""
        async with asyncio.timeout(LIMIT):
            reader, writer = await self._post(path, fields)
            await reader.readline()
        return writer

    async def _post(self, path: str, fields: Message) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        body = json.dumps(fields).encode()
        # HTTP/1.0: one request, and an answer without chunks.
        writer.write(f"POST {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.split(maxsplit=2)[1] != "200":
            raise RawError(f"{path}: {head.partition(chr(13))[0]} {(await reader.read()).decode()}")
        return reader, writer
