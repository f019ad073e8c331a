"""A bus that greets, and then says what no message is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.dbus import Message, MessageType, written

HELLO = Message(
    message_type=MessageType.METHOD_RETURN,
    sender="org.freedesktop.DBus",
    destination=":1.1",
    signature="s",
    body=[":1.1"],
    reply_serial=1,
    serial=1,
)


def message(text: str = "x") -> bytearray:
    """Give the bytes of a signal."""
    said = Message(
        message_type=MessageType.SIGNAL,
        sender=":1.2",
        path="/a",
        interface="a.b",
        member="C",
        signature="s",
        body=[text],
        serial=2,
    )
    return bytearray(said._marshall(False))


@asynccontextmanager
async def rubbish_bus(folder: Path, rubbish: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """Run it: its address, and a list that grows with each connection; each is told the same."""
    connections: list[int] = []

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        serving.add(asyncio.ensure_future(_talk(reader, writer, rubbish)))

    server = await asyncio.start_unix_server(serve, folder / "bus")
    async with server:
        yield f"unix:path={folder / 'bus'}", connections
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rubbish: bytes) -> None:
    try:
        await reader.readuntil(b"\r\n")
        writer.write(b"OK 1234deadbeef\r\n")
        while await reader.readuntil(b"\r\n") != b"BEGIN\r\n":
            writer.write(b"AGREE_UNIX_FD\r\n")
        await reader.read(1)
        writer.write(written(HELLO))
        await asyncio.sleep(0.05)
        writer.write(rubbish)
        await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
