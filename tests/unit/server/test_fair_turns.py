"""One caller with hundreds of requests keeps no other waiting for them."""

import asyncio
import time
from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records.credential import VIEWER, Credential
from locksmith.server.answers import unauthorized
from locksmith.server.api_http import PIECE, reply
from locksmith.server.app import make_app
from locksmith.server.credentials import Credentials, SignedIn
from locksmith.server.door import Door
from locksmith.server.fair_turns import AT_ONCE, HOLD, CrowdedError, FairTurns
from locksmith.server.identity import Identity, Role
from locksmith.server.service import http_config
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.util.listener import listen
from locksmith.util.visits import Stage
from tests.builders.callers import asked
from tests.builders.few_slots import FewSlots
from tests.sim.virtual_time import run

CONNECTIONS, EACH = 60, 50
INSIDE = 8


class ByName:
    """Who calls is who says so; a caller without a name proves nothing."""

    async def identify(self, request):
        name = request.headers.get("authorization", "")
        return Identity(Role.VIEWER, name) if name else unauthorized("no credential is known here", 401)


BY_NAME = ByName()


def of(origin, name=""):
    return asked(origin=origin, authorization=name)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_each_origin_and_each_caller_has_its_turn():
    async def story(_loop):
        turns, order = FairTurns(BY_NAME, 1), []

        async def ask(origin, name):
            async with turns.turn(of(origin, name)):
                order.append(f"{origin}{name}")
                await asyncio.sleep(0.01)

        callers = ["a1", "a1", "a1", "a2", "b1", "b1", "c1"]
        await asyncio.gather(*(ask(*caller) for caller in callers))
        assert order == ["a1", "a1", "b1", "c1", "a2", "b1", "a1"]

    run(story)


def test_more_than_so_many_that_wait_are_refused_and_others_are_not():
    async def story(_loop):
        turns, ends = FairTurns(BY_NAME, 1, 3, 5), asyncio.Event()
        said = Counter[str]()

        async def ask(origin, name):
            try:
                async with turns.turn(of(origin, name)):
                    await ends.wait()
                    said["answered"] += 1
            except CrowdedError:
                said["refused"] += 1

        waiting = [asyncio.ensure_future(ask("a", "loud")) for _ in range(10)]
        await settle()
        assert said == {"refused": 6}  # one has its turn, and three wait
        waiting += [asyncio.ensure_future(ask("a", "second")) for _ in range(10)]
        await settle()
        assert said == {"refused": 6 + 8}  # as five of the origin wait
        waiting += [asyncio.ensure_future(ask(*quiet)) for quiet in (("a", "quiet"), ("b", "quiet"))]
        ends.set()
        await asyncio.gather(*waiting)
        assert said == {"refused": 14, "answered": 8}

    run(story)


def test_a_token_in_any_spelling_is_one_caller_and_so_is_all_that_proves_nothing():
    """Else who spells its token in 1000 ways, or invents 1000, has others wait for 1000 turns."""

    async def story(_loop):
        store = MemoryStore(MemoryServer())
        credentials = Credentials(store)
        viewer = Credential(VIEWER, "vera", "", datetime(2026, 5, 1, tzinfo=UTC))
        token = (await CredentialStore(store).add_person(viewer, None)).text
        signed_in = [await credentials.sign_in(asked(), token) for _ in range(3)]
        sessions = [one.cookie.partition(";")[0] for one in signed_in if isinstance(one, SignedIn)]
        spelled = [asked(authorization=f"Basic {b64encode(f'u{n}:{token}'.encode()).decode()}") for n in range(100)]
        cookies = [asked(cookie=f"n={n}; {sessions[n % 3]}") for n in range(100)]
        invented = [asked(authorization=f"Bearer {token[:-4]}{n:04}") for n in range(1000, 1100)]
        turns = FairTurns(credentials, 0, 10)

        async def wait(request):
            async with turns.turn(request):
                pass

        waiting = [asyncio.ensure_future(wait(request)) for request in (*spelled, *cookies, *invented)]
        await asyncio.sleep(1)
        own = turns._waiting["10.0.0.7"]
        assert {caller: len(places) for caller, places in own.items()} == {"viewer vera": 10, "": 10}
        for one in waiting:
            one.cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert Counter(map(type, ends)) == {CrowdedError: 280, asyncio.CancelledError: 20}
        assert not turns._waiting

    run(story)


def test_who_has_gone_gives_up_its_place_or_its_turn():
    async def story(_loop):
        turns, done = FairTurns(BY_NAME, 1, 3), list[int]()

        async def ask(request, name):
            async with turns.turn(request):
                done.append(name)
                await asyncio.sleep(0.1)

        requests = [of("a", "vera") for _ in range(4)]
        waiting = [asyncio.ensure_future(ask(request, n)) for n, request in enumerate(requests)]
        await settle()
        for n in (1, 2):
            requests[n].state.guest.leave()
        await settle()
        assert [len(places) for places in turns._waiting["a"].values()] == [1]
        requests[3].state.guest.when_gone(None)
        await waiting[0]
        requests[3].state.guest.leave()  # it has just got its turn
        ends = await asyncio.gather(*waiting[1:], return_exceptions=True)
        assert list(map(type, ends)) == [ClientDisconnect] * 3
        gone = of("a", "vera")
        gone.state.guest.leave()
        with pytest.raises(ClientDisconnect):
            await ask(gone, -1)
        await settle()
        assert (done, turns._free, not turns._waiting) == ([0], 1, True)

    run(story)


