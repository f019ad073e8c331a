"""The pages: who may see them, and what stands on each."""

import logging
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from locksmith.errors import StoreError
from locksmith.fleet.event_words import event_words
from locksmith.fleet.explain import case, explain
from locksmith.fleet.lookup import known_names
from locksmith.fleet.machine_table import Weight
from locksmith.lock.records.event import Event
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.server.answers import Answer
from locksmith.server.identity import Identity, Role
from locksmith.server.permissions import Action, may
from locksmith.server.web.fleet import Fleet, Sight
from locksmith.server.web.live import Streams
from locksmith.server.web.machine import machine_facts
from locksmith.server.web.ports import People
from locksmith.server.web.render import HEADERS, Templates, answer, group_of, group_segment, page, static
from locksmith.server.web.requests import BadFormError, number, query, read_form
from locksmith.server.web.views import Badge, GroupPage, MachineFilter

log = logging.getLogger(__name__)

ROOT: Final = "/"
EVENTS_SHOWN: Final = 12
"""Events on the page of a group, or of a machine four times as many."""
EVENTS_PAGE: Final = 100
"""Events on a page of the history."""
FORECAST: Final = "How many machines are done over time, how many are down at once, and when the windows are open."
STATIC: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

Handler = Callable[[Request], Awaitable[Response]]
Show = Callable[[Request, Identity], Awaitable[Response]]


class RefusedError(Exception):
    """A page that is not shown; `status` is HTTP's, and the text says why, for a person."""

    def __init__(self, status: int, heading: str, *sentences: str) -> None:
        super().__init__(heading)
        self.status, self.heading, self.sentences = status, heading, sentences


