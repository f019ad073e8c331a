"""The wire of a connection to a message bus: its address, authentication, and bytes in both directions.

If the bus takes no more for a moment, the library's own connection ends, with a traceback in the log. It also reads
every message to its end, of any length. Here bytes that cannot be sent at once wait, within a limit.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Self
from urllib.parse import unquote

from locksmith.host.dbus.errors import BusGoneError
from locksmith.host.dbus.frames import Frame, Frames, NoMessageError

DEFAULT_ADDRESS = "unix:path=/var/run/dbus/system_bus_socket"

MOST_UNSENT = 1 << 20
"""Bytes that may wait until the bus takes them."""
MOST_UNSENT_ANSWERS = MOST_UNSENT // 4
"""Above that only our own calls are sent, and no answers or signals."""
READ_AT_ONCE = 64 << 10
"""Bytes read before other tasks of the loop run: some 400 small messages, a few milliseconds."""
LONGEST_TEXT_LINE = 4096
"""Bytes of a line of the handshake."""

TakeFrame = Callable[[Frame], None]


class Wire(asyncio.BufferedProtocol):
    """A connection: first the handshake, then messages. `ended` tells its end once."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._take: TakeFrame = lambda _frame: None
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(READ_AT_ONCE))
        self._line = bytearray()
        self._frames: Frames | None = None
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[str] = loop.create_future()
        self._reason = ""
        self._serial = 0

    @classmethod
    async def open(cls, address: str | None) -> Self:
        """Connect and authenticate. `OSError`, `BusGoneError`: it failed."""
        last: Exception | None = None
        for path in unix_paths(address or os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or DEFAULT_ADDRESS):
            try:
                _, wire = await asyncio.get_running_loop().create_unix_connection(cls, path)
            except OSError as error:
                last = error
                continue
            try:
                await wire._authenticate()  # noqa: SLF001 - of this class
            except BaseException:
                wire.close()
                raise
            return wire
        raise last or BusGoneError("the address of the system bus names no socket")

    def listen(self, take: TakeFrame) -> None:
        """Have every message taken from now on."""
        self._take = take

    @property
    def alive(self) -> bool:
        """Whether the connection still exists, as far as is known."""
        return self._transport is not None and not self._transport.is_closing() and not self._ended.done()

    def next_serial(self) -> int:
        """Give the number of the next message."""
        self._serial = self._serial % 0xFFFFFFFF + 1
        return self._serial

    def send(self, data: bytes, *, most_unsent: int = MOST_UNSENT) -> bool:
        """Send now, or as soon as the bus takes more; False: the bus has gone, or too much waits already."""
        if self._transport is None or not self.alive or self._transport.get_write_buffer_size() > most_unsent:
            return False
        self._transport.write(data)
        return self.alive

    def send_now(self, data: bytes) -> bool:
        """Give the whole message to the kernel now, or end the connection; False: no byte of it is ever read.

        Bytes that wait in this process for room in the socket could be sent hours later.
        """
        if self._transport is None or not self.alive:
            return False
        self._transport.write(data)
        if self._transport.get_write_buffer_size():
            # The kernel has no whole message: the bus drops a part of a message with the connection.
            self.close()
        return self.alive

    def close(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    async def ended(self) -> str:
        """Wait for the end, and give the reason in a few words."""
        return await asyncio.shield(self._ended)

    async def _authenticate(self) -> None:
        # The bus compares this with the user that the kernel names.
        self.send(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        await self._greeted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport for writes."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a Unix socket's is one; for the type checker
        self._transport = transport

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Give the buffer for the next bytes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the bytes that came."""
        try:
            data: bytes | memoryview = self._buffer[:nbytes]
            if self._frames is None:
                data = self._shake_hands(bytes(data))
            if self._frames is not None:
                for frame in self._frames.feed(data):
                    if not self.alive:
                        return
                    self._take(frame)
        except NoMessageError as error:
            self._reason = str(error)
            self.close()

    def _shake_hands(self, data: bytes) -> bytes:
        """Read the bus' answer to the authentication, and give the bytes after it."""
        self._line += data
        line, found, rest = bytes(self._line).partition(b"\r\n")
        if not found and len(line) < LONGEST_TEXT_LINE:
            return b""
        if not found or line.split(b" ")[0] != b"OK":
            raise NoMessageError("the bus refuses the authentication")
        self._frames = Frames()
        self.send(b"BEGIN\r\n")
        if not self._greeted.done():
            self._greeted.set_result(None)
        return rest

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and why."""
        words = (exc.strerror if isinstance(exc, OSError) else None) or (str(exc) if exc else "")
        reason = self._reason or words or "connection closed"
        self._ended.set_result(reason)
        if not self._greeted.done():
            self._greeted.set_exception(BusGoneError(f"the system bus cannot be reached ({reason})"))


def unix_paths(address: str) -> list[str]:
    """Give the sockets of an address, in their order. `BusGoneError`: it is no address."""
    paths = []
    for one in filter(None, address.split(";")):
        transport, colon, options = one.partition(":")
        values = dict(option.partition("=")[::2] for option in options.split(","))
        if not colon:
            raise BusGoneError(f"the system bus cannot be reached ({address!r} is no address)")
        if transport == "unix" and "path" in values:
            paths.append(unquote(values["path"]))
        elif transport == "unix" and "abstract" in values:
            paths.append("\0" + unquote(values["abstract"]))
    return paths
