"""Why a machine does not reboot: plain sentences of everything that stands between it and its reboot. Pure.

Above 300 lines, in one piece: each function is one sentence of the same explanation, in the order they are said.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import UNDER_WAY, HolderKind, HolderStatus, holder_statuses
from locksmith.fleet.lookup import aliases, find
from locksmith.fleet.phrases import absent_words, group_name, holder_words, overdue_words, span_of_presence
from locksmith.lock.records import states
from locksmith.lock.records.claim import DAEMON, FLEETLOCK, UNKNOWN_VERSIONS, Claim
from locksmith.lock.records.incident import FIRST, HaltAfter, halts
from locksmith.lock.records.member import STOPPED, Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import (
    FREEZE,
    HALT,
    HOLD,
    OTHER_CLUSTER,
    OWN_DENIALS,
    RESTORED,
    SPACING,
    TAKE_FAILS,
    Order,
)
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.waiter import Waiter
from locksmith.util.words import clock, listed, named, ordinal, quoted, span

MOST_LEFT = 3
"""How many machines that left the queue are named."""
BELIEVES_NOTHING = frozenset({RESTORED, OTHER_CLUSTER})
"""Codes that an idle machine has too: it would take no slot."""
_LEFT = {TAKE_FAILS, HALT, *OWN_DENIALS} - {HOLD}
"""The reasons of a machine that left the queue; a hold is an operator's order, and said as such."""


@dataclass(frozen=True, slots=True)
class Case:
    """One machine in its group. `place` is its own in the queue (1: the first; None: it is not queued)."""

    view: GroupView
    machine_id: str
    node: Node | None
    held: HolderStatus | None
    place: int | None
    now: datetime
    halt_after: HaltAfter = FIRST
    alone: bool = False
    """Whether only the machine's own daemon was asked: nothing is known of its group."""

    @property
    def waiter(self) -> Waiter | None:
        """Its own place."""
        return self.view.waiters[self.place - 1] if self.place else None

    @property
    def name(self) -> str:
        """What people call it."""
        known = (self.node, self.held, self.waiter, self.view.absent.get(self.machine_id))
        return next((one.name for one in known if one is not None), self.machine_id)


def case(view: GroupView, machine_id: str, now: datetime, halt_after: HaltAfter = FIRST) -> Case:
    """Look a machine up in its group; `now` is aware, in the zone of the person who asks.

    `halt_after` is what the asking machine's configuration says.
    """
    held = next((one for one in holder_statuses(view) if one.holder == machine_id), None)
    places = (place for place, waiter in enumerate(view.waiters, 1) if _is_own(waiter, machine_id))
    return Case(view, machine_id, view.machines.get(machine_id), held, next(places, None), now, halt_after)


def explain(found: Case) -> list[str]:
    """Say why the machine does not reboot, what it waits for, and until when."""
    sentences = [
        *_own(found),
        *_aliases(found),
        *_queue(found),
        *_first(found),
        *_window(found),
        *_orders(found),
        *_group(found.view),
    ]
    return [sentence for sentence in sentences if sentence]


def explain_alone(node: Node, now: datetime) -> list[str]:
    """Say what a machine's own daemon knows of the same; no store is asked."""
    found = Case(GroupView(node.group, Semaphore()), node.machine_id, node, None, None, now, alone=True)
    return [sentence for sentence in (*_own(found), *_window(found)) if sentence]


def explain_stopped(found: Case, name: str) -> list[str]:
    """Say what the store knows of a machine, called `name`, whose daemon does not run: what it last showed is over."""
    stopped = replace(found, node=None)
    if found.held is not None or found.place is not None:
        first = [*_absent(stopped)]
    else:
        first = [f"{name} shows no presence in {group_name(found.view.group)}."]
    sentences = [*first, *_orders(stopped), *_group(found.view)]
    return [sentence for sentence in sentences if sentence]


def _own(found: Case) -> Iterator[str]:
    node = found.node
    if node is None:
        yield from _absent(found)
        return
    if node.dry_run:
        yield f"DRY RUN: the locksmithd of {found.name} takes no slot and reboots nothing (dry-run = true)."
    yield _ordered(found, node) or _need(found, node)
    if node.clone:
        yield (
            f"Another machine has its id: {node.clone} was seen with {found.machine_id}. Neither reboots until one of "
            "them has an id of its own."
        )
    yield from _state(found, node)
    held = found.held
    if held is not None and held.how is HolderKind.ORPHANED:
        yield (
            f"{found.name} has rebooted and does not know its claim any more (was /var/lib/locksmith lost?), so it "
            f"cannot release its slot. Inspect the machine. `locksmithctl unlock --force {quoted(found.machine_id)}` "
            "frees it."
        )
    if held is not None and held.how in {
        HolderKind.MANUAL,
        HolderKind.UNKNOWN,
        HolderKind.LEGACY,
        HolderKind.UNREADABLE,
    }:
        yield f"Its id holds a slot for something else: {holder_words(held, found.now)}. {_unlock(found)}"