def test_a_request_that_waits_for_etcd_holds_up_no_other():
    async def story(loop):
        turns, ends = FairTurns(BY_NAME, 1), asyncio.Event()

        async def ask():
            async with turns.turn(of("a")):
                await ends.wait()

        waiting = [asyncio.ensure_future(ask()) for _ in range(4)]
        await settle()
        began = loop.time()
        async with turns.turn(of("b")):  # after the first, and the next of the others
            assert loop.time() - began == pytest.approx(2 * HOLD, abs=0.01)
        ends.set()
        await asyncio.gather(*waiting)
        await settle()
        for _ in range(2):  # no turn was lost, and none was made
            async with turns.turn(of("a")):
                late = asyncio.ensure_future(ask())
                await settle()
                assert turns._waiting
            await late
            await settle()

    run(story)


def test_who_gives_up_loses_no_turn_of_others():
    async def story(_loop):
        turns = FairTurns(BY_NAME, 1)

        async def ask(seconds):
            async with turns.turn(of("a")):
                await asyncio.sleep(seconds)

        first, second, third = (asyncio.ensure_future(ask(0.1)) for _ in range(3))
        await settle()
        second.cancel()  # it waits
        await first
        third.cancel()  # it has just got its turn
        await asyncio.gather(second, third, return_exceptions=True)
        await asyncio.wait_for(ask(0), 1)
        await settle()
        assert (turns._free, not turns._waiting) == (1, True)

    run(story)


class Busy:
    """A server whose `/busy` takes a few milliseconds of CPU time and counts; GETs take turns."""

    def __init__(self, inside=0, turns=None):
        self.made, self.turns = Counter[str](), turns or FairTurns(BY_NAME)
        routes = self.turns.routes([Route("/busy", self.busy, methods=["GET"])])
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        app = make_app(FewSlots(), {}, routes)
        self.door = Door(self.listener, http_config(app), **({"inside": inside} if inside else {}))

    async def busy(self, request):
        request.state.guest.stage = Stage.ASKED
        self.made[request.headers["authorization"]] += 1
        ends = time.perf_counter() + 0.002
        while time.perf_counter() < ends:
            pass
        return PlainTextResponse("done")

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)


def get(credential):
    return f"GET /busy HTTP/1.1\r\nHost: x\r\nAuthorization: {credential}\r\n\r\n".encode()


async def end(*writers):
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@pytest.mark.slow
@pytest.mark.parametrize("inside", [0, INSIDE])
async def test_hundreds_of_pipelined_requests_of_one_caller_leave_others_their_turn(inside):
    """With few places inside, too: there a connection that has more requests ends with its next answer."""
    async with asyncio.timeout(60):
        site = Busy(inside)
        site.door.open()
        crowd = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]()
        for _ in range(CONNECTIONS):
            reader, writer = await site.connect()
            writer.write(get("loud") * EACH)
            crowd.append((reader, writer))
        while site.made["loud"] < AT_ONCE:  # noqa: ASYNC110 - the server's own count
            await asyncio.sleep(0)
        reader, writer = await site.connect()
        before = site.made["loud"]
        writer.write(get("quiet"))
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        meanwhile = site.made["loud"] - before
        # Without turns each of the connections has an answer before; here some have, while this one comes inside.
        assert meanwhile < CONNECTIONS / 2 if not inside else meanwhile < CONNECTIONS * EACH / 4
        await site.door.close(5)
        await end(writer, *(one for _, one in crowd))


async def test_a_caller_whose_requests_are_too_many_is_told_so_and_cut_off():
    async with asyncio.timeout(60):
        site = Busy(turns=FairTurns(BY_NAME, 0, 2))  # there is no turn, so each request waits
        site.door.open()
        waiting = [await site.connect() for _ in range(2)]
        for _, writer in waiting:
            writer.write(get("loud"))
        while sum(map(len, site.turns._waiting.get("this machine", {}).values())) < 2:  # noqa: ASYNC110 - its own count
            await asyncio.sleep(0.01)
        reader, writer = await site.connect()
        writer.write(get("loud") * 3)
        said = (await reader.read()).decode().lower()
        assert said.count("http/1.1") == 1
        assert "429 too many requests" in said
        assert "retry-after: 5" in said
        assert "connection: close" in said
        await site.door.close(0.1)
        await end(writer, *(one for _, one in waiting))


async def test_a_request_whose_connection_has_ended_is_not_worked_on():
    async with asyncio.timeout(60):
        site = Busy(turns=FairTurns(BY_NAME, 0))
        site.door.open()
        for _ in range(3):
            _, writer = await site.connect()
            writer.write(get("gone"))
            while "this machine" not in site.turns._waiting:  # noqa: ASYNC110 - its own count
                await asyncio.sleep(0.01)
            await end(writer)
            while site.turns._waiting:  # noqa: ASYNC110 - its own count
                await asyncio.sleep(0.01)
        reader, writer = await site.connect()
        writer.write(get("here"))
        site.turns._pass_on()
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert site.made == {"here": 1}
        await site.door.close(5)
        await end(writer)


async def test_a_large_answer_is_sent_in_pieces():
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {}

    body = bytes(range(256)) * 2000
    await reply(body, 200, {})({}, receive, send)
    start, *pieces = sent
    assert dict(start["headers"])[b"content-length"] == str(len(body)).encode()
    assert b"".join(one["body"] for one in pieces) == body
    assert max(len(one["body"]) for one in pieces) == PIECE
    assert [one["more_body"] for one in pieces] == [True] * (len(pieces) - 1) + [False]
