"""`freeze`, `thaw`, `hold`, `unhold`: who may reboot at all."""

import secrets
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from locksmith.cli.choose import choose
from locksmith.cli.fleet_json import order_fields
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.moments import coming
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.session import Session, act, invoking_user, pass_session, reason_option
from locksmith.errors import CorruptValueError, LockError, UsageError
from locksmith.fleet.explain import group_name
from locksmith.fleet.lookup import Match, find, is_machine_id
from locksmith.fleet.reader import read_group
from locksmith.host.clock import local_zone
from locksmith.lock.orders import OperatorOrders, Ordered, Stood
from locksmith.lock.records.event import FREEZE, HOLD, THAW, UNHOLD
from locksmith.lock.records.order import Order
from locksmith.store.protocol import Store
from locksmith.util.words import named, quoted
from locksmith.window.duration import parse_duration

T = TypeVar("T")

until_option = click.option(
    "--until", cls=GoOption, metavar="T", help="End it then: 18:30, 2026-12-24T18:30, or after 2026-12-24."
)
for_option = click.option("--for", "long", cls=GoOption, metavar="D", help="End it after a while, like 90m, 4h or 14d.")


def _choose_group(context: click.Context, _option: click.Parameter, group: str | None) -> None:
    """Take the group after the command too, because an order names its group there."""
    session = context.find_object(Session)
    if group is not None and session is not None:
        session.flags = {**session.flags, "group": group}


group_option = click.option(
    "--group", cls=GoOption, metavar="GROUP", expose_value=False, callback=_choose_group, help="The group it is about."
)
machine_argument = click.argument("machine", metavar="MACHINE")


@click.command(cls=GoCommand)
@click.option("--reason", cls=GoOption, required=True, help="Why, for people whose machines wait.")
@until_option
@for_option
@click.option("--legacy", cls=GoOption, is_flag=True, help="Set max to 0 as well, for nodes that obey only that.")
@group_option
@json_flag
@pass_session
def freeze(session: Session, *, reason: str, until: str | None, long: str | None, legacy: bool, as_json: bool) -> None:
    """Let no machine of the group begin a reboot, until `thaw`, or a time.

    A machine that holds a slot and can still abort releases it. A machine past the point of no return is named: nothing
    stops its reboot.
    """
    order, ttl = order_of(reason, until, long)

    async def work(orders: OperatorOrders) -> Ordered:
        done = await orders.freeze(order, ttl, legacy=legacy)
        await orders.admin.history.add(act(FREEZE, reason, "max set to 0" if legacy else ""))
        return done

    done = _with_orders(session, work)
    if as_json:
        print_json({"group": session.config.group, "freeze": order_fields(order), **_fields(done)})
        return
    say(f"{group_name(session.config.group)} is frozen{_until(order)}; `locksmithctl thaw` ends it")
    _tell(done)
    if not legacy and done.without_record:
        note(
            f"Warning: {named(done.without_record)} hold a slot without a record: legacy nodes obey only "
            "the number of slots. `locksmithctl freeze --legacy` sets that to 0 until `thaw`"
        )


@click.command(cls=GoCommand)
@reason_option
@group_option
@json_flag
@pass_session
def thaw(session: Session, *, reason: str, as_json: bool) -> None:
    """End a freeze of the group, and set max back where it was fenced."""

    async def work(orders: OperatorOrders) -> Stood:
        before = await orders.thaw()
        if before is not None:
            await orders.admin.history.add(act(THAW, reason, _was(before)))
        return before

    before = _with_orders(session, work)
    _tell_ended(session, before, f"{group_name(session.config.group)} is", "frozen", as_json=as_json)


