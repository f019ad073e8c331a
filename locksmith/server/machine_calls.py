"""The routes of daemons with the strategy `server`: `POST /machines/v1/GROUP/CALL`.

Each call is read within limits, its machine is identified by its credential, and then the desk answers
(machine_desk.py). A 200 is an answer of the rules. Each error is another status, with a kind and a sentence.
"""

import asyncio
import json
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from email.utils import formatdate
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from locksmith.errors import LocksmithError, OlderJournalError, StoreError
from locksmith.lock import machine_wire as wire
from locksmith.server.answers import Answer
from locksmith.server.identity import Identity, Role
from locksmith.server.ports import Identifies, MachineDesk
from locksmith.server.turns import TooManyCallsError
from locksmith.util.jsonread import BadJsonError, load_record
from locksmith.util.ratelimit import RateLimit
from locksmith.util.text import cut, printable
from locksmith.util.visits import Stage

log = logging.getLogger(__name__)

BODY_LIMIT: Final = 10.0
"""Seconds for a body."""
LONGEST: Final = 2000
"""Characters of a sentence."""
PATH: Final = "/machines/v1/{group}/{call}"


def make_routes(desk: MachineDesk, identifies: Identifies, groups: Collection[str]) -> list[Route]:
    """Give the routes for the machines of these groups; a proxy may leave its prefix before the path."""
    calls = _Calls(desk, identifies, groups)
    return [Route(path, calls.answer, methods=["POST"]) for path in (PATH, f"/{{prefix:path}}{PATH}")]


class _Calls:
    def __init__(self, desk: MachineDesk, identifies: Identifies, groups: Collection[str]) -> None:
        self._desk, self._identifies, self._groups = desk, identifies, groups
        self._told = RateLimit(5, 1 / 30)

    async def answer(self, request: Request) -> Response:
        """Answer a call. An error that was not foreseen is no answer of the rules either."""
        try:
            return await self._answer(request)
        except ClientDisconnect:
            return _error(408, wire.BAD_CALL, "the body did not come")
        except Exception as error:  # noqa: BLE001 - the machine must take no error for a permission
            log.error("a machine's call failed: %s: %s", type(error).__name__, error)  # noqa: TRY400 - one line
            return _error(500, wire.FAILED, "the server failed: see the log of locksmith-server")

    async def _answer(self, request: Request) -> Response:
        group, call = request.path_params["group"], request.path_params["call"]
        who = await self._identifies.identify(request)
        if isinstance(who, Answer):
            return Response(
                who.body, who.status, {**who.headers, **_date(), "Connection": "close"}, media_type="application/json"
            )
        if problem := self._refused(who, group, call):
            return self._refuse(who, problem)
        request.state.guest.stage = Stage.ASKED
        fields = await _read_body(request)
        if isinstance(fields, Response):
            return fields
        asked = asyncio.ensure_future(self._desk.call(group, who.name, call, fields))
        if call == wire.WAIT:
            await _until_either(asked, request)
        else:
            # A call goes on without its machine: it asks again, and may be at another server by then.
            await asyncio.wait({asked})
        try:
            said = asked.result()
        except LocksmithError as error:
            return self._failed(who, call, error)
        return _json(503 if "kind" in said else 200, said)

    def _refused(self, who: Identity, group: str, call: str) -> str:
        if who.role is not Role.MACHINE:
            return f"the calls of machines need a machine's credential, and this one is of a {who.role.value}"
        if group not in self._groups or not who.counts_for(group):
            return "this credential is not one for a group of that name here"
        return "" if call in wire.CALLS else "there is no such call: this server may be older than this daemon"

    def _refuse(self, who: Identity, sentence: str) -> Response:
        if self._told.allows(asyncio.get_running_loop().time()):
            log.warning("refused: %s: %s", who.name, sentence)
        return _error(403, wire.NOT_ALLOWED, sentence, closes=True)

    def _failed(self, who: Identity, call: str, error: LocksmithError) -> Response:
        log.debug("%s of %s: %s", call, who.name, error)
        if isinstance(error, BadJsonError):
            return _error(400, wire.BAD_CALL, f"the call cannot be read: {error}")
        if isinstance(error, TooManyCallsError):
            return _error(503, wire.UNAVAILABLE, "too many calls of this machine are under way here")
        status = 409 if isinstance(error, OlderJournalError) or not isinstance(error, StoreError) else 503
        return _json(status, wire.encode_error(error))


async def _until_either(asked: "asyncio.Future[Mapping[str, Any]]", request: Request) -> None:
    """Wait for an answer, or for the end of the connection: then nobody waits any more."""
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
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


async def _read_body(request: Request) -> dict[str, Any] | Response:
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_LIMIT):
            async for piece in request.stream():
                raw += piece
                if len(raw) > wire.LARGEST:
                    return _error(
                        413,
                        wire.BAD_CALL,
                        f"the body has more than the {wire.LARGEST} bytes that are read",
                        closes=True,
                    )
    except TimeoutError:
        return _error(408, wire.BAD_CALL, "the body did not come in time", closes=True)
    try:
        return load_record(bytes(raw), wire.LARGEST)
    except BadJsonError as error:
        return _error(400, wire.BAD_CALL, f"the call cannot be read: {error}")


def _error(status: int, kind: str, sentence: str, *, closes: bool = False) -> Response:
    return _json(status, {"kind": kind, "value": sentence}, closes=closes)


def _json(status: int, said: Mapping[str, Any], *, closes: bool = False) -> Response:
    if isinstance(value := said.get("value"), str) and "kind" in said:
        said = {**said, "value": cut(printable(value), LONGEST)}
    headers = {**_date(), **({"Connection": "close"} if closes else {})}
    return Response(json.dumps(said), status, headers, media_type="application/json")


def _date() -> dict[str, str]:
    return {"Date": formatdate(usegmt=True)}
