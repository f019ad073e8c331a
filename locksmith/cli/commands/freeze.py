"""`freeze`, `thaw`, `hold`, `unhold`: who may reboot at all."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import click

from locksmith.cli import complete
from locksmith.cli.commands.all_groups import freeze_all, in_every_group, thaw_all
from locksmith.cli.commands.ordered import (
    freeze_group,
    ordered_fields,
    tell_ordered,
    thaw_group,
    until_words,
    with_orders,
)
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.group_names import confirm_group, note_unknown_group
from locksmith.cli.moments import coming
from locksmith.cli.named_machine import to_hold, to_unhold
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.session import Session, author, invoking_user, pass_session, reason_option
from locksmith.errors import LockError, StoreError, UsageError
from locksmith.fleet import acts
from locksmith.fleet.acts import was_words
from locksmith.fleet.fields import order_fields
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import list_groups
from locksmith.host.clock import local_zone
from locksmith.lock.orders import Stood
from locksmith.lock.records.keys import freeze_key
from locksmith.lock.records.order import Order
from locksmith.store.protocol import Store
from locksmith.util.commands import with_group
from locksmith.util.words import named, quoted
from locksmith.util.zincati import client_of
from locksmith.window.duration import parse_duration

T = TypeVar("T")

until_option = click.option(
    "--until", cls=GoOption, metavar="T", help="End it then: 18:30, 2026-12-24T18:30, or after 2026-12-24."
)
for_option = click.option("--for", "long", cls=GoOption, metavar="D", help="End it after a while, like 90m, 4h or 14d.")


def _choose_group(context: click.Context, _option: click.Parameter, group: str | None) -> None:
    """Take the group after the command too, because an order names its group there."""
    context.meta[complete.GROUP] = group
    session = context.find_object(Session)
    if group is not None and session is not None:
        session.flags = {**session.flags, "group": group}


group_option = click.option(
    "--group",
    cls=GoOption,
    metavar="GROUP",
    expose_value=False,
    callback=_choose_group,
    shell_complete=complete.groups,
    help="The group it is about.",
)
all_groups_option = click.option(
    "--all-groups", "every", cls=GoOption, is_flag=True, help="Every group that is in use, instead of one."
)


@click.command(cls=GoCommand)
@click.option("--reason", cls=GoOption, required=True, help="Why, for people whose machines wait.")
@until_option
@for_option
@click.option("--legacy", cls=GoOption, is_flag=True, help="Set max to 0 as well, for nodes that obey only that.")
@all_groups_option
@click.option("--yes", cls=GoOption, is_flag=True, help="Do not ask, also if no machine is in such a group.")
@group_option
@json_flag
@pass_session
def freeze(
    session: Session,
    *,
    reason: str,
    until: str | None,
    long: str | None,
    legacy: bool,
    every: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let no machine of the group begin a reboot, until `thaw`, or a time.

    A machine that holds a slot and can still abort releases it. A machine past the point of no return is named: nothing
    stops its reboot. If the group is not in use, which may be a typo, it asks; without a terminal that needs --yes.

    --all-groups freezes every group that is in use now. A freeze that lasts longer stays.
    """
    order, ttl = order_of(reason, until, long)
    if every:
        freeze_all(in_every_group(session), order, ttl, legacy=legacy, as_json=as_json)
        return
    if not confirm_group(session, "freeze", sure=yes) and legacy:
        raise LockError(
            f"{group_name(session.config.group)} has no number of slots yet that --legacy could set to 0; nothing was "
            "frozen. Freeze it without --legacy"
        )
    done = freeze_group(session, order, ttl, legacy=legacy)
    if as_json:
        print_json({"group": session.config.group, "freeze": order_fields(order), **ordered_fields(done)})
        return
    say(f"{group_name(session.config.group)} is frozen{until_words(order)}; `locksmithctl thaw` ends it")
    tell_ordered(session, done, reason, legacy=legacy)


