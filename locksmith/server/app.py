"""The app: FleetLock's two calls, and `/healthz`.

Each call is read, its client checked, and then the rules decide. Each error is an answer with a kind and a sentence,
and never a 2xx.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from locksmith.config.server_model import ServedGroup
from locksmith.server.access import Caller, Guesses, refuse_place, same_secret, secret_in
from locksmith.server.answers import SUCCESS, Answer, bad_request, refused, unauthorized
from locksmith.server.passwords import Passwords
from locksmith.server.ports import FleetLock
from locksmith.server.prefix import below
from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.server.reply import Reply, date, read_body
from locksmith.server.requests import TOO_SLOW, Call, head_problem, parse_body
from locksmith.util.ratelimit import RateLimit

log = logging.getLogger(__name__)

CALL_LIMIT: Final = 60.0
"""Seconds for the rules; a call that takes longer goes on without its client, who asks again."""
REFUSALS_LOGGED: Final = 1 / 30
"""Warnings per second for each group."""

GRANTED: Final = "granted"
"""The kind of an answer that is no refusal."""

_ABSOLUTE = re.compile("https?://[^/]*", re.IGNORECASE)
"""Begins a target in absolute form, as clients send it to proxies."""

Rule = Callable[[str, str], Awaitable[Refusal | None]]
Endpoint = Callable[[Request], Awaitable[Response]]
Shortcut = Callable[[Scope], Endpoint | None]
"""Finds what answers a request, and notes its path's parameters in the scope; None: the routes do."""
Counted = Callable[[str, str], None]
"""Told of each call of FleetLock that was answered: its name, and the kind of its answer (`granted`: none)."""

Revoked = Callable[[Request], Awaitable[Answer | None]]
"""Refuses a request with the client certificate of a machine that was revoked; None: it was not."""


