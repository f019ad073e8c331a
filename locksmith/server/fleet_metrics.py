"""`GET /metrics`: the groups in numbers, for a central scrape, and what this server was asked.

What the daemons serve of their group too has the same name and meaning (daemon/group_metrics.py). Here it is read from
all that the store has, so no figure is missing.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from locksmith import __version__
from locksmith.config.server_model import Network
from locksmith.daemon.group_metrics import FRESH
from locksmith.daemon.group_sight import UNKNOWN, is_lost
from locksmith.errors import StoreError
from locksmith.fleet.holders import HolderKind, holder_statuses
from locksmith.lock.records import states
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.server.access import plain_address
from locksmith.server.answers import Answer
from locksmith.server.api import Sees
from locksmith.server.api_answers import Seen
from locksmith.server.api_endpoints import Endpoint, read_query
from locksmith.server.api_http import HEADERS, RefusedError, refusal, refused_by, reply
from locksmith.server.app import GRANTED
from locksmith.server.identity import Identity, Role
from locksmith.server.permissions import Action, forbidden, may
from locksmith.server.ports import Identifies
from locksmith.server.refusal import RefusalKind
from locksmith.server.web.fleet import Sight

log = logging.getLogger(__name__)

CALLS: Final = ("pre-reboot", "steady-state")
OUTCOMES: Final = (GRANTED, *(kind.value for kind in RefusalKind))
OTHER: Final = "other"
"""The state of a machine that has one of another version."""

_FIGURES: Final[Mapping[str, str]] = {
    "max": "How many slots the group has.",
    "held": "How many slots of the group are held.",
    "queued": "How many are queued for a slot.",
    "lost": "How many machines of the group hold a slot, and were not seen since their presence ended.",
    "overdue": "How many machines of the group are past their commit for longer than `reboot.limit`.",
    "halted": "1 while the rollout of the group is halted.",
    "frozen": "1 while an operator's freeze stops the group.",
    "unhealthy": "How many machines hold a slot, and did not prove themselves healthy after their reboot.",
    "failed": "How many machines hold a slot, and have rebooted without their update.",
    "orphaned": "How many machines hold a slot for a reboot that they do not remember.",
    "absent": "How many machines are remembered, and not present.",
    "reboot_needed": "How many machines of the group need a reboot.",
}
_METRICS: Final = Endpoint("/metrics", "", "")


class MetricsPage:
    """The metrics. Who asks from one of `clients` gets those of all groups; else a credential is needed to read."""

    def __init__(
        self,
        fleet: Sees,
        who: Identifies,
        clients: Collection[Network] = (),
        served: Collection[str] = (),
        halt_after: HaltAfter = FIRST,
    ) -> None:
        self._fleet, self._who, self._clients, self._served = fleet, who, clients, served
        self._halt_after = halt_after
        self._calls = Counter(dict.fromkeys(((call, kind) for call in CALLS for kind in OUTCOMES), 0))
        self._names: list[str] = []

    def counted(self, call: str, kind: str) -> None:
        """Count a call of FleetLock."""
        self._calls[call, kind] += 1

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route("/metrics", self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        try:
            who = await self._allowed(request)
            if isinstance(who, Answer):
                return reply(who.body, who.status, who.headers)
            read_query(_METRICS, request.query_params.multi_items())
            sights = {name: await self._fleet.see(name) for name in await self._groups() if may(who, Action.READ, name)}
        except Exception as error:  # noqa: BLE001 - one line in the log, and no traceback for clients
            if (refused := refused_by(error)) is None:
                log.error("the metrics failed: %s: %s", type(error).__name__, error)  # noqa: TRY400
                refused = RefusedError(500, "defect", "the server failed: see the log of locksmith-server")
            return refusal(refused.status, refused.kind, str(refused))
        write, kind = choose_encoder(request.headers.get("accept", ""))
        registry = CollectorRegistry()
        registry.register(Figures(sights, self._calls, self._halt_after))
        return Response(write(registry), 200, {**HEADERS, "Content-Type": kind})

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

    async def _groups(self) -> list[str]:
        """Name the groups; while etcd is away, those that were there."""
        try:
            self._names = await self._fleet.names()
        except (StoreError, TimeoutError) as error:
            log.debug("the groups cannot be read: %s", error)
        return sorted({*self._names, *self._served})


class Figures(Collector):
    """The figures of one scrape."""

    def __init__(
        self, sights: Mapping[str, Sight], calls: Mapping[tuple[str, str], int], halt_after: HaltAfter = FIRST
    ) -> None:
        self._seen = {
            name: None if one.view is None else Seen(one.view, one.events, one.problem, halt_after)
            for name, one in sights.items()
        }
        self._calls = calls

    def collect(self) -> Iterator[Metric]:
        """Give each metric."""
        figures = {group: _figures(seen) for group, seen in self._seen.items()}
        for name, text in _FIGURES.items():
            yield _family(name, text, ((group, one[name]) for group, one in figures.items()))
        yield _family(
            "seen_timestamp_seconds",
            "When this server last read the group, as a Unix time; 0 if it never did.",
            ((group, seen.at.timestamp() if seen else 0.0) for group, seen in self._seen.items()),
        )
        machines = GaugeMetricFamily(
            "locksmith_group_machines", "How many machines are present, by their state.", labels=["group", "state"]
        )
        for group, seen in self._seen.items():
            for state, number in _by_state(seen):
                machines.add_metric([group, state], number)
        yield machines
        calls = CounterMetricFamily(
            "locksmith_server_calls",
            "Calls of FleetLock that this server answered, by the kind of the answer.",
            labels=["call", "kind"],
        )
        for (call, kind), number in self._calls.items():
            calls.add_metric([call, kind], number)
        yield calls
        yield InfoMetricFamily("locksmith_build", "The version of locksmith.", {"version": __version__})


def _family(name: str, text: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"locksmith_group_{name}", text, labels=["group"])
    for group, value in values:
        family.add_metric([group], value)
    return family


def _is_old(seen: Seen | None) -> bool:
    """Whether figures are of a time too long ago, as in the daemon's metrics."""
    return seen is None or (bool(seen.stale) and seen.now - seen.at > timedelta(seconds=FRESH))


def _figures(seen: Seen | None) -> dict[str, float]:
    if seen is None or _is_old(seen):
        return dict.fromkeys(_FIGURES, UNKNOWN)
    view, held = seen.view, holder_statuses(seen.view)
    kinds = Counter(one.how for one in held)
    return {
        "max": view.semaphore.max,
        "held": len(held),
        "queued": len(view.waiters),
        "lost": sum(is_lost(one, seen.at) for one in held),
        "overdue": kinds[HolderKind.OVERDUE],
        "halted": seen.is_halted,
        "frozen": view.freeze is not None,
        "unhealthy": kinds[HolderKind.UNHEALTHY],
        "failed": kinds[HolderKind.FAILED],
        "orphaned": kinds[HolderKind.ORPHANED],
        "absent": len(view.absent),
        "reboot_needed": sum(bool(node.need) for node in view.machines.values()),
    }


def _by_state(seen: Seen | None) -> Iterable[tuple[str, float]]:
    if seen is None or _is_old(seen):
        return [(state, UNKNOWN) for state in (*states.ALL, OTHER)]
    found = Counter(node.state if node.state in states.ALL else OTHER for node in seen.view.machines.values())
    return [(state, found[state]) for state in (*states.ALL, OTHER)]
