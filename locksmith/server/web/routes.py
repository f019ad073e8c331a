"""All that a browser may ask for."""

from starlette.routing import BaseRoute

from locksmith.server.web.changes import Changes
from locksmith.server.web.group_pages import GroupPages
from locksmith.server.web.history_page import HistoryPage
from locksmith.server.web.orders import OrderPages
from locksmith.server.web.pictures import Pictures
from locksmith.server.web.sign_in import SignIn
from locksmith.server.web.site import Site
from locksmith.server.web.static_files import StaticFiles
from locksmith.store.protocol import Store


def page_routes(site: Site, store: Store, host: str) -> list[BaseRoute]:
    """Give the routes of a site. Its orders are written to `store`, as given on `host`."""
    parts = (
        GroupPages(site),
        HistoryPage(site),
        OrderPages(site, store, host),
        Pictures(site),
        Changes(site),
        SignIn(site),
        StaticFiles(),
    )
    return [route for part in parts for route in part.routes()]
