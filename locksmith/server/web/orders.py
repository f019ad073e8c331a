"""An operator's orders, in two steps: a page says what will happen, and the form on it orders that and no more."""

from starlette.routing import BaseRoute

from locksmith.server.web.site import Site
from locksmith.store.protocol import Store


class OrderPages:
    """The pages of the orders."""

    def __init__(self, site: Site, store: Store, host: str) -> None:
        self._site, self._store, self._host = site, store, host

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        return []
