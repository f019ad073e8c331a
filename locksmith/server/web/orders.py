"""An operator's orders, in two steps: a page says what will happen, and the form on it orders that and no more."""

import logging
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from locksmith.errors import CorruptValueError, LockError, LocksmithError, OutcomeUnknownError, StoreError
from locksmith.fleet.acts import Author
from locksmith.lock.errors import ChangedClaimError, ChangedIncidentsError, ChangedOrderError
from locksmith.lock.records.order import Order
from locksmith.server.identity import Identity
from locksmith.server.permissions import Action, forbidden
from locksmith.server.web.plans import Plan, Planner, StalePageError
from locksmith.server.web.render import group_of, group_segment
from locksmith.server.web.requests import LONGEST_REASON, query, read_form
from locksmith.server.web.site import RefusedError, Site
from locksmith.store.protocol import Store
from locksmith.util.text import one_line
from locksmith.window.duration import parse_duration

log = logging.getLogger(__name__)

LONGEST_ID: Final = 256
NOT_UP_TO_DATE: Final = "Nothing was done, because the page you used was not up to date"


@dataclass(frozen=True, slots=True)
class Filled:
    """What an operator has filled in."""

    version: str
    reason: str
    long: str


NOTHING: Final = Filled("", "", "")


class OrderPages:
    """The pages of the orders. `store` is where they are written, and `host` where this server runs."""

    def __init__(self, site: Site, store: Store, host: str) -> None:
        self._site, self._store, self._host = site, store, host

    def routes(self) -> list[BaseRoute]:
        """Give the routes."""
        path = "/groups/{group}/orders/{order}"
        return [
            Route(path, self._site.guarded(self._show), methods=["GET"]),
            Route(path, self._site.guarded(self._give), methods=["POST"]),
        ]

    async def _show(self, request: Request, identity: Identity) -> Response:
        """Say what will happen."""
        planner = self._planner(request, identity, query(request, "machine", LONGEST_ID))
        plan = await self._planned(planner)
        return self._page(request, identity, planner, plan)

    async def _give(self, request: Request, identity: Identity) -> Response:
        """Give the order, if all is as the page has said."""
        form = await read_form(request)
        problem = self._site.people.csrf_problem(request, form.get("csrf", ""))
        if problem is not None:
            sentence = problem.refusal.sentence if problem.refusal else "the form is not of this page"
            raise RefusedError(problem.status, "Nothing was done", f"{sentence}.")
        planner = self._planner(request, identity, form.get("machine", "")[:LONGEST_ID])
        reason = one_line(form.get("reason", ""), LONGEST_REASON)
        filled = Filled(form.get("version", ""), reason, form.get("for", "").strip())
        plan = await self._planned(planner)
        if wrong := _wrong(plan, filled):
            return self._page(request, identity, planner, plan, filled=filled, wrong=wrong, status=400)
        order, ttl = _order(identity, filled)
        try:
            done = await planner.give(plan, filled.version, Author(identity.name, self._host), order, ttl)
        except (StalePageError, ChangedClaimError, ChangedIncidentsError, ChangedOrderError) as error:
            plan = await self._planned(planner)
            wrong = f"{NOT_UP_TO_DATE}: {error}."
            return self._page(request, identity, planner, plan, filled=filled, wrong=wrong, status=409)
        except OutcomeUnknownError as error:
            heading = "It is not known whether that was done"
            raise RefusedError(503, heading, f"{error}.", "Check the group before you try again.") from None
        except StoreError as error:
            way_on = "Check the group before you try again."
            raise RefusedError(503, "etcd does not answer", f"{error}.", way_on) from None
        except (LockError, CorruptValueError) as error:
            raise RefusedError(409, "That was not done", f"{error}.") from None
        about = f" for {plan.machine}" if plan.machine else ""
        log.info("%s ordered %s%s in group %r", identity.name, plan.order, about, planner.group)
        await self._site.fleet.refresh(planner.group)
        here = f"{self._site.root}groups/{group_segment(planner.group)}"
        return self._site.message(
            request,
            identity,
            200,
            "Done",
            *done,
            name=planner.group,
            back=here,
            back_name=planner.group or "(default)",
            link=here,
            link_words="Back to the group",
        )

    def _planner(self, request: Request, identity: Identity, machine: str) -> Planner:
        group = group_of(request.path_params["group"])
        if (refused := forbidden(identity, Action.ORDER, group)) is not None:
            sentence = refused.refusal.sentence if refused.refusal else ""
            raise RefusedError(403, "Not for you", f"{sentence}.")
        planner = Planner(self._store, group, request.path_params["order"], machine, self._site.clock())
        if not planner.exists:
            raise RefusedError(404, "No such order", "The orders are freeze, thaw, hold, unhold, resume and unlock.")
        return planner

    async def _planned(self, planner: Planner) -> Plan:
        sight = await self._site.fleet.refresh(planner.group)
        if sight.problem or sight.view is None:
            raise RefusedError(503, "etcd does not answer", f"{sight.problem}.", "Nothing was done.")
        try:
            return await planner.plan(sight.view)
        except LocksmithError as error:
            status = 503 if isinstance(error, StoreError) else 409
            raise RefusedError(status, "That cannot be done now", f"{error}.", "Nothing was done.") from None

    def _page(
        self,
        request: Request,
        identity: Identity,
        planner: Planner,
        plan: Plan,
        *,
        filled: Filled = NOTHING,
        wrong: str = "",
        status: int = 200,
    ) -> Response:
        values = {"reason": filled.reason, "long": filled.long, "wrong": wrong}
        return self._site.render(request, identity, "order.html", status, name=planner.group, plan=plan, **values)


def _wrong(plan: Plan, filled: Filled) -> str:
    """Say what is wrong with what was filled in; empty: nothing."""
    if plan.needs_reason and not filled.reason:
        return "Say why: people whose machines wait will read it."
    if filled.long and not plan.can_end:
        return "This order does not end by itself."
    if filled.long:
        try:
            if parse_duration(filled.long) <= timedelta(0):
                return "The order would end at once."
        except (ValueError, OverflowError) as error:
            return f"When it ends: {error}."
    return ""


def _order(identity: Identity, filled: Filled) -> tuple[Order, float | None]:
    """Make the order, and say after how many seconds it ends by itself (None: it does not)."""
    now = datetime.now(UTC).replace(microsecond=0)
    order = Order(identity.name, now, filled.reason, None, nonce=secrets.token_hex(8))
    if not filled.long:
        return order, None
    long = parse_duration(filled.long)
    return replace(order, until=now + long), long.total_seconds()
