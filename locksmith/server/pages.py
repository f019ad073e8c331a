"""The page, the API and the metrics, put together from a configuration: what is for people with a token."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from locksmith.config.model import Config
from locksmith.fleet.group import GroupView
from locksmith.host.clock import local_clock
from locksmith.host.hostname import read_hostname
from locksmith.host.paths import Paths
from locksmith.lock.records.event import Event
from locksmith.server.api import Api
from locksmith.server.credentials import Credentials
from locksmith.server.fair_turns import FairTurns
from locksmith.server.fleet_metrics import MetricsPage
from locksmith.server.web.fleet import Fleet
from locksmith.server.web.ports import People
from locksmith.server.web.routes import page_routes
from locksmith.server.web.site import Site
from locksmith.server.web.views import GroupPage
from locksmith.store.protocol import Store

if TYPE_CHECKING:
    from starlette.routing import BaseRoute


class Web:
    """The page of a server. `people` is who may see it; `reads` gives where a group is read (None: in the store).

    `ready` waits for that. `more` are further metrics.
    """

    def __init__(
        self,
        config: Config,
        paths: Paths,
        store: Store,
        *,
        people: People | None = None,
        reads: Callable[[str], Store] | None = None,
        ready: Callable[[str], Awaitable[None]] | None = None,
        more: Sequence[Collector] = (),
    ) -> None:
        clock, halt_after = local_clock(), config.halt.after

        def words(view: GroupView, events: Sequence[Event]) -> GroupPage:
            return GroupPage.prepared(view, events, clock(), halt_after)

        self._fleet = Fleet(store, words, reads, ready)
        served = frozenset(config.server.groups)
        people = people or Credentials(store)
        prefix = config.server.prefix
        site = Site(self._fleet, people, clock, halt_after=halt_after, served=served, prefix=prefix)
        api = Api(self._fleet, people, served, halt_after, prefix=prefix)
        metrics = MetricsPage(self._fleet, people, config.server.metrics_clients, served, halt_after, more=more)
        pages = page_routes(site, store, read_hostname(paths))
        self.routes: Sequence[BaseRoute] = FairTurns(people).routes((*pages, *api.routes(), *metrics.routes()))
        self.counted, self.counting = metrics.counted, metrics.counting

    async def stop(self) -> None:
        """End the streams: they would go on for as long as a browser is there."""
        await self._fleet.close()