@click.command(cls=GoCommand)
@reason_option
@all_groups_option
@group_option
@json_flag
@pass_session
def thaw(session: Session, *, reason: str, every: bool, as_json: bool) -> None:
    """End a freeze of the group, and set max back where it was fenced.

    If no group was named, this machine's group is not frozen, and others are, they are named, which is an error.
    --all-groups ends every freeze, of every operator, and names each.
    """
    if every:
        thaw_all(in_every_group(session), reason, as_json=as_json)
        return
    before, name = thaw_group(session, reason), group_name(session.config.group)
    if before is None and not session.names_group and (frozen := _frozen(session)):
        ways_out = named([with_group(f"`locksmithctl thaw` thaws {group_name(one)}", one) for one in frozen])
        raise LockError(f"{name} is not frozen, and nothing was ended: {ways_out}")
    _tell_ended(session, before, f"{name} is", "frozen", as_json=as_json)
    if before is None:
        note_unknown_group(session)


@click.command(cls=GoCommand)
@click.argument("machine", metavar="MACHINE", shell_complete=complete.machines)
@click.option("--reason", cls=GoOption, required=True, help="Why, for people whose machine waits.")
@until_option
@for_option
@group_option
@json_flag
@pass_session
def hold(session: Session, *, machine: str, reason: str, until: str | None, long: str | None, as_json: bool) -> None:
    """Keep one machine from rebooting, until `unhold`, or a time. It takes no slot, unlike `lock`.

    MACHINE is a machine-id, its first letters (four at least), a host name, or a short host name.
    """
    order, ttl = order_of(reason, until, long)
    match = to_hold(session, machine)
    machine_id, name = match.machine_id, match.name or match.machine_id

    done = with_orders(session, lambda orders: acts.hold(orders, author(), (machine_id, match.name), order, ttl))
    late = [claim for claim in done.too_late if claim.holder in {machine_id, client_of(machine_id)}]
    if as_json:
        print_json({"group": session.config.group, "id": machine_id, "hold": order_fields(order), "late": bool(late)})
        return
    say(f"{name} is held back{session.in_group}{until_words(order)}; `locksmithctl unhold {quoted(name)}` ends it")
    if late:
        note(f"Warning: {name} is past the point of no return: it reboots once more, which nothing stops now")


@click.command(cls=GoCommand)
@click.argument("machine", metavar="MACHINE", shell_complete=complete.held_machines)
@reason_option
@group_option
@json_flag
@pass_session
def unhold(session: Session, *, machine: str, reason: str, as_json: bool) -> None:
    """Let a machine reboot again that was held back."""
    match = to_unhold(session, machine)
    before = with_orders(session, lambda orders: acts.unhold(orders, author(), (match.machine_id, match.name), reason))
    name, state = match.name or match.machine_id, f"held back{session.in_group}"
    _tell_ended(session, before, f"{name} is", state, as_json=as_json)


def _frozen(session: Session) -> list[str]:
    """Name the groups that are frozen; none where the store does not let us look. The answer is known without them."""

    async def work(store: Store) -> list[str]:
        names = await list_groups(store)
        return [name for name in names if (await store.get(freeze_key(name))).entry is not None]

    try:
        return session.with_store(work)
    except StoreError:
        return []


def order_of(reason: str, until: str | None, long: str | None) -> tuple[Order, float | None]:
    """Make an order of the person who types, and say after how many seconds it ends by itself."""
    now = datetime.now(UTC).replace(microsecond=0)
    if until is not None and long is not None:
        raise UsageError("--until and --for say the same thing: keep one of them")
    ends = _ends(until) if until is not None else now + _span(long) if long is not None else None
    if ends is not None and ends <= now:
        raise UsageError(f"the order would have ended already: {ends.astimezone():%Y-%m-%d %H:%M:%S %Z} is past")
    order = Order(invoking_user(), now, reason, ends, nonce=secrets.token_hex(8))
    return order, (ends - now).total_seconds() if ends else None


def _ends(text: str) -> datetime:
    return coming(text, datetime.now(UTC), local_zone(), "--until").astimezone(UTC)


def _span(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None


def _tell_ended(session: Session, before: Stood, who: str, what: str, *, as_json: bool) -> None:
    if as_json:
        fields = order_fields(before) if isinstance(before, Order) else None
        print_json({"group": session.config.group, "ended": before is not None, "was": fields})
    elif before is None:
        say(f"nothing to end: {who} not {what}")
    else:
        say(f"{who} no longer {what}; that was {was_words(before)}")
