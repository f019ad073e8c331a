"""The routes of machines without etcd, in virtual time: a machine that calls without end costs no other its answer."""

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.routing import Match

from locksmith.config.model import Config
from locksmith.errors import StoreUnavailableError
from locksmith.lock import machine_wire as wire
from locksmith.server.connection import Guest
from locksmith.server.identity import Identity, Role
from locksmith.server.machine_calls import make_routes, make_shortcut
from locksmith.server.machine_desk import MachineDesk
from locksmith.server.machine_limits import CALLS_AT_ONCE, CALLS_PER_SECOND
from locksmith.store.memory import MemoryStore
from locksmith.store.memory_server import MemoryServer
from locksmith.store.protocol import Position
from tests.builders.machine_desks import play
from tests.builders.one_store import G


class Door:
    """Lets each caller in as the machine that its header names."""

    async def identify(self, request: Request) -> Identity:
        return Identity(Role.MACHINE, request.headers["authorization"])


async def hello(route, machine: str):
    """Call as a machine, through the route, and take the answer."""

    async def receive():
        return {"type": "http.request", "body": wire.encode_call(Position(0)), "more_body": False}

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"authorization", machine.encode())],
        "path": f"/machines/v1/{G}/{wire.HELLO}",
        "path_params": {"group": G, "call": wire.HELLO},
        "state": {"guest": Guest(machine)},
    }

    async def send(_message):
        pass

    answer = await route.endpoint(Request(scope, receive))
    await answer(scope, receive, send)
    return answer


def test_a_machine_that_calls_without_end_is_refused_and_no_other_is(tmp_path):
    async def story(servers):
        route, _ = make_routes(servers.desk(), Door(), {G})
        statuses = [(await hello(route, "a")).status_code for _ in range(CALLS_AT_ONCE + 2)]
        assert statuses == [200] * CALLS_AT_ONCE + [429] * 2
        assert (await hello(route, "b")).status_code == 200
        refused = await hello(route, "a")
        said = wire.decode_error(**{**json.loads(refused.body), "fields": {}})
        assert str(said) == f"this machine makes more than {CALLS_PER_SECOND} calls a second: make fewer"
        assert isinstance(said, StoreUnavailableError)  # it was not begun, so the daemon tries again
        await asyncio.sleep(1)
        later = [(await hello(route, "a")).status_code for _ in range(CALLS_PER_SECOND + 2)]
        assert later[:CALLS_PER_SECOND] == [200] * CALLS_PER_SECOND
        assert later[-1] == 429

    play(story, tmp_path)


def test_a_defect_fills_no_log(tmp_path, caplog):
    async def story(servers):
        desk = servers.desk()
        desk._records = None  # a defect
        route, _ = make_routes(desk, Door(), {G})
        assert {(await hello(route, "a")).status_code for _ in range(50)} == {500}
        assert 0 < caplog.text.count("a machine's call failed: AttributeError") < 10

    play(story, tmp_path)


PATHS = [
    "/machines/v1/web/hello",
    "/proxied/at/machines/v1/web/hello",
    "/pro\nxied/machines/v1/web/hello",
    "/machines/v1/web/hello\n",
    "/machines/v1/we\nb/hello",
    "/machines/v1/web/hello/",
    "/machines/v1//hello",
    "/machines/v1/machines/v1/hello",
    "/xmachines/v1/web/hello",
]


@pytest.mark.parametrize("path", PATHS)
def test_the_shortcut_finds_what_the_routes_find(path):
    routes = make_routes(MachineDesk(Config(), store=MemoryStore(MemoryServer())), Door(), {G})
    scope = {"type": "http", "method": "POST", "path": path}
    found = next((more for kind, more in (one.matches(scope) for one in routes) if kind is Match.FULL), None)
    shortcut = make_shortcut(routes)(scope)
    if found is None or found["path_params"]["call"] not in wire.CALLS:
        assert shortcut is None
    else:
        assert (shortcut, scope["path_params"]) == (found["endpoint"], found["path_params"])
