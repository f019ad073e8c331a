"""A freeze of one group and its end, and what a person and a script are told of orders."""

import shlex
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from locksmith.cli.output import note
from locksmith.cli.session import Session, author
from locksmith.fleet import acts
from locksmith.fleet.acts import legacy_words, too_late_words, was_words
from locksmith.fleet.fields import order_fields
from locksmith.lock.orders import OperatorOrders, Ordered, Stood
from locksmith.lock.records.order import Order
from locksmith.util.commands import naming_group

T = TypeVar("T")


def with_orders(session: Session, work: Callable[[OperatorOrders], Coroutine[Any, Any, T]]) -> T:
    """Run `work` with the orders of the session's group."""
    session.group_config()
    return session.with_store(lambda store: work(OperatorOrders(store, session.config.group)))


def freeze_group(
    session: Session, order: Order, ttl: float | None, *, legacy: bool, keep_longer: bool = False
) -> Ordered:
    """Freeze a group, and write that into its history; with `keep_longer` a freeze that lasts longer stays."""
    return with_orders(
        session, lambda orders: acts.freeze(orders, author(), order, ttl, legacy=legacy, keep_longer=keep_longer)
    )


def thaw_group(session: Session, reason: str) -> Stood:
    """End the freeze of a group, and write that into its history; give the order that has ended."""
    return with_orders(session, lambda orders: acts.thaw(orders, author(), reason))


def until_words(order: Order) -> str:
    """Say when an order ends by itself; empty: it does not."""
    return f" until {order.until.astimezone():%a %Y-%m-%d %H:%M:%S %Z}" if order.until else ""


def tell_ordered(session: Session, done: Ordered, reason: str, *, legacy: bool) -> None:
    """Say what a freeze replaced, and whom it does not stop."""
    if done.before is not None and not done.kept:
        note(f"it was frozen already {was_words(done.before)}: that is replaced")
    for words in too_late_words(done.too_late):
        note(words)
    if not legacy and done.without_record:
        command = naming_group(f"`locksmithctl freeze --legacy --reason={shlex.quote(reason)}`", session.config.group)
        note(f"Warning: {legacy_words(done.without_record, command)}")


def ordered_fields(done: Ordered) -> dict[str, object]:
    """Give what scripts may know of an order that was given."""
    return {
        "replaced": order_fields(done.before) if isinstance(done.before, Order) and not done.kept else None,
        "too_late": [{"id": claim.holder, "name": claim.hostname or claim.holder} for claim in done.too_late],
        "without_record": done.without_record,
    }
