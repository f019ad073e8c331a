"""`GET /api/v1/...`: the state and the history of the groups, as JSON, for viewers and operators.

Each call asks first who it is. What is answered was read by `Fleet`, which follows a group while a viewer asks for it;
nothing here asks the store by itself.
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from locksmith.host.clock import local_clock
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.server import api_answers as answers
from locksmith.server import api_endpoints as endpoints
from locksmith.server.answers import Answer
from locksmith.server.api_endpoints import Endpoint
from locksmith.server.api_forecast import Forecasts
from locksmith.server.api_groups import Groups, Sees, Sight
from locksmith.server.api_http import RefusedError, dump, found, refusal, refused_by, reply, segments
from locksmith.server.api_written import Kept, Machines
from locksmith.server.identity import Identity
from locksmith.server.openapi import description
from locksmith.server.permissions import Action, forbidden, may
from locksmith.server.ports import Identifies
from locksmith.util.text import cut, printable

log = logging.getLogger(__name__)


class Api:
    """The calls. `served` are groups that there are without a machine; `halt_after` is the configuration's.

    `prefix` is the path below which clients find the API, as `/locksmith`.
    """

    def __init__(
        self,
        fleet: Sees,
        who: Identifies,
        served: Collection[str] = (),
        halt_after: HaltAfter = FIRST,
        clock: Callable[[], datetime] | None = None,
        *,
        prefix: str = "",
    ) -> None:
        self._fleet, self._who, self._prefix = fleet, who, prefix
        self._groups = Groups(fleet, served)
        self._halt_after = halt_after
        self._clock = clock or local_clock()
        self._kept = Kept()
        self._machines: dict[str, Machines] = {}
        self._forecasts = Forecasts(self._clock)

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [Route(path, self._call, methods=["GET"]) for path in (endpoints.VERSION, "/api/v1/{rest:path}")]

    async def _call(self, request: Request) -> Response:
        try:
            who = await self._who.identify(request)
            if isinstance(who, Answer):
                return reply(who.body, who.status, who.headers)
            return await self._answer(request, who)
        except Exception as error:  # noqa: BLE001 - one line in the log, and no traceback for clients
            if (refused := refused_by(error)) is None:
                log.error("a call of the API failed: %s: %s", type(error).__name__, error)  # noqa: TRY400
                refused = RefusedError(500, "defect", "the server failed: see the log of locksmith-server")
            return refusal(refused.status, refused.kind, str(refused))

    async def _answer(self, request: Request, who: Identity) -> Response:
        endpoint, group, machine = _find(segments(request))
        # A call that is about no group is for a caller who may read any.
        if refused := forbidden(who, Action.READ, next(iter(who.groups), "") if group is None else group):
            return reply(refused.body, refused.status, refused.headers)
        query = endpoints.read_query(endpoint, request.query_params.multi_items())
        if endpoint is endpoints.OPENAPI:
            return found(request, json.dumps(description(self._prefix)).encode(), 0)
        if group is None:
            return await self._every(request, who)
        sight, seen = await self._see(group)
        body = await self._body(endpoint, sight, seen, query, machine)
        return found(request, body, seen.view.revision)

    async def _every(self, request: Request, who: Identity) -> Response:
        sums, problems, newest = [], [], 0
        for name in await self._groups.names():
            if not may(who, Action.READ, name):
                continue
            try:
                sight, seen = await self._see(name)
            except RefusedError as error:
                problems.append(f"{name or 'the default group'}: {error}")
                continue
            newest = max(newest, seen.view.revision)
            sums.append(self._cached(name, ("sums",), sight, lambda seen=seen: dump(answers.sums(seen)).encode()))  # type: ignore[misc]
        if self._groups.problem:
            problems.append(f"the groups are those of an earlier reading: {self._groups.problem}")
        head = dump({"schema": 1, "problems": problems})
        return found(request, head[:-1].encode() + b', "groups": [' + b", ".join(sums) + b"]}", newest)

    async def _body(
        self, endpoint: Endpoint, sight: Sight, seen: answers.Seen, query: Mapping[str, Any], machine: str
    ) -> bytes:
        group, asked = seen.view.group, (endpoint.path, repr(sorted(query.items())))
        if endpoint is endpoints.MACHINE:
            return dump(answers.machine(seen, machine, self._clock())).encode()
        if endpoint is endpoints.FORECAST:
            return dump(await self._forecasts.make(seen, query.get("of", endpoints.PENDING))).encode()
        if endpoint is endpoints.MACHINES:
            if (body := self._kept.find(group, asked, sight)) is None:
                body = await self._machines.setdefault(group, Machines()).write(seen, query)
                self._kept.keep(group, asked, sight, body)
            return body
        if endpoint is endpoints.GROUP:
            return self._cached(group, asked, sight, lambda: dump(answers.group(seen)).encode())
        if endpoint is endpoints.HISTORY:
            return self._cached(group, asked, sight, lambda: dump(answers.history(seen, query)).encode())
        try:
            return self._cached(group, asked, sight, lambda: dump(answers.timeline_of(seen, query)).encode())
        except ValueError as error:
            raise RefusedError(400, "bad_request", str(error)) from None

    def _cached(self, group: str, asked: tuple[str, ...], sight: Sight, make: Callable[[], bytes]) -> bytes:
        if (body := self._kept.find(group, asked, sight)) is None:
            body = make()
            self._kept.keep(group, asked, sight, body)
        return body

    async def _see(self, group: str) -> tuple[Sight, answers.Seen]:
        if not await self._groups.has(group):
            raise RefusedError(404, "not_found", f"there is no group {cut(printable(group), 100)!r}")
        sight = await self._fleet.see(group)
        if sight.view is None:
            raise RefusedError(503, "store", sight.problem or "the group was not read yet: ask again")
        return sight, answers.Seen(sight.view, sight.events, sight.problem, self._halt_after, self._prefix)


def _find(segments: Sequence[str]) -> tuple[Endpoint, str | None, str]:
    """Give the call of a path, its group (None: it is about none) and its machine."""
    for endpoint in endpoints.ENDPOINTS:
        parts = endpoint.path.strip("/").split("/")
        if len(parts) == len(segments) and all(
            known == part or (known.startswith("{") and part) for known, part in zip(parts, segments, strict=True)
        ):
            named = dict(zip(parts, segments, strict=True))
            group = named.get("{group}")
            return endpoint, "" if group == endpoints.DEFAULT_GROUP else group, named.get("{machine}", "")
    here = ", ".join(endpoints.VERSION + one.path for one in endpoints.ENDPOINTS)
    raise RefusedError(404, "not_found", f"there is no such path: the API has {here}")