def make_app(
    desk: FleetLock,
    groups: Mapping[str, ServedGroup],
    others: Sequence[BaseRoute] = (),
    counted: Counted | None = None,
    shortcut: Shortcut = lambda _scope: None,
    *,
    revoked: Revoked | None = None,
    prefix: str = "",
) -> ASGIApp:
    """Give the app for the clients of these groups. FleetLock's calls are answered below any path.

    `others` are the routes of what else is served; they come first. All is served below `prefix` as well.
    """
    calls = _Calls(desk, groups, counted, revoked)
    routes = [*others]
    for path, endpoint, methods in (
        ("/v1/pre-reboot", calls.pre_reboot, ["POST"]),
        ("/v1/steady-state", calls.steady_state, ["POST"]),
        ("/healthz", _alive, ["GET"]),
    ):
        # A redirect to the path without its last slash would make a GET of a POST.
        for known in (path, f"{path}/", f"/{{prefix:path}}{path}", f"/{{prefix:path}}{path}/"):
            routes.append(Route(known, endpoint, methods=methods))  # noqa: PERF401 - two loops read better apart
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_such})
    app.router.redirect_slashes = False
    without_prefix = below(prefix)

    async def without_traceback(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope["path"] = _ABSOLUTE.sub("", scope["path"])
            without_prefix(scope)
            if (endpoint := shortcut(scope)) is None:
                await app(scope, receive, send)
            else:
                response = await endpoint(Request(scope, receive))
                await response(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - uvicorn would log it with a traceback
            log.debug("a request ended: %s: %s", type(error).__name__, error)

    return without_traceback


async def _alive(_request: Request) -> Response:
    """Say that the process is alive; whether etcd answers is another question, which each call answers."""
    return PlainTextResponse("ok\n", headers=date())


async def _no_such(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:  # noqa: PLR2004 - Method Not Allowed
        allow = (getattr(error, "headers", None) or {}).get("Allow", "POST")
        return Reply(request, bad_request(f"the method must be {allow}", 405, {"Allow": allow}, unread=True))
    here = "this server has POST v1/pre-reboot, POST v1/steady-state and GET healthz"
    return Reply(request, bad_request(f"there is no such path: {here}", 404, unread=True))


class _Calls:
    """Both calls."""

    def __init__(
        self, desk: FleetLock, groups: Mapping[str, ServedGroup], counted: Counted | None, revoked: Revoked | None
    ) -> None:
        self._desk, self._groups, self._counted, self._revoked = desk, groups, counted, revoked
        self._passwords, self._guesses = Passwords(groups), Guesses()
        self._told = {name: RateLimit(3, REFUSALS_LOGGED) for name in (*groups, "")}
        self._older = {name: RateLimit(3, REFUSALS_LOGGED) for name in groups}
        self._running: set[asyncio.Future[Refusal | None]] = set()

    async def pre_reboot(self, request: Request) -> Response:
        """Answer `pre-reboot`."""
        return await self._answer(request, self._desk.pre_reboot, "pre-reboot")

    async def steady_state(self, request: Request) -> Response:
        """Answer `steady-state`."""
        return await self._answer(request, self._desk.steady_state, "steady-state")

    async def _answer(self, request: Request, rule: Rule, name: str) -> Response:
        try:
            answer = await self._decide(request, rule)
        except ClientDisconnect:
            answer = TOO_SLOW  # which no client reads
        except Exception as error:  # noqa: BLE001 - the client must take no error for a permission
            log.error("a call failed: %s: %s", type(error).__name__, error)  # noqa: TRY400 - one line, no traceback
            answer = Answer(500, Refusal(RefusalKind.STORE, "the server failed: see the log of locksmith-server"))
        if self._counted is not None:
            self._counted(name, answer.refusal.kind.value if answer.refusal else GRANTED)
        return Reply(request, answer)

    async def _decide(self, request: Request, rule: Rule) -> Answer:
        call = head_problem(request.headers.items()) or await _read_call(request)
        if isinstance(call, Answer):
            return call
        if problem := self._unauthorized(request, call) or await self._refuse_revoked(request, call):
            return problem
        refusal = await self._within_limit(rule, call)
        if refusal is not None:
            log.debug("%s of %s: %s: %s", call.client, call.group, refusal.kind, refusal.sentence)
            return refused(refusal)
        if rule == self._desk.pre_reboot:
            log.info("%s of the group %s may reboot", call.client, call.group)
        return SUCCESS

    def _unauthorized(self, request: Request, call: Call) -> Answer | None:
        guest = request.state.guest
        secret = secret_in(request.headers.get("authorization", ""))
        caller = Caller(guest.address, guest.client, secret, guest.certificate)
        group = self._groups.get(call.group)
        problem = refuse_place(call, group, caller)
        if problem is None and group is not None and group.password_file:
            right = self._passwords.of(call.group)
            if right:
                problem = self._guesses.check(call, caller, right, time.monotonic())
                if problem is None and not same_secret(secret, right[-1]):
                    self._tell_older(call)
            else:
                sentence = f"the password file of the group {call.group} cannot be used: see the server's log"
                problem = unauthorized(sentence, 503)
        if problem is not None:
            self._tell(request, call, problem)
        return problem

    async def _refuse_revoked(self, request: Request, call: Call) -> Answer | None:
        """Refuse the certificate of a revoked machine, in a group where a certificate is what lets a client in."""
        if self._revoked is None or not self._groups[call.group].certificates:
            return None
        problem = await self._revoked(request)
        if problem is not None:
            self._tell(request, call, problem)
        return problem

    def _tell_older(self, call: Call) -> None:
        if self._older[call.group].allows(time.monotonic()):
            said = "the password of an earlier line of its file: the last line has the new one"
            log.info("%s of the group %s still sends %s", call.client, call.group, said)

    def _tell(self, request: Request, call: Call, problem: Answer) -> None:
        limit = self._told[call.group if call.group in self._groups else ""]
        if problem.refusal is not None and limit.allows(time.monotonic()):
            said, address = problem.refusal.sentence, request.state.guest.address
            log.warning("refused: %s of %s, from %s: %s", call.client, call.group, address, said)

    async def _within_limit(self, rule: Rule, call: Call) -> Refusal | None:
        """Ask the rules. A call that takes too long is not cut off in a write: it goes on."""
        running = asyncio.ensure_future(rule(call.group, call.client))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        done, _ = await asyncio.wait({running}, timeout=CALL_LIMIT)
        if not done:
            running.add_done_callback(_heed)
            return Refusal(RefusalKind.STORE, f"no decision within {CALL_LIMIT:g} s: ask again")
        return running.result()


def _heed(late: "asyncio.Future[Refusal | None]") -> None:
    """Take the error of a call that no client waits for."""
    if not late.cancelled() and (error := late.exception()):
        log.error("a call failed: %s: %s", type(error).__name__, error)


async def _read_call(request: Request) -> Call | Answer:
    raw = await read_body(request)
    return raw if isinstance(raw, Answer) else parse_body(raw)
