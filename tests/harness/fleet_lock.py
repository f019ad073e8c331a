"""A small FleetLock server that is correct, unless a test has it misbehave: it refuses, hangs, or loses its answers.

It passes each MUST of the conformance suite.
"""

import contextlib
import json
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from locksmith.agent.fleet_lock import GROUP
from tests.harness.http_server import answer, running

PRE_REBOOT, STEADY_STATE = "/v1/pre-reboot", "/v1/steady-state"
Instead = Callable[[BaseHTTPRequestHandler], None]


class FleetLockDouble(ThreadingHTTPServer):
    """A server in this process: `slots` for each group, and who holds one.

    `calls` are all POSTs: the path, group and id. `instead` answers a path in the server's stead. The answers of the
    paths in `lost` are done, and not sent. With `who` it lets that `Authorization` in alone.
    """

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None, base: str = "") -> None:
        self.slots = 1
        self.holders: dict[str, set[str]] = defaultdict(set)
        self.calls: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.instead: dict[str, Instead] = {}
        self.lost: set[str] = set()
        self.who = ""
        self.base = base
        self.ended = threading.Event()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Call)
        self._scheme = "http"
        if context is not None:
            self._scheme = "https"
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        """The base URL, as a client has it in its configuration."""
        return f"{self._scheme}://127.0.0.1:{self.server_address[1]}{self.base}"

    def count(self, path: str) -> int:
        """Count the calls of a path."""
        return sum(one[0] == path for one in self.calls)

    def refuse(self, path: str, status: int = 409, kind: str = "no_slot", value: str = "all slots are held") -> None:
        """Have a path refused from now on."""
        self.instead[path] = lambda asked: answer(asked, status, {"kind": kind, "value": value})

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away: tests have them do that."""

    def shutdown_request(self, request: Any) -> None:
        """End a connection after what the client has sent: a reset would take a refusal of TLS away from it."""
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(1)
            while socket.socket.recv(request, 65536):
                pass
        self.close_request(request)

    def decide(self, path: str, group: str, machine: str) -> tuple[int, dict[str, str]]:
        """Take a slot, or give one back."""
        with self._lock:
            held = self.holders[group]
            if path == STEADY_STATE:
                held.discard(machine)
            elif machine not in held and len(held) >= self.slots:
                return 409, {"kind": "no_slot", "value": f"{len(held)} of {self.slots} slots are held"}
            else:
                held.add(machine)
            return 200, {}


class _Call(BaseHTTPRequestHandler):
    server: FleetLockDouble
    timeout = 60

    def do_GET(self) -> None:
        answer(self, 405, {"kind": "bad_request", "value": "use POST"})

    def do_POST(self) -> None:
        path = self.path.removeprefix(self.server.base)
        try:
            params = json.loads(self.rfile.read(max(0, int(self.headers["Content-Length"]))))["client_params"]
            group, machine = params["group"], params["id"]
            bad = not machine or not isinstance(machine, str) or not GROUP.fullmatch(group)
        except (TypeError, ValueError, KeyError, RecursionError):
            bad = True
        if bad:
            answer(self, 400, {"kind": "bad_request", "value": "no body of FleetLock"})
            return
        self.server.calls.append((path, group, machine))
        self.server.headers.append(dict(self.headers))
        if self.server.who and self.headers.get("Authorization", "") != self.server.who:
            answer(self, 401, {"kind": "unauthorized", "value": f"not {self.headers.get('Authorization')}"})
        elif path in self.server.instead:
            self.server.instead[path](self)
        elif path not in {PRE_REBOOT, STEADY_STATE} or self.headers.get("fleet-lock-protocol") != "true":
            answer(self, 404, {"kind": "bad_request", "value": "no such call"})
        else:
            said = self.server.decide(path, group, machine)
            if path in self.server.lost:
                self.close_connection = True
            else:
                answer(self, *said)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def fleet_lock_double(context: ssl.SSLContext | None = None, base: str = "") -> Iterator[FleetLockDouble]:
    """Run a server until the end of the block."""
    with FleetLockDouble(context, base) as server, running(server):
        yield server
        server.ended.set()
