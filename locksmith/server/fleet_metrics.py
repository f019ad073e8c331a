"""`GET /metrics`: the groups in numbers, for a central scrape, and what this server was asked."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from locksmith.config.server_model import Network
from locksmith.daemon.group_metrics import FRESH
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.server.access import plain_address
from locksmith.server.answers import Answer
from locksmith.server.api_answers import Seen
from locksmith.server.api_endpoints import Endpoint, read_query
from locksmith.server.api_groups import Groups, Sees, Sight
from locksmith.server.api_http import HEADERS, RefusedError, refusal, refused_by, reply
from locksmith.server.figures import (
    CALLS,
    MACHINE_CALLS,
    NO_FIGURES,
    OTHER,
    OUTCOMES,
    RESULTS,
    Figures,
    GroupFigures,
    figures_of,
    result_of,
)
from locksmith.server.identity import Identity, Role
from locksmith.server.permissions import Action, forbidden, may
from locksmith.server.ports import Identifies

if TYPE_CHECKING:
    from locksmith.fleet.group import GroupView

log = logging.getLogger(__name__)

MOST_MADE: Final = 20
"""Answers that are kept, each for a moment: callers see different groups, in different formats."""
_METRICS: Final = Endpoint("/metrics", "", "")


class MetricsPage:
    """The metrics. Who asks from one of `clients` gets those of all groups; else a credential is needed to read.

    `more` are further metrics.
    """

    def __init__(
        self,
        fleet: Sees,
        who: Identifies,
        clients: Collection[Network] = (),
        served: Collection[str] = (),
        halt_after: HaltAfter = FIRST,
        *,
        more: Sequence[Collector] = (),
    ) -> None:
        self._fleet, self._who, self._clients = fleet, who, clients
        self._groups = Groups(fleet, served)
        self._halt_after, self._more = halt_after, more
        self._machine_calls = Counter(
            dict.fromkeys(((call, result) for call in MACHINE_CALLS for result in RESULTS), 0)
        )
        self._calls = Counter(dict.fromkeys(((call, kind) for call in CALLS for kind in OUTCOMES), 0))
        self._known: dict[str, tuple[GroupView, GroupFigures]] = {}
        self._made: dict[tuple[str, ...], tuple[float, bytes]] = {}

    def counted(self, call: str, kind: str) -> None:
        """Count a call of FleetLock."""
        self._calls[call, kind] += 1

    def counting(self, routes: Iterable[Route]) -> list[Route]:
        """Give the same routes of machines' calls; each call is counted."""
        return [Route(one.path, self._counting(one.endpoint), methods=["POST"]) for one in routes]

    def _counting(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def count(request: Request) -> Response:
            response = await answer(request)
            call = request.path_params.get("call", "")
            known = call if call in MACHINE_CALLS else OTHER
            self._machine_calls[known, result_of(response.status_code)] += 1
            return response

        return count

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route("/metrics", self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        try:
            who = await self._allowed(request)
            if isinstance(who, Answer):
                return reply(who.body, who.status, who.headers)
            read_query(_METRICS, request.query_params.multi_items())
            names = [name for name in await self._groups.names() if may(who, Action.READ, name)]
            sights = {name: await self._fleet.see(name) for name in names}
        except Exception as error:  # noqa: BLE001 - one line in the log, and no traceback for clients
            if (refused := refused_by(error)) is None:
                log.error("the metrics failed: %s: %s", type(error).__name__, error)  # noqa: TRY400
                refused = RefusedError(500, "defect", "the server failed: see the log of locksmith-server")
            return refusal(refused.status, refused.kind, str(refused))
        write, kind = choose_encoder(request.headers.get("accept", ""))
        body = self._written(write, (kind, *names), sights, getattr(request.state, "asked", math.inf))
        return Response(body, 200, {**HEADERS, "Content-Type": kind})

    def _written(
        self,
        write: Callable[[CollectorRegistry], bytes],
        wanted: tuple[str, ...],
        sights: Mapping[str, Sight],
        asked: float,
    ) -> bytes:
        """Give the answer; of those who asked before it was made, each gets the same."""
        made, body = self._made.get(wanted, (-math.inf, b""))
        if made >= asked:
            return body
        began = asyncio.get_running_loop().time()
        registry = CollectorRegistry()
        registry.register(
            Figures({name: self._figures(name, one) for name, one in sights.items()}, self._calls, self._machine_calls)
        )
        for one in self._more:
            registry.register(one)
        body = write(registry)
        self._made = {wanted: (began, body)} if len(self._made) > MOST_MADE else {**self._made, wanted: (began, body)}
        return body

    def _figures(self, group: str, sight: Sight) -> GroupFigures:
        """Count a group, if it was read since; figures that are too old are none, as in the daemon's metrics."""
        if sight.view is None:
            return NO_FIGURES
        known = self._known.get(group)
        if known is None or known[0] is not sight.view:
            seen = Seen(sight.view, sight.events, sight.problem, self._halt_after)
            known = self._known[group] = (sight.view, figures_of(seen))
        found = known[1]
        if sight.problem and time.time() - found.at > FRESH:
            return replace(NO_FIGURES, at=found.at)
        return found

    async def _allowed(self, request: Request) -> Identity | Answer:
        if self._is_client(request):
            return Identity(Role.VIEWER, "metrics-clients")
        who = await self._who.identify(request)
        if isinstance(who, Answer):
            return who
        return forbidden(who, Action.READ, next(iter(who.groups), "")) or who

    def _is_client(self, request: Request) -> bool:
        guest = getattr(request.state, "guest", None)
        try:
            address = plain_address(getattr(guest, "address", ""))
        except ValueError:
            return False
        return any(address in network for network in self._clients)
