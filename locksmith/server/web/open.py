"""The page, put together from a configuration."""

from typing import TYPE_CHECKING

from locksmith.config.model import Config
from locksmith.host.clock import local_clock
from locksmith.host.hostname import read_hostname
from locksmith.host.paths import Paths
from locksmith.server.credentials import Credentials
from locksmith.server.web.fleet import Fleet
from locksmith.server.web.orders import OrderPages
from locksmith.server.web.site import Site
from locksmith.store.connect import open_store
from locksmith.store.protocol import Expecting, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute


class Web:
    """The page of a server. `reads` is where it reads (the store itself, if None), and `people` who may see it."""

    def __init__(
        self, config: Config, paths: Paths, people: Credentials | None = None, reads: Store | None = None
    ) -> None:
        self._store = open_store(config.store, observer=Expecting(str))
        self._people = people or Credentials(self._store)
        self._fleet = Fleet(reads or self._store)
        served = frozenset(config.server.groups)
        site = Site(self._fleet, self._people, local_clock(), halt_after=config.halt.after, served=served)
        self.routes: Sequence[BaseRoute] = [
            *site.routes(),
            *OrderPages(site, self._store, read_hostname(paths)).routes(),
        ]

    async def stop(self) -> None:
        """End the streams: they would go on for as long as someone looks."""
        await self._fleet.close()

    async def close(self) -> None:
        """Let go of the store."""
        await self._fleet.close()
        await self._store.close()
