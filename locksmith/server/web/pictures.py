"""The pictures of a group: who held a slot when, and the forecast. Each is a file of its own."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from locksmith.errors import UsageError
from locksmith.fleet import timeline_picture
from locksmith.fleet.forecast import picture
from locksmith.fleet.forecast.answer import forecast
from locksmith.fleet.forecast.drawing import Drawing, Text
from locksmith.fleet.forecast.outlook import outlook_plan
from locksmith.fleet.forecast.svg import svg
from locksmith.fleet.timeline import complete_from, timeline
from locksmith.lock.history import KEPT, MOST
from locksmith.server.identity import Identity
from locksmith.server.web.fleet import Sight
from locksmith.server.web.render import answer
from locksmith.server.web.site import RefusedError, Site

log = logging.getLogger(__name__)

RUNS: Final = 20
FRESH: Final = timedelta(minutes=5)
"""For how long a forecast counts: it takes seconds for a large group."""
LIMIT: Final = 60.0
"""Seconds for a forecast; after that it goes on without who asked, and the next one gets it."""


@dataclass(slots=True)
class _Forecast:
    """A forecast that is made, or was."""

    begun: datetime
    made: "asyncio.Future[bytes]"


class Pictures:
    """The pictures of all groups."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._forecasts: dict[str, _Forecast] = {}
        self._one = asyncio.Semaphore(1)

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        return [
            Route("/groups/{group}/timeline.svg", self._site.guarded(self._timeline), methods=["GET"]),
            Route("/groups/{group}/forecast.svg", self._site.guarded(self._forecast), methods=["GET"]),
        ]

    async def _timeline(self, request: Request, identity: Identity) -> Response:
        _, sight = await self._site.sight_of(request, identity)
        view, events = sight.view, sight.events
        if view is None:
            raise RefusedError(503, "etcd does not answer", sight.problem)
        now = self._site.clock()
        kept = complete_from(events, now, timedelta(seconds=KEPT), MOST)
        whole = timeline(view, events, now - timeline_picture.LONGEST, now, kept)
        begin = timeline_picture.first_shown(whole.holds, now)
        found = timeline(view, events, begin, now, kept)
        return _svg(svg(timeline_picture.draw(found)).encode())

    async def _forecast(self, request: Request, identity: Identity) -> Response:
        group, sight = await self._site.sight_of(request, identity)
        now = self._site.clock()
        known = self._forecasts.get(group)
        if known is None or now - known.begun > FRESH:
            known = self._forecasts[group] = _Forecast(now, asyncio.ensure_future(self._make(sight, now)))
        done, _ = await asyncio.wait({known.made}, timeout=LIMIT)
        if not done:
            raise RefusedError(503, "Not yet", "The forecast of this group takes longer: ask again in a minute.")
        return _svg(known.made.result())

    async def _make(self, sight: Sight, now: datetime) -> bytes:
        async with self._one:  # of all groups one after another: each takes a core
            return await asyncio.to_thread(_drawn, sight, now)


def _drawn(sight: Sight, now: datetime) -> bytes:
    """Draw the forecast. It takes seconds for a large group, so it is not for the event loop."""
    try:
        plan = outlook_plan(sight.view, sight.events, now, everything=True) if sight.view else None
        if plan is None:
            return _words("no machine of this group is present, so there is nothing to forecast")
        found = forecast(plan, RUNS, 1)
        return svg(picture.draw(found, found.drawn())).encode()
    except UsageError as error:
        return _words(f"there is no forecast: {error}")
    except Exception:
        log.exception("a defect of locksmith-server: a forecast failed")
        return _words("there is no forecast: the server's log says more")


def _words(text: str) -> bytes:
    return svg(Drawing(960, 48, [Text((16, 30), text)])).encode()


def _svg(drawn: bytes) -> Response:
    return answer(drawn, "image/svg+xml", headers={"Cache-Control": "private, max-age=60"})
