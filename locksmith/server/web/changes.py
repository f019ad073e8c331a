"""What the browser listens to: a stream that tells when a shown group has changed."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from locksmith.errors import StoreError
from locksmith.server.identity import Identity, Role
from locksmith.server.permissions import Action, may
from locksmith.server.web.live import Streams
from locksmith.server.web.render import HEADERS, answer, group_of
from locksmith.server.web.site import RefusedError, Site


class Changes:
    """The streams of changes: of one group, or of all that a person may see."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._streams = Streams(site.fleet)

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        return [Route("/events", self._site.guarded(self._events), methods=["GET"])]

    async def _events(self, request: Request, identity: Identity) -> Response:
        if identity.role is Role.MACHINE:  # thousands of them share the streams' limit with a few people
            raise RefusedError(403, "Not for you", "The page is for people, and this is the credential of a machine.")
        segment = request.query_params.get("group")
        if segment is not None:
            groups = [group_of(segment)]
        else:
            try:
                groups = await self._site.visible(identity)
            except (StoreError, TimeoutError):
                groups = self._site.fleet.followed()
        allowed = [group for group in groups if may(identity, Action.READ, group) and self._site.fleet.follows(group)]
        if not self._streams.makes_room(identity.name):
            return answer(b"too many streams are open\n", "text/plain; charset=utf-8", 503, {"Retry-After": "30"})
        return self._streams.stream(request, identity.name, allowed, dict(HEADERS))