class Site:
    """The pages of a fleet. `clock` is local time; `halt_after` is what halts a group, by the configuration."""

    def __init__(
        self,
        fleet: Fleet,
        people: People,
        clock: Callable[[], datetime],
        *,
        halt_after: HaltAfter = FIRST,
        served: frozenset[str] = frozenset(),
    ) -> None:
        self.fleet, self.people, self.clock = fleet, people, clock
        self._halt_after, self._served = halt_after, served
        self._templates = Templates()
        self._streams = Streams(fleet)
        self._static = {name: static(name) for name in STATIC}

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        get: list[tuple[str, Handler]] = [
            ("/", self.guarded(self._groups)),
            ("/events", self.guarded(self._events)),
            ("/groups/{group}", self.guarded(self._group)),
            ("/groups/{group}/history", self.guarded(self._history)),
            ("/groups/{group}/machines/{machine}", self.guarded(self._machine)),
            ("/sign-in", self._sign_in_form),
            ("/static/{name}", self._file),
        ]
        post: list[tuple[str, Handler]] = [("/sign-in", self._sign_in), ("/sign-out", self._sign_out)]
        return [
            *(Route(path, handler, methods=["GET"]) for path, handler in get),
            *(Route(path, handler, methods=["POST"]) for path, handler in post),
        ]

    def guarded(self, show: Show) -> Handler:
        """Show a page to whom the server knows; others are asked to sign in. No error has a traceback."""

        async def handle(request: Request) -> Response:
            identity = await self.people.identify(request)
            if isinstance(identity, Answer):
                return await self._stranger(request, identity)
            try:
                return await show(request, identity)
            except RefusedError as error:
                return self.message(request, identity, error.status, error.heading, *error.sentences)
            except BadFormError as error:
                return self.message(request, identity, error.status, "This form cannot be read", f"{error}.")
            except Exception as error:  # noqa: BLE001 - a person must see a page, and no traceback
                log.error("a page failed: %s: %s", type(error).__name__, error)  # noqa: TRY400 - one line
                return self.message(request, identity, 500, "This page failed", "The server's log says more.")

        return handle

    def render(
        self, request: Request, identity: Identity | None, template: str, status: int = 200, /, **values: Any
    ) -> Response:
        """Give a page of a template."""
        shared = {"root": ROOT, "identity": identity, "now": self.clock(), "problem": "", "name": None}
        csrf = self.people.csrf_token(request) if identity else ""
        headers = {"Retry-After": "5"} if status == 503 else {}  # noqa: PLR2004 - Service Unavailable
        return page(self._templates.render(template, {**shared, "csrf": csrf, **values}), status, headers)

    def message(
        self, request: Request, identity: Identity | None, status: int, heading: str, *sentences: str, **values: Any
    ) -> Response:
        """Give a page that says one thing."""
        return self.render(
            request,
            identity,
            "message.html",
            status,
            **{"back": ROOT, "heading": heading, "sentences": sentences, **values},
        )

    async def visible(self, identity: Identity) -> list[str]:
        """Name the groups that a person may see. `StoreError`, `TimeoutError`."""
        names = dict.fromkeys([*await self.fleet.names(), *sorted(self._served)])
        return [name for name in names if may(identity, Action.READ, name)]

    async def sight_of(self, request: Request, identity: Identity) -> tuple[str, Sight]:
        """Give the group of an address, and what is known of it. `RefusedError`: the person may not, or it is none."""
        group = group_of(request.path_params["group"])
        if not may(identity, Action.READ, group):
            raise RefusedError(403, "Not for you", "Your token does not count for this group.")
        if not self.fleet.follows(group):
            try:
                known = await self.visible(identity)
            except (StoreError, TimeoutError) as error:
                why = str(error) or "etcd takes too long"
                raise RefusedError(
                    503, "etcd does not answer", f"{why}.", "Nothing is known of this group yet."
                ) from None
            if group not in known:
                raise RefusedError(404, "No such group", f"No machine, slot or order of a group {group!r} is in etcd.")
        sight = await self.fleet.see(group)
        if sight.view is None and not sight.problem:
            raise RefusedError(503, "etcd does not answer", "etcd takes too long. Nothing is known of this group yet.")
        return group, sight

    def group_page(self, sight: Sight) -> GroupPage | None:
        """Put a group into words; None: nothing is known of it."""
        return sight.page.at(self.clock()) if sight.page else None

    async def _groups(self, request: Request, identity: Identity) -> Response:
        problem, names = "", list[str]()
        try:
            names = await self.visible(identity)
        except (StoreError, TimeoutError) as error:
            problem = str(error) or "etcd takes too long"
            names = [name for name in self.fleet.followed() if may(identity, Action.READ, name)]
        found = []
        for name in names:
            sight = await self.fleet.see(name)
            found.append((name, self.group_page(sight), sight.problem))
        away = bool(problem) or any(trouble for _, _, trouble in found)
        said = "; ".join(one.announcement for _, one, _ in found if one)
        return self.render(
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
        group, sight = await self.sight_of(request, identity)
        one = self.group_page(sight)
        shown = MachineFilter(query(request, "q"), query(request, "state"), number(request, "page"))
        return self.render(
            request,
            identity,
            "group.html",
            503 if sight.problem else 200,
            name=group,
            one=one,
            problem=sight.problem,
            number=sight.number,
            shown=shown,
            machines=one.machines(shown) if one else None,
            events=_worded(sight.events[-EVENTS_SHOWN:]),
            orders=may(identity, Action.ORDER, group),
            forecast=FORECAST,
            pictures=True,
            live=f"?group={quote(group_segment(group))}",
            announcement=one.announcement if one else "",
        )

    async def _machine(self, request: Request, identity: Identity) -> Response:
        group, sight = await self.sight_of(request, identity)
        machine_id = group_of(request.path_params["machine"])
        one = self.group_page(sight)
        if one is None:
            raise RefusedError(503, "etcd does not answer", sight.problem)
        view, now = one.view, one.now
        events = [event for event in sight.events if event.holder == machine_id or f"({machine_id})" in event.detail]
        known = known_names(view)
        if machine_id not in known and not events:
            raise RefusedError(404, "No such machine", f"No machine {machine_id!r} is known in this group.")
        found = case(view, machine_id, now, self._halt_after)
        row = next((row for row in one.rows if row.machine_id == machine_id), None)
        return self.render(
            request,
            identity,
            "machine.html",
            503 if sight.problem else 200,
            name=group,
            problem=sight.problem,
            found=found,
            badge=one.badge(row) if row else Badge("gone", Weight.QUIET),
            sentences=explain(found),
            facts=machine_facts(found),
            held_back=machine_id in view.holds,
            is_machine=found.node is not None or found.place is not None or machine_id in view.absent,
            events=_worded(events[-4 * EVENTS_SHOWN :]),
            orders=may(identity, Action.ORDER, group),
            live=f"?group={quote(group_segment(group))}",
            announcement=f"{found.name} is {row.shown_state if row else 'gone'}",
        )

    async def _history(self, request: Request, identity: Identity) -> Response:
        group, sight = await self.sight_of(request, identity)
        text, what = query(request, "q"), query(request, "what", 40)
        begin, end = query(request, "from", 10), query(request, "to", 10)
        wrong, first, last = "", _day(begin), _day(end)
        if (begin and first is None) or (end and last is None):
            wrong = "A day is written like 2026-12-24; that limit was left out."
        zone = self.clock().tzinfo
        worded = _worded(sight.events)
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
        return self.render(
            request,
            identity,
            "history.html",
            503 if sight.problem else 200,
            name=group,
            problem=sight.problem,
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
            live=f"?group={quote(group_segment(group))}",
        )

    async def _events(self, request: Request, identity: Identity) -> Response:
        if identity.role is Role.MACHINE:  # thousands of them share the streams' limit with a few people
            raise RefusedError(403, "Not for you", "The page is for people, and this is the credential of a machine.")
        segment = request.query_params.get("group")
        if segment is not None:
            groups = [group_of(segment)]
        else:
            try:
                groups = await self.visible(identity)
            except (StoreError, TimeoutError):
                groups = self.fleet.followed()
        allowed = [group for group in groups if may(identity, Action.READ, group) and self.fleet.follows(group)]
        if self._streams.is_full(identity.name):
            return answer(b"too many streams are open\n", "text/plain; charset=utf-8", 503, {"Retry-After": "30"})
        return self._streams.stream(request, identity.name, allowed, dict(HEADERS))

    async def _stranger(self, request: Request, refused: Answer) -> Response:
        """Ask whom the server does not know to sign in; say to others why not."""
        sentence = refused.refusal.sentence if refused.refusal else ""
        if request.method == "GET" and refused.status == 401:  # noqa: PLR2004 - not signed in
            path = request.scope["path"] + (f"?{request.url.query}" if request.url.query else "")
            to = f"{ROOT}sign-in" + ("" if path == ROOT else f"?next={quote(path)}")
            return RedirectResponse(to, 303, {**HEADERS, "Cache-Control": "no-store"})
        if refused.status == 503:  # noqa: PLR2004 - Service Unavailable
            return self.message(request, None, 503, "etcd does not answer", f"{sentence}.")
        return self.message(request, None, refused.status, "Not for you", f"{sentence}.", **_way_in())

    async def _sign_in_form(self, request: Request) -> Response:
        return self.render(request, None, "sign_in.html", next=_inside(query(request, "next", 500)), wrong="")

    async def _sign_in(self, request: Request) -> Response:
        try:
            form = await read_form(request)
        except BadFormError as error:
            return self.message(request, None, error.status, "This form cannot be read", f"{error}.")
        to = _inside(form.get("next", ""))
        if problem := _of_another_site(request):
            return self.render(request, None, "sign_in.html", 403, next=to, wrong=problem)
        signed_in = await self.people.sign_in(request, form.get("token", "").strip())
        if isinstance(signed_in, Answer):
            sentence = signed_in.refusal.sentence if signed_in.refusal else "that is no token"
            return self.render(request, None, "sign_in.html", signed_in.status, next=to, wrong=f"{sentence}.")
        headers = {**HEADERS, "Cache-Control": "no-store", "Set-Cookie": signed_in.cookie}
        return RedirectResponse(to or ROOT, 303, headers)

    async def _sign_out(self, request: Request) -> Response:
        try:
            form = await read_form(request)
        except BadFormError as error:
            return self.message(request, None, error.status, "This form cannot be read", f"{error}.")
        if (problem := self.people.csrf_problem(request, form.get("csrf", ""))) is not None:
            sentence = problem.refusal.sentence if problem.refusal else ""
            return self.message(request, None, problem.status, "You are still signed in", f"{sentence}.")
        headers = {**HEADERS, "Cache-Control": "no-store"}
        cookie = await self.people.sign_out(request)
        return RedirectResponse(f"{ROOT}sign-in", 303, {**headers, **({"Set-Cookie": cookie} if cookie else {})})

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            return answer(b"there is no such file\n", "text/plain; charset=utf-8", 404)
        return answer(self._static[name], STATIC[name], headers={"Cache-Control": "no-cache"})


def _worded(events: Any) -> list[tuple[Event, Any]]:
    """Put events into words, the youngest first."""
    return [(event, event_words(event)) for event in reversed(events)]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _inside(path: str) -> str:
    """Give an address of this site; empty: it is one of another, or none."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or "\\" in path or not path.isprintable():
        return ""
    parts = urlsplit(path)
    return path if not parts.scheme and not parts.netloc else ""


def _of_another_site(request: Request) -> str:
    """Say that another site has sent a form; empty: it has not, as far as the browser tells."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    return "" if site in {"same-origin", "none"} else "Another site has sent this form: sign in here."


def _way_in() -> dict[str, str]:
    return {"link": f"{ROOT}sign-in", "link_words": "Sign in"}