def _ordered(found: Case, node: Node) -> str:
    """Say that an operator's reboot has begun: the daemon may have stopped before it noted that."""
    held = found.held
    if held is None or held.how is not HolderKind.REBOOTING or node.state not in {states.IDLE, states.WAITING}:
        return ""
    if held.claim is None or held.claim.who == DAEMON:
        return ""
    long = span(found.now - held.claim.held_since)
    return f"{found.name} has been rebooting for {long}: {held.claim.who} ordered it{_for(held.claim.reason)}."


def _aliases(found: Case) -> Iterator[str]:
    """Say which slots are held under a host name of the machine: they do not keep it from its reboot."""
    for one in holder_statuses(found.view):
        if one.holder in aliases(found.view, found.machine_id):
            yield (
                f"A slot is held under the name {one.holder}, which does not keep this machine from its reboot: "
                f"{holder_words(one, found.now)}. `locksmithctl unlock {quoted(one.holder)}` frees it."
            )


def _absent(found: Case) -> Iterator[str]:
    held, name, group = found.held, found.name, group_name(found.view.group)
    if held is None and found.place is None and (member := found.view.absent.get(found.machine_id)) is not None:
        yield from _gone(found, member)
    elif held is None and found.place is None:
        yield (
            f"{name} is not present in {group}: its locksmithd does not run, shares no store, or has not reached etcd "
            f"for {span_of_presence()} or longer."
        )
    elif held is None and found.waiter is not None and found.waiter.kind == FLEETLOCK:
        yield f"{name} is a FleetLock client in the queue of {group}. It keeps its place while it calls."
    elif held is None:
        yield f"{name} is in the queue of {group}, and shows no presence."
    elif held.how is HolderKind.LOST and held.claim is not None:
        yield (
            f"{name} is LOST: it has held a slot for {span(found.now - held.claim.held_since)}, for its reboot"
            f"{_for(held.claim.reason)}, and was not seen for {span_of_presence()} or longer. No other machine "
            f"may use that slot. Inspect the machine: {_releases(held.claim)} when it is up. {_unlock(found)}"
        )
    elif held.how in UNDER_WAY:
        yield (
            f"{name} holds a slot for its reboot: {holder_words(held, found.now)}. Its locksmithd releases the slot "
            "when it runs and the machine is healthy."
        )
    else:
        ways_out = ("Inspect the machine. " if held.how is HolderKind.UNSEEN else "") + _unlock(found)
        yield f"{name} is not present in {group}. A slot is held by {holder_words(held, found.now)}. {ways_out}"


def _releases(claim: Claim) -> str:
    return f"its {'FleetLock client' if claim.is_clients else 'locksmithd'} releases the slot"


def _gone(found: Case, member: Member) -> Iterator[str]:
    yield f"{found.name} is not present in {group_name(found.view.group)}: {absent_words(member, found.now)}."
    if member.need:
        long = f" for {span(found.now - member.need_since)}" if member.need_since else ""
        yield f"It had needed a reboot{long}: {member.need}."
    ask = "Start it there" if member.how == STOPPED else "Run `locksmithctl why` there"
    forget = f"`locksmithctl forget {quoted(found.machine_id)}`"
    yield f"{ask}; if the machine is gone for good, {forget} has the group forget it."


def _need(found: Case, node: Node) -> str:
    if not node.need:
        if node.state in {states.REBOOTING, states.STUCK, states.RELEASING}:
            return ""
        return f"{found.name} needs no reboot: no trigger asks for one."
    since = f" (since {clock(node.need_since, found.now)})" if node.need_since else ""
    if node.need_reasons and (node.need != "update-engine" or len(node.need_reasons) > 1):
        return f"{found.name} needs a reboot{since}: {'; and '.join(node.need_reasons)}."
    if node.need == "operator":
        return f"{found.name} needs a reboot because an operator asked for it{since}."
    what = f"update {node.need_version}" if node.need_version not in UNKNOWN_VERSIONS else "an update"
    by = "" if node.need == "update-engine" else f" (says {node.need})"
    return f"{found.name} needs a reboot for {what}{by}{since}."


