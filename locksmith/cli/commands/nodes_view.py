"""A group as a table of its machines: what is lost stands first. Pure."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from locksmith.cli.commands.nodes_filter import Shown
from locksmith.cli.table import Row, table
from locksmith.fleet.explain import BELIEVES_NOTHING, group_name, how_words
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import WRONG, HolderKind, HolderStatus, holder_statuses
from locksmith.lock.records import states
from locksmith.lock.records.incident import FIRST, HaltAfter, halts
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.util.words import clock, span

SHORT_ID = 8
ALL = Shown()

HEAD = ("MACHINE", "STATE", "FOR", "WINDOW", "WHY")

RED, YELLOW, GREY = "red", "yellow", "bright_black"

COLOURS = {
    **dict.fromkeys((*WRONG, HolderKind.UNSEEN, HolderKind.UNREADABLE), RED),
    **dict.fromkeys((HolderKind.REBOOTING, HolderKind.HELD, HolderKind.COMMAND), YELLOW),
}

STATES = {**{how: how.upper() for how in WRONG}, HolderKind.HELD: "holds"}


def summary(view: GroupView, when: datetime, halt_after: HaltAfter = FIRST) -> str:
    """Sum a group up in one line; `halt_after` as this machine's configuration has it."""
    now, held = view.semaphore, holder_statuses(view)
    wrong = Counter(one.how for one in held if one.how in WRONG)
    share = ""
    if view.share is not None:
        share = f" ({view.share.percent}{', void' if view.share.is_void(now.max) else ''})"
    parts = [
        f"{len(held)} of {now.max}{share} slots held",
        f"{len(view.waiters)} queued",
        f"{len(view.machines)} present",
    ]
    parts += [f"{number} {how.upper()}" for how, number in wrong.items()]
    if view.freeze is not None:
        parts.append(f"FROZEN by {view.freeze.who or 'an operator'}")
    if halts(view.incidents(when), halt_after.of(len(view.machines))):
        parts.append("HALTED")
    return f"{group_name(view.group)}: {', '.join(parts)}"


def layout(view: GroupView, now: datetime, columns: int, *, only: Shown = ALL) -> list[str]:
    """Lay all machines out as a table; nothing where there are none. Names that are not unique show their ids too."""
    rows = [*only.of(view, machine_rows(view, now))]
    names = Counter(row.cells[0] for _, row in rows)
    shown = [row if names[row.cells[0]] == 1 else _with_id(machine_id, row) for machine_id, row in rows]
    return ["", *table(HEAD, shown, columns)] if rows else []


def _with_id(machine_id: str, row: Row) -> Row:
    return Row((f"{row.cells[0]} {machine_id[:SHORT_ID]}", *row.cells[1:]), row.colour)


def machine_rows(view: GroupView, now: datetime) -> Iterator[tuple[str, Row]]:
    """Give a row for each machine, with the id: holders, then the queue, then the others by name."""
    held = holder_statuses(view)
    for one in sorted(held, key=lambda one: one.how not in WRONG):
        yield one.holder, _holder(view, one, now)
    seen = {one.holder for one in held}
    for place, waiter in enumerate(view.waiters, 1):
        own = waiter.is_machines
        node = view.machines.get(waiter.holder) if own else None
        seen |= {waiter.holder} if own else set()
        why = (_need(node) if node else "") or waiter.reason or waiter.who
        colour = ""
        if place == 1 and node is not None and node.state == states.WAITING and node.code in states.ERRORS:
            why, colour = f"cannot take a slot: {node.reason}", RED
        cells = (waiter.name, f"queued #{place}", span(now - waiter.since), _window(node, now), why)
        yield waiter.holder, Row(cells, colour)
    rest = [node for machine_id, node in view.machines.items() if machine_id not in seen]
    for node in sorted(rest, key=lambda node: (node.state == states.IDLE, node.name)):
        yield node.machine_id, _machine(node, now, view.holds.get(node.machine_id))


def _holder(view: GroupView, one: HolderStatus, now: datetime) -> Row:
    node = view.machines.get(one.holder)
    long = span(now - one.since) if one.since else "?"
    if node is not None and node.state == states.STUCK:
        return Row((one.name, "STUCK", long, _window(node, now), node.reason), RED)
    state = STATES.get(one.how, one.how.value)
    reason = one.claim.reason if one.claim and one.how in {HolderKind.HELD, HolderKind.REBOOTING} else how_words(one)
    return Row((one.name, state, long, _window(node, now), reason.removeprefix(f"{state}: ")), COLOURS.get(one.how, ""))


def _machine(node: Node, now: datetime, hold: Order | None) -> Row:
    state = node.code if node.code and (node.state == states.WAITING or node.code in BELIEVES_NOTHING) else node.state
    why = f"{node.clone} has the same id" if node.clone else node.reason or _need(node)
    if hold is not None:
        state, why = "held back", hold.describe()
    colour = (
        RED if node.clone or state in {states.STUCK, *BELIEVES_NOTHING} else GREY if node.state == states.IDLE else ""
    )
    return Row((node.name, state, span(now - node.since), _window(node, now), why), colour)


def _need(node: Node) -> str:
    return "; ".join(node.need_reasons) or f"{node.need} {node.need_version}".strip()


def _window(node: Node | None, now: datetime) -> str:
    if node is None or node.window_opens is None:
        return ""
    if node.window_closes is not None and node.window_closes >= now:
        return f"-{clock(node.window_closes, now)}"
    return clock(node.window_opens, now)
