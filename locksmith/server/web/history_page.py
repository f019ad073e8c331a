"""The page of the past: the history of a group, filtered by words, by what happened, and by day."""

from datetime import date
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from locksmith.fleet.event_words import newest_first
from locksmith.server.identity import Identity
from locksmith.server.web.requests import number, query
from locksmith.server.web.site import Site

EVENTS_PAGE: Final = 100
"""Events on a page."""


class HistoryPage:
    """The history of each group."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        return [Route("/groups/{group}/history", self._site.guarded(self._history), methods=["GET"])]

    async def _history(self, request: Request, identity: Identity) -> Response:
        group, sight = await self._site.sight_of(request, identity)
        text, what = query(request, "q"), query(request, "what", 40)
        begin, end = query(request, "from", 10), query(request, "to", 10)
        wrong, first, last = "", _day(begin), _day(end)
        if (begin and first is None) or (end and last is None):
            wrong = "A day is written like 2026-12-24; that limit was left out."
        zone = self._site.clock().tzinfo
        worded = newest_first(sight.events)
        found = [
            (event, words)
            for event, words in worded
            if (not text or words.has(text))
            and (not what or words.what == what)
            and (first is None or event.at.astimezone(zone).date() >= first)
            and (last is None or event.at.astimezone(zone).date() <= last)
        ]
        pages = max(1, -(-len(found) // EVENTS_PAGE))
        at = min(number(request, "page"), pages)
        return self._site.render_group(
            request,
            identity,
            group,
            sight,
            "history.html",
            text=text,
            what=what,
            begin=begin,
            end=end,
            wrong=wrong,
            kinds=sorted({words.what for _, words in worded}),
            matching=len(found),
            total=len(worded),
            events=found[(at - 1) * EVENTS_PAGE : at * EVENTS_PAGE],
            page=at,
            pages=pages,
        )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
