"""What is said of a machine itself: what it needs, what it does, what it waits for. Pure."""

from collections.abc import Iterator

from locksmith.fleet.case import Case
from locksmith.fleet.holders import UNDER_WAY, HolderKind, holder_statuses
from locksmith.fleet.lookup import aliases
from locksmith.fleet.phrases import absent_words, group_name, holder_words, overdue_words, span_of_presence
from locksmith.lock.records import states
from locksmith.lock.records.claim import DAEMON, FLEETLOCK, UNKNOWN_VERSIONS, Claim
from locksmith.lock.records.member import STOPPED, Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import HALT, HOLD, OTHER_CLUSTER, OWN_DENIALS, RESTORED, TAKE_FAILS
from locksmith.util.words import clock, quoted, span

SERVER = "server"
"""The code of a machine that was refused by the server of its strategy."""
BELIEVES_NOTHING = frozenset({RESTORED, OTHER_CLUSTER})
"""Codes that an idle machine has too: it would take no slot."""
_LEFT = {TAKE_FAILS, HALT, *OWN_DENIALS} - {HOLD}
"""The reasons of a machine that left the queue; a hold is an operator's order, and said as such."""


def of_machine(found: Case) -> Iterator[str]:
    """Say what the machine needs and does, and what else its id holds; of one that is not present, what is known."""
    node = found.node
    if node is None:
        yield from of_absent(found)
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


def of_absent(found: Case) -> Iterator[str]:
    """Say what is known of a machine that is not present: its claim, its place, or when it left."""
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


def of_aliases(found: Case) -> Iterator[str]:
    """Say which slots are held under a host name of the machine: they do not keep it from its reboot."""
    for one in holder_statuses(found.view):
        if one.holder in aliases(found.view, found.machine_id):
            yield (
                f"A slot is held under the name {one.name}, which does not keep this machine from its reboot: "
                f"{holder_words(one, found.now)}. `locksmithctl unlock {quoted(one.holder)}` frees it."
            )


def of_window(found: Case) -> Iterator[str]:
    """Say when its window opens or closes, unless that is what it waits for: then it is said already."""
    node = found.node
    if node is None or (node.state == states.WAITING and node.code == "window"):
        return
    if node.window_closes is not None and node.window_closes >= found.now:
        yield f"Its window is open until {clock(node.window_closes, found.now)}."
    elif node.window_opens is not None and node.window_opens > found.now:
        yield f"Its window opens at {clock(node.window_opens, found.now)}."


def has_left_queue(node: Node) -> bool:
    """Tell whether a machine has left the queue for a while, for a reason that binds no other."""
    return node.state == states.WAITING and node.until is not None and node.code in _LEFT


def _ordered(found: Case, node: Node) -> str:
    """Say that an operator's reboot has begun: the daemon may have stopped before it noted that."""
    held = found.held
    if held is None or held.how is not HolderKind.REBOOTING or node.state not in {states.IDLE, states.WAITING}:
        return ""
    if held.claim is None or held.claim.who == DAEMON:
        return ""
    long = span(found.now - held.claim.held_since)
    return f"{found.name} has been rebooting for {long}: {held.claim.who} ordered it{_for(held.claim.reason)}."


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
            if node.code == SERVER:
                words = f"It waits: {node.reason}.{f' It is asked again{until}.' if until else ''}"
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


def _for(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _unlock(found: Case) -> str:
    return f"`locksmithctl unlock {quoted(found.machine_id)}` frees it."
