"""What is said of the group of a machine: its queue and slots, its orders, and what is wrong with it. Pure."""

from collections.abc import Iterator
from datetime import datetime

from locksmith.fleet.case import Case
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import holder_statuses
from locksmith.fleet.lookup import find
from locksmith.fleet.machine_sentences import has_left_queue
from locksmith.fleet.phrases import group_name, holder_words
from locksmith.lock.records import states
from locksmith.lock.records.incident import halts
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import FREEZE, HALT, SPACING, Order
from locksmith.util.words import clock, listed, named, ordinal, quoted

MOST_LEFT = 3
"""How many machines that left the queue are named."""


def of_queue(found: Case) -> Iterator[str]:
    """Say its place in the queue, who holds the slots, and who is next; also of a machine that will be queued later."""
    node, view = found.node, found.view
    if found.place is None and (node is None or not node.need or node.state != states.WAITING or found.held):
        return
    if node is not None and node.dry_run:
        return
    group, slots = group_name(view.group), _slots(found)
    if found.place is None:
        waiting = f"{len(view.waiters)} in the queue" if view.waiters else "and the queue is empty"
        then = "Then it asks for a slot" if node is None or node.code != "queue" else "It asks for a slot"
        yield f"{then} of {group}: {slots}, {waiting}."
        return
    following = f", {view.waiters[0].name} is next" if found.place > 1 else ""
    yield f"It is {ordinal(found.place)} in the queue of {group}: {slots}{following}."


def of_others(found: Case) -> Iterator[str]:
    """Say why the first in the queue takes no slot, and which machines have left the queue: they bind no other."""
    view = found.view
    if found.place is None and (found.node is None or not found.node.need or found.held):
        return
    first = view.waiters[0] if view.waiters and found.place != 1 else None
    node = view.machines.get(first.holder) if first is not None and first.is_machines else None
    if node is not None and _is_stuck(found, node):
        yield f"{node.name} is first in the queue and cannot take a slot: {node.reason}."
    left = [one for one in view.machines.values() if one.machine_id != found.machine_id and has_left_queue(one)]
    for one in left[:MOST_LEFT]:
        ends = f" until {clock(one.until, found.now)}" if one.until else ""
        yield f"{one.name} cannot take a slot, and left the queue{ends}: {one.reason}."
    if len(left) > MOST_LEFT:
        yield f"{len(left) - MOST_LEFT} more machines left the queue, as `locksmithctl nodes` shows."


def of_orders(found: Case) -> Iterator[str]:
    """Say what holds the machine back with its group, whether or not it has come to ask."""
    view, now = found.view, found.now
    if (hold := view.holds.get(found.machine_id)) is not None:
        yield f"It is held back {_by(hold, now)}. `locksmithctl unhold {quoted(_unique(found))}` ends that."
    if view.freeze is not None:
        fence = " and max set to 0 until then" if view.freeze.slots is not None else ""
        yield f"{_name(view)} is frozen {_by(view.freeze, now)}{fence}. `locksmithctl thaw` ends that."
    wrong = view.incidents(now)
    if halts(wrong, found.halt_after.of(len(view.machines))):
        yield (
            f"{_name(view)} is HALTED: {named([one.describe() for one in wrong], '; ')}. No machine in the group will "
            f"reboot. Inspect {listed([one.name for one in wrong])}, then run `locksmithctl resume`."
        )
    if view.spacing is not None:
        ends = f" until {clock(view.spacing.until, now)}" if view.spacing.until else ""
        yield f"No machine begins a reboot{ends}, because {view.spacing.who} has just begun one (reboot.spacing)."


def of_values(view: GroupView) -> Iterator[str]:
    """Say which of the group's values have no effect, or cannot be read."""
    if view.share is not None and view.share.is_void(view.semaphore.max):
        percent = view.share.percent
        yield (
            f"The share of {percent} is void: max was set to {view.semaphore.max} manually; "
            f"`locksmithctl set-max {percent}` restores it, "
            f"`locksmithctl set-max {max(1, view.semaphore.max)}` ends it."
        )
    for problem in view.problems:
        yield f"A value cannot be read: {problem}."


def _is_stuck(found: Case, node: Node) -> bool:
    """Tell whether the first in the queue waits for something that is not said of the whole group."""
    if node.state != states.WAITING or not node.reason or node.code in {"queue", "slot", FREEZE, SPACING}:
        return False
    halted = halts(found.view.incidents(found.now), found.halt_after.of(len(found.view.machines)))
    return not (node.code == HALT and halted)


def _slots(found: Case) -> str:
    now, view = found.view.semaphore, found.view
    held = [one for one in holder_statuses(view) if one.holder != found.machine_id]
    if now.max <= 0:
        return f"there is no slot at all (max is {now.max}; `locksmithctl set-max 1` makes one)"
    if now.available > 0:
        return f"{now.available} of {now.max} slots free"
    if len(held) == 1 and now.max == 1:
        name, _, how = holder_words(held[0], found.now).partition(" for ")
        return f"{name} has held the slot for {how}" if how else f"{name} holds the slot"
    slots = "both slots are" if now.max == 2 else f"all {now.max} slots are"  # noqa: PLR2004 - both
    return f"{slots} held by {listed([holder_words(one, found.now) for one in held])}"


def _by(order: Order, now: datetime) -> str:
    ends = f", until {clock(order.until, now)}" if order.until else ""
    why = f": {order.reason}" if order.reason else ""
    return f"by {order.who or 'an operator'} since {clock(order.since, now)}{ends}{why}"


def _name(view: GroupView) -> str:
    name = group_name(view.group)
    return name[0].upper() + name[1:]


def _unique(found: Case) -> str:
    """Give the machine's name, or its id where the name means another machine too."""
    meant = [one.machine_id for one in find(found.view, found.name)]
    return found.name if meant == [found.machine_id] else found.machine_id
