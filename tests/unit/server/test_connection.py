"""A connection of the server: an answer goes out in one piece, and its end leaves no garbage to collect."""

import asyncio
import contextlib
import gc
import weakref

import pytest
from starlette.responses import PlainTextResponse

from locksmith.server import connection, garbage
from locksmith.server.connection import Connection, InOne
from locksmith.server.door import Door
from locksmith.server.service import http_config
from locksmith.util.listener import listen
from tests.sim.virtual_time import run

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Transport(asyncio.Transport):
    """Notes what is sent."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def write(self, data):
        self.sent.append(bytes(data))

    def close(self):
        self.sent.append(b"closed")


async def test_a_head_goes_out_with_its_body():
    transport = Transport()
    one = InOne(transport)
    one.write(HEAD)
    one.write(b"body")
    one.write(b"")
    assert transport.sent == [HEAD + b"body", b""]
    await asyncio.sleep(0)
    assert transport.sent == [HEAD + b"body", b""]


async def test_a_head_whose_body_comes_later_goes_out_by_itself():
    """As that of a stream of events."""
    transport = Transport()
    one = InOne(transport)
    one.write(HEAD)
    await asyncio.sleep(0)
    one.write(b"event")
    assert transport.sent == [HEAD, b"event"]


@pytest.mark.parametrize("more", [HEAD, b"", b"body"])
async def test_nothing_is_lost_where_a_connection_ends(more):
    transport = Transport()
    one = InOne(transport)
    one.write(HEAD)
    one.write(more)
    one.write(HEAD)
    one.close()
    assert transport.sent == [HEAD + more, HEAD, b"closed"]


class App:
    """Answers, and goes on for a moment."""

    async def __call__(self, scope, receive, send):
        await PlainTextResponse("ok")(scope, receive, send)


async def test_a_connection_that_has_ended_is_freed_without_a_collection(monkeypatch):
    alive: weakref.WeakSet[Connection | asyncio.BaseTransport] = weakref.WeakSet()
    begin, begun, ended = Connection.connection_made, [], Connection.ended

    def noted(self, transport):
        alive.update((self, transport))
        begun.append(id(self))
        begin(self, transport)

    monkeypatch.setattr(connection.Connection, "connection_made", noted)
    listener = listen("127.0.0.1", 0)
    door = Door(listener, http_config(App()))
    door.open()
    gc.disable()
    try:
        async with asyncio.timeout(20):
            for ends in (b"", b"Connection: close\r\n"):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + ends + b"\r\n")
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                while alive:  # noqa: ASYNC110 - when the last reference goes
                    await asyncio.sleep(0.01)
    finally:
        gc.enable()
        await door.close(5)
    assert len(begun) == 2
    assert Connection.ended == ended


@pytest.mark.slow
async def test_python_goes_through_all_objects_seldom():
    """Until the server ends: its process may go on."""
    before = gc.get_threshold()
    collecting = asyncio.ensure_future(garbage.collect_seldom(lambda: 0))
    await asyncio.sleep(0)
    counted = gc.get_stats()[2]["collections"]
    kept = [[index] for index in range(20 * garbage.NEW * garbage.TOGETHER // 10)]
    assert gc.get_stats()[2]["collections"] == counted
    assert gc.get_freeze_count() > 0
    assert kept
    collecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await collecting
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("ended", [0, garbage.ENDED])
def test_all_objects_are_gone_through_after_many_connections_or_a_long_while(ended):
    async def story(_loop):
        count = 0
        collecting = asyncio.ensure_future(garbage.collect_seldom(lambda: count))
        await asyncio.sleep(1)
        before = gc.get_stats()[2]["collections"]
        count = ended
        await asyncio.sleep(2 * garbage.CHECK_AFTER)
        assert gc.get_stats()[2]["collections"] - before == bool(ended)
        await asyncio.sleep(garbage.EVERYTHING_AFTER)
        assert gc.get_stats()[2]["collections"] - before == 1 + bool(ended)
        collecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await collecting

    run(story)
