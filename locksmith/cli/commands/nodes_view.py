"""A group as a table of its machines: what is lost comes first. Pure."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from locksmith.cli.commands.nodes_filter import Shown
from locksmith.cli.table import Row, table
from locksmith.fleet import machine_table
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import ALARMING, holder_statuses
from locksmith.fleet.machine_table import Weight
from locksmith.fleet.phrases import group_name
from locksmith.lock.records.incident import FIRST, HaltAfter, halts

SHORT_ID = 8
ALL = Shown()

HEAD = ("MACHINE", "STATE", "FOR", "WINDOW", "WHY")
ID = "ID"

COLOURS = {Weight.WRONG: "red", Weight.BUSY: "yellow", Weight.PLAIN: "", Weight.QUIET: "bright_black"}


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
    for one in machine_table.machine_rows(view, now):
        cells = (one.name, one.shown_state, one.long(now), one.window(now), one.why)
        yield one.machine_id, Row(cells, COLOURS[one.weight])
