"""A freeze of one group and its end, and what a person and a script are told of orders."""

import shlex
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from locksmith.cli.output import note
from locksmith.cli.session import Session, act
from locksmith.errors import CorruptValueError
from locksmith.fleet.fields import order_fields
from locksmith.lock.orders import OperatorOrders, Ordered, Stood
from locksmith.lock.records.event import FREEZE, THAW
from locksmith.lock.records.order import Order
from locksmith.util.commands import naming_group
from locksmith.util.words import named

T = TypeVar("T")


def with_orders(session: Session, work: Callable[[OperatorOrders], Coroutine[Any, Any, T]]) -> T:
    """Run `work` with the orders of the session's group."""
    session.group_config()
    return session.with_store(lambda store: work(OperatorOrders(store, session.config.group)))


def freeze_group(
    session: Session, order: Order, ttl: float | None, *, legacy: bool, keep_longer: bool = False
) -> Ordered:
    """Freeze a group, and write that into its history; with `keep_longer` a freeze that lasts longer stays."""

    async def work(orders: OperatorOrders) -> Ordered:
        done = await orders.freeze(order, ttl, legacy=legacy, keep_longer=keep_longer)
        if not done.kept:
            await orders.admin.history.add(act(FREEZE, order.reason, "max set to 0" if legacy else ""))
        return done

    return with_orders(session, work)


def thaw_group(session: Session, reason: str) -> Stood:
    """End the freeze of a group, and write that into its history; give what stood there."""

    async def work(orders: OperatorOrders) -> Stood:
        before = await orders.thaw()
        if before is not None:
            await orders.admin.history.add(act(THAW, reason, was_words(before)))
        return before

    return with_orders(session, work)


def until_words(order: Order) -> str:
    """Say when an order ends by itself; empty: it does not."""
    return f" until {order.until.astimezone():%a %Y-%m-%d %H:%M:%S %Z}" if order.until else ""


def was_words(stood: Stood) -> str:
    """Say by whom, since when and why an order stood."""
    if isinstance(stood, CorruptValueError):
        return "by a value that could not be read"
    return stood.describe() if stood is not None else ""


def tell_ordered(session: Session, done: Ordered, reason: str, *, legacy: bool) -> None:
    """Say what a freeze replaced, and whom it does not stop."""
    if done.before is not None and not done.kept:
        note(f"it was frozen already {was_words(done.before)}: that is replaced")
    for claim in done.too_late:
        note(f"{claim.hostname or claim.holder} is past the point of no return: it reboots, which nothing stops now")
    if not legacy and done.without_record:
        command = naming_group(f"`locksmithctl freeze --legacy --reason={shlex.quote(reason)}`", session.config.group)
        note(
            f"Warning: {named(done.without_record)} hold a slot without a record: legacy nodes obey only "
            f"the number of slots. {command} sets that to 0"
        )


def ordered_fields(done: Ordered) -> dict[str, object]:
    """Give what scripts may know of an order that was given."""
    return {
        "replaced": order_fields(done.before) if isinstance(done.before, Order) and not done.kept else None,
        "too_late": [{"id": claim.holder, "name": claim.hostname or claim.holder} for claim in done.too_late],
        "without_record": done.without_record,
    }
