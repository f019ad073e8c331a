"""`history`: who had the lock, when, why and for how long, and what operators did."""

import contextlib
from datetime import UTC, datetime

import click

from locksmith.cli import complete
from locksmith.cli.choose import choose
from locksmith.cli.empty import not_empty
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.group_names import note_unknown_group
from locksmith.cli.moments import past as past_moment
from locksmith.cli.output import json_flag, note, print_json, say_all
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import Row, table, width
from locksmith.errors import CorruptValueError, LockError
from locksmith.fleet.event_words import at_words, event_words, name_words, why_words
from locksmith.fleet.fields import Held
from locksmith.fleet.lookup import known_names
from locksmith.fleet.past import Past, began, named, of_machine, past_fields, since_then
from locksmith.fleet.reader import read_group
from locksmith.host.clock import local_zone
from locksmith.lock.admin import LockAdmin
from locksmith.lock.history import MOST
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import Event
from locksmith.store.protocol import Store
from locksmith.util.words import span


@click.command(cls=GoCommand)
@click.option("--limit", cls=GoOption, type=click.IntRange(1, 2000), default=50, help="How many records, at most (50).")
@click.option("--since", cls=GoOption, metavar="T", help="Only since then: 2d, 18:30, 2026-12-24, 2026-12-24T18:30.")
@click.option(
    "--machine",
    cls=GoOption,
    metavar="MACHINE",
    callback=not_empty("--machine", "give a machine-id or a host name, or leave it out for all"),
    shell_complete=complete.machines,
    help="Only what is about this machine, by any name of it.",
)
@json_flag
@pass_session
def history(session: Session, *, limit: int, since: str | None, machine: str | None, as_json: bool) -> None:
    """Show who had a slot, when, why and for how long, and what operators did; the youngest last.

    It is kept for 30 days. Holds that have not ended come last.
    """
    begin = None if since is None else past_moment(since, datetime.now(UTC), local_zone(), "--since")
    past = session.with_admin(lambda lock: _read(lock, limit if begin is None and machine is None else MOST))
    if machine is not None:
        found = named(past.events, machine, session.with_store(lambda store: _names(store, session.config.group)))
        if not found:
            raise LockError(f"no machine is called {machine}, now or in the history of the last 30 days")
        past = of_machine(past, choose(found, machine, " in the history"))
    past = since_then(past, begin, limit)
    if as_json:
        print_json({"group": session.config.group, **past_fields(past, datetime.now(UTC))})
        return
    now = datetime.now().astimezone()
    rows = [*(_event_row(event, now) for event in past.events), *(_hold_row(*hold, now) for hold in past.holds)]
    if rows:
        say_all(table(("WHEN", "WHAT", "MACHINE", "FOR", "BY, WHY"), rows, width()))
    elif not past.problem:
        when = "in the last 30 days" if begin is None else f"since {begin.astimezone():%Y-%m-%d %H:%M}"
        note(f"nothing has happened here {when}")
        note_unknown_group(session)
    session.name_group()
    if past.problem:
        note(f"who holds a slot cannot be read: {past.problem}")


async def _names(store: Store, group: str) -> dict[str, str]:
    """Name what holds, waits or is present now, by id; nothing where that cannot be read: the history is there."""
    with contextlib.suppress(CorruptValueError):
        return known_names(await read_group(store, group))
    return {}


async def _read(lock: LockAdmin, limit: int) -> Past:
    events = await lock.history.read(limit)
    try:
        claims = (await lock.read()).claims
    except CorruptValueError as error:
        return Past(events, [], error)
    return Past(events, sorted(claims.items(), key=began))


def _event_row(event: Event, now: datetime) -> Row:
    words = event_words(event)
    return Row((_when(event.at, now), words.what, words.name, words.long, words.why))


def _hold_row(holder: str, claim: Held, now: datetime) -> Row:
    if not isinstance(claim, Claim):
        why = "its record cannot be read" if claim else "no record: a legacy node, or a legacy lock"
        return Row(("", "still held", holder, "", why), "yellow")
    name, long = name_words(claim.kind, holder, claim.hostname), span(now - claim.held_since)
    return Row(
        (
            _when(claim.held_since, now),
            "still held",
            name,
            long,
            why_words(at_words(claim.who, claim.hostname, claim.kind), claim.reason),
        ),
        "yellow",
    )


def _when(moment: datetime, now: datetime) -> str:
    return f"{moment.astimezone(now.tzinfo):%m-%d %H:%M:%S}"
