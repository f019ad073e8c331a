"""The routes of daemons with the strategy `server`: `POST /machines/v1/GROUP/CALL`.

Each call is read within limits, its machine is identified by its credential, and then the desk answers
(machine_desk.py). A 200 is an answer of the rules. Each error is another status, with a kind and a sentence.
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from locksmith.errors import ForbiddenError, LocksmithError, OlderJournalError, StoreError
from locksmith.lock import machine_wire as wire
from locksmith.server.answers import Answer, unauthorized
from locksmith.server.identity import Identity
from locksmith.server.permissions import Action, forbidden
from locksmith.server.ports import Identifies, MachineDesk
from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.server.reply import Reply, date, read_body
from locksmith.server.requests import TOO_SLOW, too_large
from locksmith.server.turns import TooManyCallsError
from locksmith.util.jsonread import BadJsonError, load_record
from locksmith.util.ratelimit import RateLimit
from locksmith.util.text import cut, printable
from locksmith.util.visits import Stage

log = logging.getLogger(__name__)

LONGEST: Final = 2000
"""Characters of a sentence."""
CALLS_AT_ONCE, CALLS_PER_SECOND = 200, 20
"""Calls of one machine at one server. A daemon makes a few in a minute."""
MOST_MACHINES: Final = 20_000
"""Machines whose calls are counted: those that called last."""
PATH: Final = "/machines/v1/{group}/{call}"


TOO_MANY: Final = Answer(
    429,
    Refusal(RefusalKind.STORE, f"this machine makes more than {CALLS_PER_SECOND} calls a second: make fewer"),
    {"Retry-After": "1"},
    closes=True,
)
"""Nothing was begun. The kind is that of a call which could not be let in, so a daemon tries again."""


def make_routes(desk: MachineDesk, identifies: Identifies, groups: Collection[str]) -> list[Route]:
    """Give the routes for the machines of these groups; a proxy may leave its prefix before the path."""
    calls = _Calls(desk, identifies, groups)
    return [Route(path, calls.answer, methods=["POST"]) for path in (PATH, f"/{{prefix:path}}{PATH}")]


class _Calls:
    def __init__(self, desk: MachineDesk, identifies: Identifies, groups: Collection[str]) -> None:
        self._desk, self._identifies, self._groups = desk, identifies, groups
        self._told = RateLimit(5, 1 / 30)
        self._counts: OrderedDict[str, RateLimit] = OrderedDict()

    async def answer(self, request: Request) -> Response:
        """Answer a call. An error that was not foreseen is no answer of the rules either."""
        try:
            return await self._answer(request)
        except ClientDisconnect:
            return Reply(request, TOO_SLOW)  # which no machine reads
        except Exception as error:  # noqa: BLE001 - the machine must take no error for a permission
            log.error("a machine's call failed: %s: %s", type(error).__name__, error)  # noqa: TRY400 - one line
            return _json(500, {"kind": wire.FAILED, "value": "the server failed: see the log of locksmith-server"})

    async def _answer(self, request: Request) -> Response:
        group, call = request.path_params["group"], request.path_params["call"]
        who = await self._identifies.identify(request)
        if isinstance(who, Answer):
            return Reply(request, replace(who, closes=True))
        if (answer := self._refusal(who, group, call)) is not None:
            self._tell(who, answer.refusal.sentence if answer.refusal else "")
            return Reply(request, replace(answer, closes=True))
        if not self._count_of(who.name).allows(asyncio.get_running_loop().time()):
            self._tell(who, TOO_MANY.refusal.sentence if TOO_MANY.refusal else "")
            return Reply(request, TOO_MANY)
        request.state.guest.stage = Stage.ASKED
        fields = await _read_call(request)
        if isinstance(fields, Response):
            return fields
        asked = asyncio.ensure_future(self._desk.call(group, who, call, fields))
        if call == wire.WAIT:
            request.state.guest.park(parked=True)
            try:
                await _until_either(asked, request)
            finally:
                request.state.guest.park(parked=False)
        else:
            # A call goes on without its machine: it asks again, and may be at another server by then.
            await asyncio.wait({asked})
        try:
            status, said = answered(asked.result())
        except LocksmithError as error:
            status, said = failed(error)
            if isinstance(error, ForbiddenError):
                self._tell(who, str(error))
        log.debug("%s of %s in %s: %d %s", call, who.name, group, status, said.get("answer") or said.get("value", ""))
        return _json(status, said)

    def _refusal(self, who: Identity, group: str, call: str) -> Answer | None:
        """Refuse a call before its body is read; the desk asks again whether it is about this machine."""
        if (answer := forbidden(who, Action.ACT, group, who.name)) is not None:
            return answer
        if group not in self._groups:
            return unauthorized("this group is not served here: [server.groups] does not have it")
        if call not in wire.CALLS:
            return unauthorized("there is no such call: this server may be older than this daemon")
        return None

    def _count_of(self, machine: str) -> RateLimit:
        count = self._counts.setdefault(machine, RateLimit(CALLS_AT_ONCE, CALLS_PER_SECOND))
        self._counts.move_to_end(machine)
        if len(self._counts) > MOST_MACHINES:
            self._counts.popitem(last=False)
        return count

    def _tell(self, who: Identity, sentence: str) -> None:
        if self._told.allows(asyncio.get_running_loop().time()):
            log.warning("refused: %s: %s", who.name, sentence)


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


async def _until_either(asked: "asyncio.Future[Mapping[str, Any]]", request: Request) -> None:
    """Wait for an answer, or for the end of the connection: then no machine waits any more."""
    gone = asyncio.ensure_future(_gone(request))
    both: list[asyncio.Future[Any]] = [asked, gone]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not asked.done():
            asked.cancel()
            with suppress(asyncio.CancelledError, LocksmithError):
                await asked
    if asked.cancelled():
        raise ClientDisconnect


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


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
    return Response(json.dumps(said), status, date(), media_type="application/json")
