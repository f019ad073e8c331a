"""What all pages share: who may see them, how they are written, and what is known of a group."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from locksmith.errors import StoreError
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.server.answers import Answer
from locksmith.server.identity import Identity
from locksmith.server.permissions import Action, may
from locksmith.server.web.fleet import Fleet, Sight
from locksmith.server.web.ports import People
from locksmith.server.web.render import HEADERS, group_of, group_segment, page, render_template
from locksmith.server.web.requests import BadFormError
from locksmith.server.web.views import GroupPage

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
Show = Callable[[Request, Identity], Awaitable[Response]]


class RefusedError(Exception):
    """A page that is not shown; `status` is HTTP's, and the text says why, for a person."""

    def __init__(self, status: int, heading: str, *sentences: str) -> None:
        super().__init__(heading)
        self.status, self.heading, self.sentences = status, heading, sentences


class Site:
    """A fleet, for its pages. `clock` is local time; `halt_after` is what halts a group, by the configuration.

    `served` are groups that exist although etcd has nothing of them yet. `prefix` is the path below which browsers find
    the page, as `/locksmith`.
    """

    def __init__(
        self,
        fleet: Fleet,
        people: People,
        clock: Callable[[], datetime],
        *,
        halt_after: HaltAfter = FIRST,
        served: frozenset[str] = frozenset(),
        prefix: str = "",
    ) -> None:
        self.root = f"{prefix}/"
        self.fleet, self.people, self.clock = fleet, people, clock
        self.halt_after, self._served = halt_after, served

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
        shared = {"root": self.root, "identity": identity, "now": self.clock(), "problem": "", "name": None}
        csrf = self.people.csrf_token(request) if identity else ""
        headers = {"Retry-After": "5"} if status == 503 else {}  # noqa: PLR2004 - Service Unavailable
        return page(render_template(template, {**shared, "csrf": csrf, **values}), status, headers)

    def render_group(
        self, request: Request, identity: Identity, group: str, sight: Sight, template: str, **values: Any
    ) -> Response:
        """Give a page of a group, which is fetched again when the group has changed."""
        live = f"?group={quote(group_segment(group))}"
        shared = {"name": group, "problem": sight.problem, "live": live}
        return self.render(request, identity, template, 503 if sight.problem else 200, **shared, **values)

    def message(
        self, request: Request, identity: Identity | None, status: int, heading: str, *sentences: str, **values: Any
    ) -> Response:
        """Give a page that says one thing."""
        return self.render(
            request,
            identity,
            "message.html",
            status,
            **{"back": self.root, "heading": heading, "sentences": sentences, **values},
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

    async def _stranger(self, request: Request, refused: Answer) -> Response:
        """Ask whom the server does not know to sign in; say to others why not."""
        sentence = refused.refusal.sentence if refused.refusal else ""
        if request.method == "GET" and refused.status == 401:  # noqa: PLR2004 - not signed in
            path = request.scope["path"][1:] + (f"?{request.url.query}" if request.url.query else "")
            to = f"{self.root}sign-in" + (f"?next={quote(self.root + path)}" if path else "")
            return RedirectResponse(to, 303, {**HEADERS, "Cache-Control": "no-store"})
        if refused.status == 503:  # noqa: PLR2004 - Service Unavailable
            return self.message(request, None, 503, "etcd does not answer", f"{sentence}.")
        way_in = {"link": f"{self.root}sign-in", "link_words": "Sign in"}
        return self.message(request, None, refused.status, "Not for you", f"{sentence}.", **way_in)
