"""What an operator orders, with its record in the history, and what the operator is told of it.

The tool and the page order by these. Each order may name what was `shown` of the thing it changes: the version of its
record (`ABSENT`: there was none). Then it changes only that, or `ChangedOrderError` is raised.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from locksmith.errors import CorruptValueError
from locksmith.fleet.reboot_words import reboot_words
from locksmith.lock.admin import LockAdmin
from locksmith.lock.orders import OperatorOrders, Ordered, Stood
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import FREEZE, HOLD, RESUME, THAW, UNHOLD, UNLOCK, Event, about
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.order import Order
from locksmith.lock.shown_holder import ShownHolder
from locksmith.lock.unlocking import Frees
from locksmith.util.words import named

NOTHING_WRONG = "nothing had gone wrong"
WITHOUT_SLOT = "Without its slot another machine may go down as well"
"""What is said of a slot whose machine may be down, before it is freed."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who orders, and on which host."""

    who: str
    host: str = ""

    def act(self, name: str, reason: str, detail: str = "") -> Event:
        """Make the history's record of what is done now."""
        return Event(datetime.now(UTC), name, who=self.who, host=self.host, reason=reason, detail=detail)

    def act_on(self, claim: Claim, name: str, reason: str, detail: str = "") -> Event:
        """Make the history's record of what is done to a claim."""
        event = about(claim, datetime.now(UTC), name, who=self.who, reason=reason, detail=detail)
        return replace(event, host=self.host)

    def act_about(self, machine_id: str, hostname: str, name: str, reason: str, detail: str = "") -> Event:
        """Make the history's record of what is done to a machine."""
        return replace(self.act(name, reason, detail), holder=machine_id, hostname=hostname)


@dataclass(frozen=True, slots=True)
class Freed:
    """A slot that was freed: the claim that held it (None: no record), and how far its reboot had come, in words."""

    claim: Claim | None
    reboot: str


async def freeze(
    orders: OperatorOrders,
    author: Author,
    order: Order,
    ttl: float | None,
    *,
    legacy: bool = False,
    keep_longer: bool = False,
    shown: int | None = None,
) -> Ordered:
    """Freeze a group; with `keep_longer` a freeze that lasts longer stays."""
    done = await orders.freeze(order, ttl, legacy=legacy, keep_longer=keep_longer, shown=shown)
    if not done.kept:
        await orders.admin.history.add(author.act(FREEZE, order.reason, "max set to 0" if legacy else ""))
    return done


async def thaw(orders: OperatorOrders, author: Author, reason: str, *, shown: int | None = None) -> Stood:
    """End the freeze of a group; give the order that has ended."""
    before = await orders.thaw(shown=shown)
    if before is not None:
        await orders.admin.history.add(author.act(THAW, reason, was_words(before)))
    return before


async def hold(
    orders: OperatorOrders,
    author: Author,
    machine: tuple[str, str],
    order: Order,
    ttl: float | None,
    *,
    shown: int | None = None,
) -> Ordered:
    """Keep a machine, of an id and a host name, from rebooting."""
    done = await orders.hold(machine[0], order, ttl, shown=shown)
    await orders.admin.history.add(author.act_about(*machine, HOLD, order.reason))
    return done


async def unhold(
    orders: OperatorOrders, author: Author, machine: tuple[str, str], reason: str, *, shown: int | None = None
) -> Stood:
    """Let a machine reboot again; give the order that has ended."""
    before = await orders.unhold(machine[0], shown=shown)
    if before is not None:
        detail = f"it was held back {was_words(before)}"
        await orders.admin.history.add(author.act_about(*machine, UNHOLD, reason, detail))
    return before


async def resume(
    orders: OperatorOrders,
    author: Author,
    order: Order,
    done: list[Incident],
    *,
    succession: str = "",
    shown: Collection[Incident] | None = None,
) -> None:
    """Acknowledge what went wrong in a group; `done` is filled with it, also if an error comes in between.

    `succession` says which etcd cluster the order puts in the place of which.
    """
    try:
        await orders.resume(order, done, shown=shown)
    finally:
        if done:
            detail = named([one.describe() for one in done], "; ")
            await orders.admin.history.add(author.act(RESUME, order.reason, detail))
    if succession or not done:
        await orders.admin.history.add(author.act(RESUME, order.reason, succession or NOTHING_WRONG))


async def free(
    admin: LockAdmin,
    author: Author,
    holder: str,
    reason: str,
    *,
    shown: ShownHolder | None = None,
    frees: Frees = Frees.ANY,
) -> Freed:
    """Free the slot of an id, and say what held it.

    With `shown`, the slot is freed only if its holder is as it was shown; else if `frees` allows it.
    """
    presence = await admin.presence(holder)
    claim = await admin.unlock(holder, shown, frees)
    freed = Freed(claim, reboot_words(holder, claim, presence))
    undone = "; ".join(filter(None, (f"it {was(claim).removeprefix('which ')}", freed.reboot)))
    done = (
        author.act_on(claim, UNLOCK, reason, undone) if claim else author.act_about(holder, "", UNLOCK, reason, undone)
    )
    await admin.history.add(done)
    return freed


def was(claim: Claim | None) -> str:
    """Say what a slot that was freed was held for."""
    if claim is None:
        return "which held a slot without a record that can be read: a legacy node, or a legacy lock"
    return f"which was {claim.describe()}"


def was_words(stood: Stood) -> str:
    """Say by whom, since when and why there was an order."""
    if isinstance(stood, CorruptValueError):
        return "by a value that could not be read"
    return stood.describe() if stood is not None else ""


def too_late_words(claims: Sequence[Claim]) -> list[str]:
    """Say of each machine that no order stops any more that it reboots."""
    return [
        f"{one.hostname or one.holder} is past the point of no return: it reboots, which nothing stops now"
        for one in claims
    ]


def legacy_words(holders: Sequence[str], command: str) -> str:
    """Say which holders a freeze does not stop, and the command that does."""
    return (
        f"{named(holders)} hold a slot without a record: legacy nodes obey only the number of slots. {command} sets "
        "that to 0"
    )
