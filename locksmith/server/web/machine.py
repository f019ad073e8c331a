"""What a machine shows of itself, as pairs of a term and its value. Pure."""

from collections.abc import Iterator
from datetime import datetime

from locksmith.fleet.case import Case
from locksmith.util.words import clock, span


def machine_facts(found: Case) -> list[tuple[str, str]]:
    """Give what is known of a machine; what is empty is left out."""
    return [(term, value) for term, value in _facts(found) if value]


def _facts(found: Case) -> Iterator[tuple[str, str]]:
    node, now = found.node, found.now
    if found.place:
        yield "Place in the queue", f"{found.place} of {len(found.view.waiters)}"
    if found.held is not None and found.held.since is not None:
        yield "Holds a slot", f"since {clock(found.held.since, now)}, for {span(now - found.held.since)}"
    if (hold := found.view.holds.get(found.machine_id)) is not None:
        yield "Held back", hold.describe()
    if node is None:
        if (gone := found.view.absent.get(found.machine_id)) is not None:
            yield "Last seen", _moment(gone.gone or gone.seen, now)
            yield "Needed", gone.need
        return
    yield "State", f"{node.state}{f' ({node.code})' if node.code else ''}, since {_moment(node.since, now)}"
    yield "Reason", node.reason
    yield "Until", _moment(node.until, now)
    yield "Reboot needed", "; ".join(node.need_reasons) or f"{node.need} {node.need_version}".strip()
    yield "Needed since", _moment(node.need_since, now)
    yield "Windows", "; ".join(node.windows)
    yield "Blackouts", "; ".join(node.blackouts)
    yield "Window opens", _moment(node.window_opens, now)
    yield "Window closes", _moment(node.window_closes, now)
    yield "Asks at", _moment(node.window_moment, now)
    yield "Strategy", node.strategy
    yield "Dry run", "yes: it reboots nothing" if node.dry_run else ""
    yield "locksmith", node.version
    yield "Boot id", node.boot_id


def _moment(when: datetime | None, now: datetime) -> str:
    return clock(when, now) if when else ""
