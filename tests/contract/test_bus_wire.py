"""The wire to a bus that takes nothing for a while, that refuses us, or that is not there."""

import asyncio
import contextlib

import pytest

from locksmith.host.dbus.errors import BusGoneError
from locksmith.host.dbus.wire import MOST_UNSENT, MOST_UNSENT_ANSWERS, Wire, unix_paths
from tests.harness.waiting import until


@contextlib.asynccontextmanager
async def server(path, answer=b"OK 1234deadbeef\r\n"):
    """A bus that answers the handshake and reads nothing until told to; what it has read."""
    reading, read = asyncio.Event(), bytearray()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n")
        writer.write(answer)
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"BEGIN\r\n")
            await reading.wait()
            while data := await reader.read(65536):
                read.extend(data)
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield reading, read
        reading.set()


async def test_what_a_bus_does_not_take_waits_within_a_limit_and_comes_in_order(tmp_path):
    async with server(tmp_path / "bus") as (reading, read):
        wire = await Wire.open(f"unix:path={tmp_path / 'bus'}")
        sent = bytearray()
        for part in (bytes([number % 256]) * 1000 for number in range(100_000)):
            if not wire.send(part):
                break
            sent += part
        assert wire.alive
        assert MOST_UNSENT < len(sent) < 2 * MOST_UNSENT
        assert not wire.send(b"an answer", most_unsent=MOST_UNSENT_ANSWERS)
        reading.set()
        await until(lambda: len(read) == len(sent), "all of it is read")
        assert read == sent
        assert wire.send(b"more", most_unsent=MOST_UNSENT_ANSWERS)
        wire.close()
        await wire.ended()


@pytest.mark.parametrize("answer", [b"REJECTED EXTERNAL\r\n", b"HTTP/1.1 400\r\n", b"x" * 10_000])
async def test_a_bus_that_does_not_let_us_in_is_out_of_reach(tmp_path, answer):
    async with server(tmp_path / "bus", answer):
        with pytest.raises(BusGoneError, match="the bus refuses the authentication"):
            await Wire.open(f"unix:path={tmp_path / 'bus'}")


@pytest.mark.parametrize(
    ("address", "paths"),
    [
        ("unix:path=/run/bus,guid=12", ["/run/bus"]),
        ("unix:abstract=/tmp/x%20y;unix:path=/b", ["\0/tmp/x y", "/b"]),
        ("tcp:host=localhost;unix:path=/b", ["/b"]),
        ("", []),
    ],
)
def test_an_address_names_its_sockets_in_order(address, paths):
    assert unix_paths(address) == paths


async def test_the_first_socket_that_is_there_is_taken(tmp_path):
    async with server(tmp_path / "bus"):
        wire = await Wire.open(f"unix:path=/nowhere;unix:path={tmp_path / 'bus'}")
        wire.close()
        assert await wire.ended() == "connection closed"
    with pytest.raises(BusGoneError, match="names no socket"):
        await Wire.open("tcp:host=localhost")
