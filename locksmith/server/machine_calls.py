"""The routes of daemons with the strategy `server`: `POST /machines/v1/GROUP/CALL`.

Each call is read within limits, its machine is identified by its credential, and then the desk answers
(machine_desk.py). A 200 is an answer of the rules. Each error is another status, with a kind and a sentence.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from locksmith.errors import ForbiddenError, LocksmithError, OlderJournalError, StoreError
from locksmith.lock import machine_wire as wire
from locksmith.server.answers import Answer, unauthorized
from locksmith.server.api_http import Large
from locksmith.server.app import Endpoint, Shortcut
from locksmith.server.connection import Guest
from locksmith.server.identity import Identity
from locksmith.server.machine_limits import PIECE, Held, MachineLimits
from locksmith.server.permissions import Action, forbidden
from locksmith.server.ports import Identifies, MachineDesk
from locksmith.server.reply import Reply, date, read_body
from locksmith.server.requests import TOO_SLOW, too_large
from locksmith.server.turns import TooManyCallsError
from locksmith.util.jsonread import BadJsonError, load_record
from locksmith.util.ratelimit import RateLimit
from locksmith.util.text import cut, printable

log = logging.getLogger(__name__)

LONGEST: Final = 2000
"""Characters of a sentence."""
PATH: Final = "/machines/v1/{group}/{call}"
SHARED: Final = frozenset({wire.READ, wire.KNOWS})
"""Calls that wait for seconds for those of other machines: they take the place of no other caller."""


def make_routes(desk: MachineDesk, identifies: Identifies, groups: Collection[str]) -> list[Route]:
    """Give the routes for the machines of these groups; a proxy may leave its prefix before the path."""
    calls = _Calls(desk, identifies, groups)
    return [Route(path, calls.answer, methods=["POST"]) for path in (PATH, f"/{{prefix:path}}{PATH}")]


def make_shortcut(routes: Sequence[Route]) -> Shortcut:
    """Have calls that these routes have anyway answered without a search, and without what Starlette keeps for each.

    Thousands of machines wait at one moment, each in such a call.
    """
    endpoint: Endpoint = routes[0].endpoint

    def find(scope: Scope) -> Endpoint | None:
        if scope["method"] != "POST":
            return None
        for route in routes:
            found = route.path_regex.match(scope["path"])
            if found is not None and found["call"] in wire.CALLS:
                scope["path_params"] = found.groupdict()
                return endpoint
        return None

    return find


class _Calls:
    def __init__(self, desk: MachineDesk, identifies: Identifies, groups: Collection[str]) -> None:
        self._desk, self._identifies, self._groups = desk, identifies, groups
        self._told, self._failed = RateLimit(5, 1 / 30), RateLimit(5, 1 / 30)
        self._limits = MachineLimits()

    async def answer(self, request: Request) -> Response:
        """Answer a call. An error that was not foreseen is no answer of the rules either."""
        try:
            return await self._answer(request)
        except ClientDisconnect:
            return Reply(request, TOO_SLOW)  # which no machine reads
        except Exception as error:  # noqa: BLE001 - the machine must take no error for a permission
            if self._failed.allows(asyncio.get_running_loop().time()):
                log.error("a machine's call failed: %s: %s", type(error).__name__, error)  # noqa: TRY400 - one line
            return _json(500, {"kind": wire.FAILED, "value": "the server failed: see the log of locksmith-server"})

    async def _answer(self, request: Request) -> Response:
        group, call = request.path_params["group"], request.path_params["call"]
        who = await self._identifies.identify(request)
        if isinstance(who, Answer):
            return Reply(request, replace(who, closes=True))
        if (answer := self._refusal(who, group, call) or self._limits.begin((group, who.name))) is not None:
            self._tell(who, answer.refusal.sentence if answer.refusal else "")
            return Reply(request, replace(answer, closes=True))

        held = Held(self._limits, (group, who.name))

        def ended() -> None:
            # Its next call comes within a minute. Of thousands, many have just been answered, and would end each other.
            request.state.guest.park(parked=True)
            held.free()
            self._limits.end((group, who.name))

        try:
            response = await self._do(request, who, group, call, held)
            held.waits(request.state.guest.end)
            return _Sent(response, ended)
        except BaseException:
            ended()
            raise

    async def _do(self, request: Request, who: Identity, group: str, call: str, held: Held) -> Response:
        fields = await _read_call(request)
        if isinstance(fields, Response):
            return fields
        if (refused := held.grow(self._desk.size_of(group, call, fields))) is not None:
            self._tell(who, refused.refusal.sentence if refused.refusal else "")
            return Reply(request, refused)
        try:
            if call == wire.WAIT:
                waiting = await self._desk.wait(group, who, fields)
                del fields  # thousands of machines wait at one moment
                said: Mapping[str, Any] = {"changed": await _parked(request.state.guest, waiting)}
            else:
                said = await self._done(request.state.guest, group, who, call, fields)
            status, said = answered(said)
        except LocksmithError as error:
            status, said = failed(error)
            if isinstance(error, ForbiddenError):
                self._tell(who, str(error))
        log.debug("%s of %s in %s: %d %s", call, who.name, group, status, said.get("answer") or said.get("value", ""))
        response = _json(status, said)
        # It may have more than was foreseen. What was written is answered in any case.
        refused = held.grow(len(response.body))
        return Reply(request, refused) if refused is not None and call == wire.READ else response

    async def _done(
        self, guest: Guest, group: str, who: Identity, call: str, fields: dict[str, Any]
    ) -> Mapping[str, Any]:
        """Do a call. It goes on without its machine: that asks again, and may be at another server by then."""
        asked = asyncio.ensure_future(self._desk.call(group, who, call, fields))
        guest.park(parked=call in SHARED)
        await asyncio.wait({asked})
        return asked.result()

    def _refusal(self, who: Identity, group: str, call: str) -> Answer | None:
        """Refuse a call before its body is read; the desk asks again whether it is about this machine."""
        if (answer := forbidden(who, Action.ACT, group, who.name)) is not None:
            return answer
        if group not in self._groups:
            return unauthorized("this group is not served here: [server.groups] does not have it")
        if call not in wire.CALLS:
            return unauthorized("there is no such call: this server may be older than this daemon")
        return None

    def _tell(self, who: Identity, sentence: str) -> None:
        if self._told.allows(asyncio.get_running_loop().time()):
            log.warning("refused: %s: %s", who.name, sentence)


class _Sent(Response):
    """Sends an answer, and says once when the client has taken it: until then its memory is that of its call."""

    def __init__(self, answer: Response, ended: Callable[[], None]) -> None:
        self._answer, self._ended = answer, ended
        self.status_code, self.body, self.raw_headers = answer.status_code, answer.body, answer.raw_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        left = [self._ended]

        async def sends(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                if len(message.get("body", b"")) > PIECE:
                    await send({**message, "more_body": True})
                    message = {**message, "body": b""}
                    await send({**message, "more_body": True})  # it waits until the client has taken the other
                left.pop()()
            await send(message)

        try:
            await self._answer(scope, receive, sends)
        finally:
            for end in left:
                end()


def answered(said: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    """Give the status of an answer, and the answer."""
    return (503 if "kind" in said else 200), said


def failed(error: LocksmithError) -> tuple[int, Mapping[str, Any]]:
    """Give the status and the answer for an error of the desk. Pure."""
    if isinstance(error, BadJsonError):
        return 400, {"kind": wire.BAD_CALL, "value": f"the call cannot be read: {error}"}
    if isinstance(error, TooManyCallsError):
        return 503, {"kind": wire.UNAVAILABLE, "value": "too many calls of this machine are under way here"}
    if isinstance(error, ForbiddenError):
        return 403, wire.encode_error(error)
    status = 409 if isinstance(error, OlderJournalError) or not isinstance(error, StoreError) else 503
    return status, wire.encode_error(error)


async def _parked(guest: Guest, waiting: "asyncio.Future[bool]") -> bool:
    """Wait for an answer, or for the end of the connection: then no machine waits any more, and none reads it."""
    guest.park(parked=True)
    guest.when_gone(waiting.cancel)
    try:
        return await waiting
    except asyncio.CancelledError:
        if not guest.gone:
            raise
        raise ClientDisconnect from None
    finally:
        waiting.cancel()
        guest.when_gone(None)


async def _read_call(request: Request) -> dict[str, Any] | Response:
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 9 or int(length) > wire.LARGEST:  # noqa: PLR2004 - a gigabyte
        return Reply(request, too_large(wire.LARGEST))
    raw = await read_body(request, wire.LARGEST)
    if isinstance(raw, Answer):
        return Reply(request, raw)
    try:
        return load_record(raw, wire.LARGEST)
    except BadJsonError as error:
        return _json(*failed(error))


def _json(status: int, said: Mapping[str, Any]) -> Response:
    if isinstance(value := said.get("value"), str) and "kind" in said:
        said = {**said, "value": cut(printable(value), LONGEST)}
    body = json.dumps(said).encode()
    kind = Response if len(body) <= PIECE else Large
    return kind(body, status, date(), media_type="application/json")