@click.command(cls=GoCommand)
@machine_argument
@click.option("--reason", cls=GoOption, required=True, help="Why, for people whose machine waits.")
@until_option
@for_option
@group_option
@json_flag
@pass_session
def hold(session: Session, *, machine: str, reason: str, until: str | None, long: str | None, as_json: bool) -> None:
    """Keep one machine from rebooting, until `unhold`, or a time. It takes no slot, unlike `lock`.

    MACHINE is a hostname, a machine-id, or its first letters (four at least).
    """
    order, ttl = order_of(reason, until, long)
    machine_id = _find(session, machine)

    async def work(orders: OperatorOrders) -> Ordered:
        done = await orders.hold(machine_id, order, ttl)
        await orders.admin.history.add(act(HOLD, reason, f"{machine} ({machine_id})"))
        return done

    done = _with_orders(session, work)
    late = [claim for claim in done.too_late if claim.holder == machine_id]
    if as_json:
        print_json({"group": session.config.group, "id": machine_id, "hold": order_fields(order), "late": bool(late)})
        return
    say(f"{machine} is held back{_until(order)}; `locksmithctl unhold {quoted(machine)}` ends it")
    if late:
        note(f"Warning: {machine} is past the point of no return: it reboots once more, which nothing stops now")


@click.command(cls=GoCommand)
@machine_argument
@reason_option
@group_option
@json_flag
@pass_session
def unhold(session: Session, *, machine: str, reason: str, as_json: bool) -> None:
    """Let a machine reboot again that was held back."""
    machine_id = _find(session, machine)

    async def work(orders: OperatorOrders) -> Stood:
        before = await orders.unhold(machine_id)
        if before is not None:
            await orders.admin.history.add(act(UNHOLD, reason, f"{machine} was held back {_was(before)}"))
        return before

    _tell_ended(session, _with_orders(session, work), f"{machine} is", "held back", as_json=as_json)


def _with_orders(session: Session, work: Callable[[OperatorOrders], Coroutine[Any, Any, T]]) -> T:
    return session.with_store(lambda store: work(OperatorOrders(store, session.config.group)))


def order_of(reason: str, until: str | None, long: str | None) -> tuple[Order, float | None]:
    """Make an order of the person who types, and say after how many seconds it ends by itself."""
    now = datetime.now(UTC).replace(microsecond=0)
    if until is not None and long is not None:
        raise UsageError("--until and --for say the same thing: keep one of them")
    ends = _ends(until) if until is not None else now + _span(long) if long is not None else None
    if ends is not None and ends <= now:
        raise UsageError(f"it would have ended already: {ends.astimezone():%Y-%m-%d %H:%M:%S %Z} is past")
    order = Order(invoking_user(), now, reason, ends, nonce=secrets.token_hex(8))
    return order, (ends - now).total_seconds() if ends else None


def _ends(text: str) -> datetime:
    return coming(text, datetime.now(UTC), local_zone(), "--until").astimezone(UTC)


def _span(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None


def _find(session: Session, wanted: str) -> str:
    async def look(store: Store) -> list[Match]:
        return find(await read_group(store, session.config.group), wanted)

    if matches := session.with_store(look):
        return choose(matches, wanted)
    if is_machine_id(wanted):
        return wanted
    raise LockError(f"no machine of the group is called {wanted}, nor has such an id: see `locksmithctl nodes`")


def _until(order: Order) -> str:
    return f" until {order.until.astimezone():%a %Y-%m-%d %H:%M:%S %Z}" if order.until else ""


def _was(stood: Stood) -> str:
    if isinstance(stood, CorruptValueError):
        return "by a value that could not be read"
    return stood.describe() if stood is not None else ""


def _tell(done: Ordered) -> None:
    if done.before is not None:
        note(f"it was frozen already {_was(done.before)}: that is replaced")
    for claim in done.too_late:
        note(f"{claim.hostname or claim.holder} is past the point of no return: it reboots, which nothing stops now")


def _fields(done: Ordered) -> dict[str, object]:
    return {
        "replaced": order_fields(done.before) if isinstance(done.before, Order) else None,
        "too_late": [{"id": claim.holder, "name": claim.hostname or claim.holder} for claim in done.too_late],
        "without_record": done.without_record,
    }


def _tell_ended(session: Session, before: Stood, who: str, what: str, *, as_json: bool) -> None:
    if as_json:
        fields = order_fields(before) if isinstance(before, Order) else None
        print_json({"group": session.config.group, "ended": before is not None, "was": fields})
    elif before is None:
        say(f"nothing to end: {who} not {what}")
    else:
        say(f"{who} no longer {what}; that was {_was(before)}")
