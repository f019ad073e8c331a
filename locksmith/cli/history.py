"""`history`: who had the lock, when, why and for how long, and what operators did."""

from dataclasses import dataclass
from datetime import UTC, datetime

import click

from locksmith import fleet
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import claim_fields, json_flag, note, print_json
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import Row, table, width
from locksmith.fleet import Claim
from locksmith.history import HELD, REBOOTED, Event
from locksmith.rebootlock import RebootLock
from locksmith.words import span


@dataclass(frozen=True, slots=True)
class Past:
    """The youngest events, the oldest first, and the claims that hold a slot now."""

    events: list[Event]
    holds: list[Claim]


@click.command(cls=GoCommand)
@click.option("--limit", cls=GoOption, type=click.IntRange(1, 2000), default=50, help="How many records, at most (50).")
@json_flag
@pass_session
def history(session: Session, *, limit: int, as_json: bool) -> None:
    """Show who had a slot, when, why and for how long, and what operators did; the youngest last.

    It is kept for 30 days. Holds that have not ended come last.
    """
    past = session.with_lock(lambda lock: _read(lock, limit))
    if as_json:
        events, holds = [_event_fields(event) for event in past.events], [_hold_fields(claim) for claim in past.holds]
        print_json({"group": session.config.group, "events": events, "holds": holds})
        return
    now = datetime.now().astimezone()
    rows = [*(_event_row(event, now) for event in past.events), *(_hold_row(claim, now) for claim in past.holds)]
    if rows:
        click.echo("\n".join(table(("WHEN", "WHAT", "MACHINE", "FOR", "BY, WHY"), rows, width())))
    else:
        note("nothing has happened here in the last 30 days")


async def _read(lock: RebootLock, limit: int) -> Past:
    events = await lock.history.read(limit)
    claims = (await lock.read()).claims.values()
    holds = sorted((claim for claim in claims if isinstance(claim, Claim)), key=lambda claim: claim.held_since)
    return Past(events, holds)


def _event_row(event: Event, now: datetime) -> Row:
    long = span(event.at - event.taken) if event.taken else ""
    name = _name(event.kind, event.holder, event.hostname)
    if event.act != HELD:
        why = f"{event.who}{_tail(event.reason)}{_tail(event.detail, '; ')}"
        return Row((_when(event.at, now), event.act, name, long, why))
    if event.detail == REBOOTED:
        return Row((_when(event.at, now), REBOOTED, name, long, event.reason))
    return Row((_when(event.at, now), "gave back", name, long, f"{event.reason}{_tail(event.detail, '; ')}"))


def _hold_row(claim: Claim, now: datetime) -> Row:
    by = claim.reason if claim.kind == fleet.REBOOT else f"{claim.who}{_tail(claim.reason)}"
    long = span(now - claim.held_since)
    return Row(
        (_when(claim.held_since, now), "still held", _name(claim.kind, claim.holder, claim.hostname), long, by),
        "yellow",
    )


def _name(kind: str, holder: str, hostname: str) -> str:
    """Name the machine: the host of a claim by hand is the operator's."""
    return hostname if kind == fleet.REBOOT and hostname else holder


def _tail(text: str, joint: str = ": ") -> str:
    return f"{joint}{text}" if text else ""


def _when(moment: datetime, now: datetime) -> str:
    return f"{moment.astimezone(now.tzinfo):%m-%d %H:%M:%S}"


def _event_fields(event: Event) -> dict[str, object]:
    return {
        "at": fleet.moment(event.at),
        "act": event.act,
        "who": event.who,
        "reason": event.reason,
        "detail": event.detail,
        "id": event.holder,
        "hostname": event.hostname,
        "kind": event.kind,
        "version": event.version,
        "since": fleet.optional_moment(event.since) or None,
        "taken": fleet.optional_moment(event.taken) or None,
        "held_seconds": int((event.at - event.taken).total_seconds()) if event.taken else None,
    }


def _hold_fields(claim: Claim) -> dict[str, object]:
    held = int((datetime.now(UTC) - claim.held_since).total_seconds())
    return {"id": claim.holder, "claim": claim_fields(claim), "held_seconds": held}
