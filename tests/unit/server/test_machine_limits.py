"""What one machine sends keeps no other caller out, and who is gone waits no more."""

import asyncio
import contextlib
import json
import socket

import pytest

from locksmith.lock import machine_wire as wire
from locksmith.server.app import make_app
from locksmith.server.door import Door
from locksmith.server.identity import Identity, Role
from locksmith.server.machine_calls import make_routes, make_shortcut
from locksmith.server.machine_limits import MOST_BYTES, MOST_BYTES_OF_ONE, MOST_OF_ONE
from locksmith.server.service import http_config
from locksmith.util.listener import listen
from tests.builders.few_slots import FewSlots

SLOW = 40
INSIDE = 8
SMALL, LARGE = 16 * 1024, 2 * 1024 * 1024
"""Bytes of the kernel's buffers here, and of the answer to a read: they never have it whole."""


class Desk:
    """A desk that answers each call at once, and lets each wait wait."""

    def __init__(self):
        self.waits = []
        self.reads = 0

    async def call(self, _group, who, call, _fields):
        self.reads += call == wire.READ
        return {"answer": call, "machine": who.name, **({"readings": "x" * LARGE} if call == wire.READ else {})}

    async def wait(self, _group, _who, _fields):
        self.waits.append(asyncio.get_running_loop().create_future())
        return self.waits[-1]

    def size_of(self, _group, call, fields):
        return int(fields.get("size", LARGE if call == wire.READ else 0))

    def drain(self):
        """There is nothing to answer."""

    async def close(self):
        """There is no store."""


class ByName:
    """Takes each caller for the machine that it names."""

    async def identify(self, request):
        return Identity(Role.MACHINE, request.headers["authorization"], frozenset({"web", "db"}))


class Site:
    """A server on a loopback port."""

    def __init__(self, inside):
        self.desk = Desk()
        routes = make_routes(self.desk, ByName(), {"web", "db"})
        app = make_app(FewSlots(), {}, routes, shortcut=make_shortcut(routes))
        self.listener = listen("127.0.0.1", 0)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        self.door = Door(self.listener, http_config(app), inside=inside)
        self.open = []

    async def ask(self, machine, call, body=b"{}", *, length=None, group="web"):
        """Send a call; its body may be shorter than it says."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, self.listener.getsockname())
        reader, writer = await asyncio.open_connection(sock=connection)
        head = f"POST /proxied/machines/v1/{group}/{call} HTTP/1.1\r\nHost: x\r\nAuthorization: {machine}\r\n"
        writer.write(f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body)
        self.open.append(writer)
        return reader, writer

    async def until(self, holds):
        while not holds():  # noqa: ASYNC110 - the server's own count
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def site_of(inside=512):
    async with asyncio.timeout(60):
        site = Site(inside)
        site.door.open()
        yield site
        await site.door.close(0.1)
        for writer in site.open:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in site.open), return_exceptions=True)


async def answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split(" ", 2)[1]), json.loads(await reader.readexactly(length)), head


async def test_a_machine_has_sixteen_calls_at_once_and_each_more_is_refused():
    async with site_of() as site:
        readers = [(await site.ask("loud", wire.HELLO, length=1000))[0] for _ in range(SLOW)]
        said = [asyncio.ensure_future(answer(reader)) for reader in readers]
        await site.until(lambda: sum(one.done() for one in said) >= SLOW - MOST_OF_ONE)
        for one in said:
            if one.done():
                status, fields, head = one.result()
                assert (status, fields["kind"]) == (503, wire.UNKNOWN_CALLER)
                assert "more than 16 calls of this machine" in fields["value"]
                assert "connection: close" in head
        assert (await answer((await site.ask("quiet", wire.HELLO))[0]))[:2] == (
            200,
            {"answer": wire.HELLO, "machine": "quiet"},
        )
        for one in said:
            one.cancel()
        await asyncio.gather(*said, return_exceptions=True)


async def test_the_id_of_a_machine_in_another_group_counts_apart():
    async with site_of() as site:
        for _ in range(MOST_OF_ONE):
            await site.ask("n1", wire.HELLO, length=1000, group="db")
        assert (await answer((await site.ask("n1", wire.HELLO, group="db"))[0]))[0] == 503
        assert (await answer((await site.ask("n1", wire.HELLO))[0]))[0] == 200


async def until_status(site, status):
    """Call as `loud` until the answer has this status."""
    while (await answer((await site.ask("loud", wire.HELLO))[0]))[0] != status:  # noqa: ASYNC110 - the server's own count
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_a_call_is_under_way_until_its_machine_has_taken_the_answer():
    async with site_of() as site:
        readers = [(await site.ask("loud", wire.READ))[0] for _ in range(MOST_OF_ONE)]
        await until_status(site, 503)
        assert (await answer((await site.ask("quiet", wire.HELLO))[0]))[0] == 200
        status, said, _ = await answer(readers[0])
        assert (status, len(said["readings"])) == (200, LARGE)
        await until_status(site, 200)
        site.open[1].transport.abort()  # who is gone takes nothing
        await until_status(site, 200)


async def status_of(reader):
    return int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])


async def until_read(site, machine):
    """Read as a machine until it gets the answer."""
    while await status_of((await site.ask(machine, wire.READ))[0]) != 200:  # noqa: ASYNC110 - the server's own count
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_answers_that_no_machine_takes_have_so_many_bytes_in_all():
    """With small kernel buffers and 32 machines that read nothing, each has its answer in the server's memory."""
    async with site_of() as site:
        held = MOST_BYTES // LARGE - 1  # an answer has a few bytes more than what was read
        silent = [await site.ask(f"n{number}", wire.READ) for number in range(held)]
        await site.until(lambda: site.desk.reads == held)
        for number in range(2 * held):
            status, said, head = await answer((await site.ask(f"m{number}", wire.READ))[0])
            assert (status, said["kind"]) == (503, wire.UNKNOWN_CALLER)
            assert "more than 32 MiB of answers wait here" in said["value"]
            assert "connection: close" in head
        assert site.desk.reads == held  # the others are refused before they are made
        assert (await answer((await site.ask("m1", wire.HELLO))[0]))[0] == 200
        status, said, _ = await answer(silent[0][0])
        assert (status, len(said["readings"])) == (200, LARGE)
        await until_read(site, "m1")
        silent[1][1].transport.abort()  # who is gone takes nothing
        await until_read(site, "m2")


