"""A FleetLock server in memory, which the conformance suite is tried on: correct here, wrong in fleetlock_wrong.py.

It is a double: it has no store, no queue and no orders. The product is `locksmith-server`.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

GROUP = re.compile(r"[a-zA-Z0-9.-]+")
LARGEST = 1_000_000
TOKEN = "the token of the double"
"""What its clients show, if it has logins."""
START_LIMIT = 10.0


class RefusedError(Exception):
    """A call that is no success, with its status, kind and value."""

    def __init__(self, status: int, kind: str, value: str) -> None:
        super().__init__(value)
        self.status = status
        self.kind = kind


@dataclass
class Semaphore:
    """The holders of one group, and those of its clients who wait."""

    slots: int
    holders: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


class Double:
    """The correct server. Wrong ones override one of its methods."""

    def __init__(self, slots: int, *, has_logins: bool = False) -> None:
        self.slots = slots
        self.has_logins = has_logins
        self.groups: dict[str, Semaphore] = {}

    def semaphore(self, group: str) -> Semaphore:
        """Give the semaphore of a group."""
        return self.groups.setdefault(group, Semaphore(self.slots))

    def check_request(self, request: Request) -> None:
        """Refuse what has not the method and the header of a call."""
        self.check_login(request.headers.get("authorization"))
        if request.method != "POST":
            raise RefusedError(405, "bad_request", "only POST is a call")
        if request.headers.getlist("fleet-lock-protocol") != ["true"]:
            raise RefusedError(400, "bad_request", "the header fleet-lock-protocol is not true")

    def check_login(self, shown: str | None) -> None:
        """Refuse wrong credentials."""
        if self.has_logins and shown != f"Bearer {TOKEN}":
            raise RefusedError(401, "unauthorized", "this is not the token")

    async def read(self, request: Request) -> bytes:
        """Read a body that is not too large."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST:
                raise RefusedError(413, "bad_request", "the body is too large")
        return body

    def parse(self, body: bytes) -> Any:
        """Read the JSON of a body."""
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise RefusedError(400, "bad_request", "the body is no JSON") from None

    def client_of(self, body: Any) -> tuple[str, str]:
        """Give the group and the id of a call."""
        params = body.get("client_params") if isinstance(body, dict) else None
        found = params if isinstance(params, dict) else {}
        client, group = found.get("id"), found.get("group")
        if not isinstance(client, str) or not client:
            raise RefusedError(400, "bad_request", "client_params has no id")
        if not isinstance(group, str) or not self.is_group(group):
            raise RefusedError(400, "bad_request", "client_params has no good group")
        return group, client

    def is_group(self, name: str) -> bool:
        """Whether it may be the name of a group."""
        return GROUP.fullmatch(name) is not None

    async def pre_reboot(self, group: str, client: str) -> Response:
        """Take a slot."""
        found = self.semaphore(group)
        if client not in found.holders:
            if len(found.holders) >= found.slots:
                raise RefusedError(409, "no_slot", f"{len(found.holders)} hold a slot")
            found.holders.append(client)
        return self.success()

    async def steady_state(self, group: str, client: str) -> Response:
        """Release a slot."""
        found = self.semaphore(group)
        if client in found.holders:
            found.holders.remove(client)
        return self.success()

    def success(self) -> Response:
        """Answer that it has been done."""
        return JSONResponse({})

    def refusal(self, error: RefusedError) -> Response:
        """Answer that it has not been done."""
        return JSONResponse({"kind": error.kind, "value": str(error)}, error.status)

    async def answer(self, request: Request) -> Response:
        """Answer a call."""
        try:
            self.check_request(request)
            group, client = self.client_of(self.parse(await self.read(request)))
            call = self.pre_reboot if request.url.path.endswith("/pre-reboot") else self.steady_state
            return await call(group, client)
        except RefusedError as error:
            return self.refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)

    def app(self, prefix: str) -> Starlette:
        """Give the application, below a path."""
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        calls = ("pre-reboot", "steady-state")
        return Starlette(routes=[Route(f"{prefix}/v1/{call}", self.answer, methods=methods) for call in calls])


@contextmanager
def serving(double: Double, prefix: str = "") -> Iterator[str]:
    """Serve on a port of this machine, and give the base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            double.app(prefix), log_config=None, access_log=False, lifespan="off", http="h11", ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            end = time.monotonic() + START_LIMIT
            while not server.started and time.monotonic() < end:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}{prefix}/"
        finally:
            server.should_exit = True
            thread.join(START_LIMIT)