def _state(found: Case, node: Node) -> Iterator[str]:
    long = span(found.now - node.since)
    match node.state:
        case states.WAITING:
            yield _waiting(found, node)
        case states.REBOOTING:
            yield f"{found.name} has been rebooting for {long}{_for(node.reason)}.{_overdue(found, node)}"
        case states.STUCK:
            yield f"{found.name} is stuck: {node.reason}."
        case state if state in states.SICK:
            yield (
                f"{found.name} has rebooted and is {node.state.upper()}: {node.reason}. Inspect it"
                f"{'' if found.alone else ', then run `locksmithctl resume`'}."
            )
        case states.VERIFYING:
            yield f"{found.name} has been proving itself healthy for {long}{_for(node.reason)}."
        case states.RELEASING:
            yield f"{found.name} has rebooted, and releases its slot."
        case states.IDLE if node.code in BELIEVES_NOTHING:
            yield _believes_nothing(found, node)
        case states.IDLE if node.need:
            yield "It is about to ask whether it may reboot." if found.alone else "It is about to ask for a slot."
        case states.IDLE | states.FINISHED:
            return
        case _:
            yield f"It is {node.state}{_for(node.reason)}, for {long} now."


def _overdue(found: Case, node: Node) -> str:
    if found.held is None or found.held.how is not HolderKind.OVERDUE:
        return ""
    return f" It is OVERDUE: {overdue_words(node, found.now)}. Inspect the machine."


def _waiting(found: Case, node: Node) -> str:
    until = f" at {clock(node.until, found.now)}" if node.until else ""
    match node.code:
        case _ if has_left_queue(node) and node.until is not None:
            return f"It left the queue until {clock(node.until, found.now)}: {node.reason}."
        case "queue" | "clone" | "other_claim" | "freeze" | "hold" | "halt" | "spacing" if not found.alone:
            return ""  # said of the queue, the clone, the holder, the orders of the group
        case "window":
            return _waits_for_window(found, node)
        case "retry":
            return f"It waits: {node.reason}; it tries again{until}." if until else f"It waits: {node.reason}."
        case "dry_run":
            return f"It {node.reason.removeprefix('dry run: ')}."
        case _:
            ends = f", until {clock(node.until, found.now)}" if node.until else ""
            words = f"It waits ({node.code or 'no reason given'}): {node.reason}{ends}."
            return _believes_nothing(found, node) if node.code in BELIEVES_NOTHING else words


def _waits_for_window(found: Case, node: Node) -> str:
    """Say it with the reason, where that is more than a window that is closed: no window ever opens, or none is set."""
    if node.until is None:
        return f"It waits for its window: {node.reason}."
    why = "" if node.reason == "outside the reboot window" else f": {node.reason}"
    moment = node.window_moment if node.window_moment and node.window_moment > node.until else None
    asks = f"; its own moment in that window is {clock(moment, found.now)} (window.splay)" if moment else ""
    return f"It waits for its window, which opens at {clock(node.until, found.now)}{asks}{why}."


def _believes_nothing(found: Case, node: Node) -> str:
    return f"{found.name} takes no slot ({node.code}): {node.reason}."


def _queue(found: Case) -> Iterator[str]:
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


def _first(found: Case) -> Iterator[str]:
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


def has_left_queue(node: Node) -> bool:
    """Tell whether a machine has left the queue for a while, for a reason that binds no other."""
    return node.state == states.WAITING and node.until is not None and node.code in _LEFT


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


def _window(found: Case) -> Iterator[str]:
    node = found.node
    if node is None or (node.state == states.WAITING and node.code == "window"):
        return
    if node.window_closes is not None and node.window_closes >= found.now:
        yield f"Its window is open until {clock(node.window_closes, found.now)}."
    elif node.window_opens is not None and node.window_opens > found.now:
        yield f"Its window opens at {clock(node.window_opens, found.now)}."


def _orders(found: Case) -> Iterator[str]:
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


def _by(order: Order, now: datetime) -> str:
    ends = f", until {clock(order.until, now)}" if order.until else ""
    why = f": {order.reason}" if order.reason else ""
    return f"by {order.who or 'an operator'} since {clock(order.since, now)}{ends}{why}"


def _name(view: GroupView) -> str:
    name = group_name(view.group)
    return name[0].upper() + name[1:]


def _group(view: GroupView) -> Iterator[str]:
    if view.share is not None and view.share.is_void(view.semaphore.max):
        percent = view.share.percent
        yield (
            f"The share of {percent} is void: max was set to {view.semaphore.max} manually; "
            f"`locksmithctl set-max {percent}` restores it, "
            f"`locksmithctl set-max {max(1, view.semaphore.max)}` ends it."
        )
    for problem in view.problems:
        yield f"A value cannot be read: {problem}."


def _for(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _unique(found: Case) -> str:
    """Give the machine's name, or its id where the name means another machine too."""
    meant = [one.machine_id for one in find(found.view, found.name)]
    return found.name if meant == [found.machine_id] else found.machine_id


def _unlock(found: Case) -> str:
    return f"`locksmithctl unlock {quoted(found.machine_id)}` frees it."


def _is_own(waiter: Waiter, machine_id: str) -> bool:
    return waiter.holder == machine_id and waiter.is_machines
