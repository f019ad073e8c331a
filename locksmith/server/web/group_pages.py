"""The pages of what is now: all groups, one group, one machine."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from locksmith.errors import StoreError
from locksmith.fleet.case import case
from locksmith.fleet.event_words import newest_first
from locksmith.fleet.explain import explain
from locksmith.fleet.lookup import known_names
from locksmith.fleet.machine_table import Weight
from locksmith.fleet.past import events_of
from locksmith.server.identity import Identity
from locksmith.server.permissions import Action, may
from locksmith.server.web.machine import machine_facts
from locksmith.server.web.render import group_of
from locksmith.server.web.requests import number, query
from locksmith.server.web.site import RefusedError, Site
from locksmith.server.web.views import Badge, MachineFilter

EVENTS_SHOWN: Final = 12
"""Events on the page of a group, or of a machine four times as many."""
FORECAST: Final = "How many machines are done over time, how many are down at once, and when the windows are open."


class GroupPages:
    """The overview, and the pages of each group and of its machines."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        return [
            Route("/", self._site.guarded(self._groups), methods=["GET"]),
            Route("/groups/{group}", self._site.guarded(self._group), methods=["GET"]),
            Route("/groups/{group}/machines/{machine}", self._site.guarded(self._machine), methods=["GET"]),
        ]

    async def _groups(self, request: Request, identity: Identity) -> Response:
        problem, names = "", list[str]()
        try:
            names = await self._site.visible(identity)
        except (StoreError, TimeoutError) as error:
            problem = str(error) or "etcd takes too long"
            names = [name for name in self._site.fleet.followed() if may(identity, Action.READ, name)]
        found = []
        for name in names:
            sight = await self._site.fleet.see(name)
            found.append((name, self._site.group_page(sight), sight.problem))
        away = bool(problem) or any(trouble for _, _, trouble in found)
        said = "; ".join(one.announcement for _, one, _ in found if one)
        return self._site.render(
            request,
            identity,
            "groups.html",
            503 if away else 200,
            groups=found,
            problem="" if found else problem,
            live="",
            announcement=said,
        )

    async def _group(self, request: Request, identity: Identity) -> Response:
        group, sight = await self._site.sight_of(request, identity)
        one = self._site.group_page(sight)
        shown = MachineFilter(query(request, "q"), query(request, "state"), number(request, "page"))
        return self._site.render_group(
            request,
            identity,
            group,
            sight,
            "group.html",
            one=one,
            number=sight.number,
            shown=shown,
            machines=one.machines(shown) if one else None,
            events=newest_first(sight.events[-EVENTS_SHOWN:]),
            orders=may(identity, Action.ORDER, group),
            forecast=FORECAST,
            pictures=True,
            announcement=one.announcement if one else "",
        )

    async def _machine(self, request: Request, identity: Identity) -> Response:
        group, sight = await self._site.sight_of(request, identity)
        machine_id = group_of(request.path_params["machine"])
        one = self._site.group_page(sight)
        if one is None:
            raise RefusedError(503, "etcd does not answer", sight.problem)
        view, now = one.view, one.now
        events = events_of(sight.events, machine_id)
        known = known_names(view)
        if machine_id not in known and not events:
            raise RefusedError(404, "No such machine", f"No machine {machine_id!r} is known in this group.")
        found = case(view, machine_id, now, self._site.halt_after)
        row = next((row for row in one.rows if row.machine_id == machine_id), None)
        return self._site.render_group(
            request,
            identity,
            group,
            sight,
            "machine.html",
            found=found,
            badge=one.badge(row) if row else Badge("gone", Weight.QUIET),
            sentences=explain(found),
            facts=machine_facts(found),
            held_back=machine_id in view.holds,
            is_machine=found.node is not None or found.place is not None or machine_id in view.absent,
            events=newest_first(events[-4 * EVENTS_SHOWN :]),
            orders=may(identity, Action.ORDER, group),
            announcement=f"{found.name} is {row.shown_state if row else 'gone'}",
        )
