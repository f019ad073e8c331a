"""A group as a table of its machines: what is lost stands first. Pure."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from locksmith.cli.commands.nodes_filter import Shown
from locksmith.cli.table import Row, table
from locksmith.fleet.explain import BELIEVES_NOTHING
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import ALARMING, HolderKind, HolderStatus, holder_statuses
from locksmith.fleet.phrases import absent_words, group_name, how_words
from locksmith.lock.records import states
from locksmith.lock.records.incident import FIRST, HaltAfter, halts
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.util.words import clock, span

SHORT_ID = 8
ALL = Shown()

HEAD = ("MACHINE", "STATE", "FOR", "WINDOW", "WHY")
ID = "ID"

RED, YELLOW, GREY = "red", "yellow", "bright_black"

COLOURS = {
    **dict.fromkeys((*ALARMING, HolderKind.UNSEEN, HolderKind.UNREADABLE), RED),
    **dict.fromkeys((HolderKind.REBOOTING, HolderKind.VERIFYING, HolderKind.HELD, HolderKind.COMMAND), YELLOW),
}

STATES = {**{how: how.upper() for how in ALARMING}, HolderKind.HELD: "holds"}


def summary(view: GroupView, when: datetime, halt_after: HaltAfter = FIRST) -> str:
    """Sum a group up in one line; `halt_after` as this machine's configuration has it."""
    now, held = view.semaphore, holder_statuses(view)
    wrong = Counter(one.how for one in held if one.how in ALARMING)
    share = ""
    if view.share is not None:
        share = f" ({view.share.percent}{', void' if view.share.is_void(now.max) else ''})"
    parts = [
        f"{len(held)} of {now.max}{share} slots held",
        f"{len(view.waiters)} queued",
        f"{len(view.machines)} present",
    ]
    parts += [f"{len(view.absent)} absent"] if view.absent else []
    if rehearsing := sum(node.dry_run for node in view.machines.values()):
        parts.append(f"{rehearsing} in a DRY RUN")
    parts += [f"{number} {how.upper()}" for how, number in wrong.items()]
    if view.freeze is not None:
        parts.append(f"FROZEN by {view.freeze.who or 'an operator'}")
    if halts(view.incidents(when), halt_after.of(len(view.machines))):
        parts.append("HALTED")
    return f"{group_name(view.group)}: {', '.join(parts)}"


def layout(view: GroupView, now: datetime, columns: int, *, only: Shown = ALL, ids: bool = False) -> list[str]:
    """Lay all machines out as a table; nothing where there are none.

    With `ids`, each has its whole id. Else names that are not unique show the beginning of their ids too.
    """
    rows = [*only.of(view, machine_rows(view, now))]
    if ids and rows:
        whole = [Row((row.cells[0], machine_id, *row.cells[1:]), row.colour) for machine_id, row in rows]
        return ["", *table((HEAD[0], ID, *HEAD[1:]), whole, columns, whole=frozenset({0, 1}))]
    names = Counter(row.cells[0] for _, row in rows)
    # What is held under a name of its own has no other id.
    shown = [
        row if names[row.cells[0]] == 1 or machine_id == row.cells[0] else _with_id(machine_id, row)
        for machine_id, row in rows
    ]
    return ["", *table(HEAD, shown, columns)] if rows else []


def _with_id(machine_id: str, row: Row) -> Row:
    return Row((f"{row.cells[0]} {machine_id[:SHORT_ID]}", *row.cells[1:]), row.colour)


def machine_rows(view: GroupView, now: datetime) -> Iterator[tuple[str, Row]]:
    """Give a row for each machine, with the id: holders, then the queue, then the others by name."""
    held = holder_statuses(view)
    for one in sorted(held, key=lambda one: one.how not in ALARMING):
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
        name = waiter.name if own or waiter.holder not in view.machines else view.machines[waiter.holder].name
        cells = (name, f"queued #{place}", span(now - waiter.since), _window(node, now), why)
        yield waiter.holder, Row(cells, colour)
    rest = [node for machine_id, node in view.machines.items() if machine_id not in seen]
    for node in sorted(rest, key=lambda node: (node.state == states.IDLE, node.name)):
        yield node.machine_id, _machine(node, now, view.holds.get(node.machine_id))
    gone = [member for machine_id, member in view.absent.items() if machine_id not in seen]
    for member in sorted(gone, key=lambda member: (not member.need, member.name)):
        yield member.machine_id, _absent(member, now)


def _holder(view: GroupView, one: HolderStatus, now: datetime) -> Row:
    node = view.machines.get(one.holder)
    long = span(now - one.since) if one.since else "?"
    if node is not None and node.state == states.STUCK:
        return Row((one.name, "STUCK", long, _window(node, now), node.reason), RED)
    state = STATES.get(one.how, one.how.value)
    reason = (
        one.claim.reason if one.claim and one.how in {HolderKind.HELD, HolderKind.REBOOTING} else how_words(one, now)
    )
    return Row((one.name, state, long, _window(node, now), reason.removeprefix(f"{state}: ")), COLOURS.get(one.how, ""))


def _machine(node: Node, now: datetime, hold: Order | None) -> Row:
    state = node.code if node.code and (node.state == states.WAITING or node.code in BELIEVES_NOTHING) else node.state
    why = f"{node.clone} has the same id" if node.clone else node.reason or _need(node)
    if hold is not None:
        state, why = "held back", hold.describe()
    colour = (
        RED if node.clone or state in {states.STUCK, *BELIEVES_NOTHING} else GREY if node.state == states.IDLE else ""
    )
    if node.dry_run:
        state = "DRY RUN" if node.code == "dry_run" else f"DRY RUN {state}"
    return Row((node.name, state, span(now - node.since), _window(node, now), why), colour)


def _absent(member: Member, now: datetime) -> Row:
    needed = f", needed a reboot: {member.need}" if member.need else ""
    long = span(now - member.gone) if member.gone else ""
    why = f"{absent_words(member, now)}{needed}"
    return Row((member.name, "absent", long, "", why), YELLOW if member.need else GREY)


def _need(node: Node) -> str:
    return "; ".join(node.need_reasons) or f"{node.need} {node.need_version}".strip()


def _window(node: Node | None, now: datetime) -> str:
    if node is None or node.window_opens is None:
        return ""
    if node.window_closes is not None and node.window_closes >= now:
        return f"-{clock(node.window_closes, now)}"
    return clock(node.window_opens, now)
