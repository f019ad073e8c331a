"""Machines that wait for a slot keep no other caller out, and a server that stops answers them at once."""

import asyncio
import contextlib

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from locksmith.server.door import Door
from locksmith.server.service import http_config
from locksmith.util.listener import listen

INSIDE = 4
WAITING = 20


class Waits:
    """An app whose calls wait until they are let go, at `/wait`; each other is answered at once."""

    def __init__(self, *, parks):
        self.parks = parks
        self.let_go = asyncio.Event()
        self.waiting = 0

    async def __call__(self, scope, receive, send):
        request = Request(scope, receive)
        guest = request.state.guest
        if scope["path"] == "/wait":
            self.waiting += 1
            guest.park(parked=self.parks)
            await self.let_go.wait()
            guest.park(parked=False)
        await PlainTextResponse("ok")(scope, receive, send)


async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


async def opened(app):
    listener = listen("127.0.0.1", 0)
    door = Door(listener, http_config(app), inside=INSIDE)
    door.open()
    waiting = [await ask(listener.getsockname()[1], "/wait") for _ in range(WAITING if app.parks else INSIDE)]
    while app.waiting < len(waiting):  # noqa: ASYNC110 - the app's own count
        await asyncio.sleep(0.01)
    return door, listener.getsockname()[1], waiting


async def end(*writers):
    for writer in writers:
        writer.close()
    with contextlib.suppress(OSError):
        await asyncio.gather(*(writer.wait_closed() for writer in writers))


async def answered(reader):
    return (await reader.readuntil(b"\r\n\r\n")).decode().lower()


async def test_who_waits_keeps_no_other_out():
    async with asyncio.timeout(20):
        app = Waits(parks=True)
        door, port, waiting = await opened(app)
        reader, writer = await ask(port, "/")
        assert "200 ok" in await answered(reader)
        await door.close(5, app.let_go.set)
        await end(*(one for _, one in waiting), writer)


@pytest.mark.slow
async def test_a_whole_request_is_not_ended_for_another():
    async with asyncio.timeout(20):
        app = Waits(parks=False)
        door, port, waiting = await opened(app)
        reader, writer = await ask(port, "/")
        assert not (await asyncio.wait({late := asyncio.ensure_future(answered(reader))}, timeout=0.3))[0]
        app.let_go.set()
        assert "200 ok" in await late
        for one, _ in waiting:
            assert "200 ok" in await answered(one)
        await door.close(5)
        await end(*(one for _, one in waiting), writer)


async def test_a_server_that_stops_tells_each_who_waits_to_ask_elsewhere():
    async with asyncio.timeout(20):
        app = Waits(parks=True)
        door, _, waiting = await opened(app)
        closing = asyncio.ensure_future(door.close(5, app.let_go.set))
        for reader, _ in waiting:
            said = await answered(reader)
            assert "200 ok" in said
            assert "connection: close" in said
            assert await reader.read() == b"ok"
        await closing
        await end(*(writer for _, writer in waiting))