@pytest.mark.slow
async def test_a_few_machines_do_not_have_the_bytes_of_all():
    """For a machine that has less, the oldest answer of the one with the most ends."""
    async with site_of() as site:
        held = MOST_BYTES // LARGE - 1
        loud = [await site.ask(f"loud{number % 4}", wire.READ) for number in range(held)]
        await site.until(lambda: site.desk.reads == held)
        for number in range(3):
            assert (await answer((await site.ask(f"quiet{number}", wire.READ))[0]))[0] == 200
        ended = await asyncio.gather(*(answer(reader) for reader, _ in loud), return_exceptions=True)
        assert 1 <= sum(isinstance(one, OSError | asyncio.IncompleteReadError) for one in ended) <= 3
        await site.until(lambda: not site.door._places_taken)
        assert (await answer((await site.ask("loud0", wire.READ))[0]))[0] == 200


async def test_one_machine_does_not_have_the_bytes_of_all():
    async with site_of() as site:
        own = MOST_BYTES_OF_ONE // LARGE
        for _ in range(own):
            await site.ask("loud", wire.READ)
        await site.until(lambda: site.desk.reads == own)
        status, said, _ = await answer((await site.ask("loud", wire.READ))[0])
        assert (status, said["kind"]) == (503, wire.UNKNOWN_CALLER)
        assert "more than 8 MiB of answers wait here for this machine" in said["value"]
        assert await status_of((await site.ask("quiet", wire.READ))[0]) == 200


@pytest.mark.slow
async def test_an_answer_that_is_larger_than_was_foreseen_is_refused_too():
    async with site_of() as site:
        small = json.dumps({"size": 0}).encode()
        for number in range(MOST_BYTES // LARGE - 1):
            await site.ask(f"n{number}", wire.READ, small)
        await site.until(lambda: site.desk.reads == MOST_BYTES // LARGE - 1)
        status, _, _ = await answer((await site.ask("late", wire.READ, small))[0])
        assert status == 503


@pytest.mark.slow
async def test_answers_that_are_not_taken_keep_no_place_inside():
    async with site_of(INSIDE) as site:
        for _ in range(INSIDE):
            await site.ask("loud", wire.READ)
        await site.until(lambda: site.door._places_taken >= INSIDE)
        assert (await answer((await site.ask("quiet", wire.HELLO))[0]))[0] == 200


@pytest.mark.slow
async def test_bodies_that_do_not_come_keep_no_place_inside():
    """They end for another, after a moment: with the time for a body each caller would wait ten seconds."""
    async with site_of(INSIDE) as site:
        for _ in range(INSIDE):
            await site.ask("loud", wire.HELLO, length=1000)
        await site.until(lambda: site.door._places_taken >= INSIDE)
        began = asyncio.get_running_loop().time()
        assert (await answer((await site.ask("quiet", wire.HELLO))[0]))[0] == 200
        assert asyncio.get_running_loop().time() - began < 9


async def test_machines_that_are_silent_between_two_calls_take_no_place(monkeypatch):
    monkeypatch.setattr("locksmith.server.door.PARKED", 3 * INSIDE)
    async with site_of(INSIDE) as site:
        for number in range(3 * INSIDE):
            assert (await answer((await site.ask(f"n{number}", wire.HELLO))[0]))[0] == 200
        await site.until(lambda: site.door._places_taken == 0)
        assert site.door.connections == 3 * INSIDE
        # The oldest of too many ends.
        reader, _ = await site.ask("other", wire.HELLO)
        assert (await answer(reader))[0] == 200
        await site.until(lambda: site.door.connections == 3 * INSIDE)
        assert len(site.door._parked) == 3 * INSIDE


async def test_a_machine_that_is_gone_waits_no_more():
    async with site_of() as site:
        _, writer = await site.ask("n1", wire.WAIT)
        await site.until(lambda: site.desk.waits)
        writer.close()
        [waiting] = site.desk.waits
        await site.until(waiting.cancelled)
        await site.until(lambda: not site.door.connections)


async def test_machines_that_wait_take_no_place_inside_and_are_told():
    async with site_of(INSIDE) as site:
        readers = [(await site.ask(f"n{number}", wire.WAIT))[0] for number in range(5 * INSIDE)]
        await site.until(lambda: len(site.desk.waits) == len(readers))
        assert (await answer((await site.ask("other", wire.HELLO))[0]))[0] == 200
        for number, waiting in enumerate(site.desk.waits):
            waiting.set_result(bool(number % 2))
        said = [(await answer(reader))[1]["changed"] for reader in readers]
        assert sorted(said) == sorted(bool(number % 2) for number in range(len(said)))
