"""What has happened in a group, and which slots are held now: the history, for people and for scripts. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from locksmith.errors import CorruptValueError
from locksmith.fleet.fields import Held, claim_fields
from locksmith.fleet.lookup import Match, matches, without_clients
from locksmith.lock.records.claim import MACHINES, Claim
from locksmith.lock.records.event import Event
from locksmith.util import records
from locksmith.util.zincati import client_of

OF_MACHINES = {*MACHINES, ""}
"""The kinds of claims whose host is the machine's own; "": an order about a machine."""


@dataclass(frozen=True, slots=True)
class Past:
    """The youngest events, the oldest first, and who holds a slot now, or why that cannot be read."""

    events: list[Event]
    holds: list[tuple[str, Held]]
    problem: CorruptValueError | None = None


def of_machine(past: Past, machine_id: str) -> Past:
    """Give what is about one machine, and about its Zincati."""
    ids = {machine_id, client_of(machine_id)} - {""}
    return Past(events_of(past.events, machine_id), [hold for hold in past.holds if hold[0] in ids], past.problem)


def events_of(events: Iterable[Event], machine_id: str) -> list[Event]:
    """Give the events of one machine and of its Zincati; a hold of an earlier version names it in its detail alone."""
    ids = {machine_id, client_of(machine_id)} - {""}
    return [one for one in events if one.holder in ids or f"({machine_id})" in one.detail]


def named(events: Iterable[Event], wanted: str, now: Mapping[str, str]) -> list[Match]:
    """Give the machines of the history, and those that are known `now` (names by ids), that a name may mean."""
    before: dict[str, str] = {}
    for event in events:
        if event.holder:
            own = event.hostname if event.kind in OF_MACHINES else ""
            before[event.holder] = own or before.get(event.holder, "")
    known = {**before, **{one: name or before.get(one, "") for one, name in now.items()}}
    return without_clients(matches(known, wanted))


def since_then(past: Past, begin: datetime | None, limit: int) -> Past:
    """Give what happened since a moment, and what is still held."""
    events = [event for event in past.events if begin is None or event.at >= begin]
    return Past(events[-limit:], past.holds, past.problem)


def began(hold: tuple[str, Held]) -> tuple[bool, float]:
    """Order holds by their beginning; those of which it is not known come last."""
    _, claim = hold
    return (False, claim.held_since.timestamp()) if isinstance(claim, Claim) else (True, 0.0)


def past_fields(past: Past, now: datetime) -> dict[str, object]:
    """Give what happened, and what is still held."""
    return {
        "events": [event_fields(event) for event in past.events],
        "holds": [_hold_fields(*hold, now) for hold in past.holds],
        "problem": str(past.problem) if past.problem else None,
    }


def event_fields(event: Event) -> dict[str, object]:
    """Give what happened once."""
    return {
        "at": records.moment(event.at),
        "act": event.act,
        "who": event.who,
        "host": event.host,
        "reason": event.reason,
        "detail": event.detail,
        "id": event.holder,
        "hostname": event.hostname,
        "kind": event.kind,
        "version": event.version,
        "since": records.optional_moment(event.since) or None,
        "taken": records.optional_moment(event.taken) or None,
        "held_seconds": int((event.at - event.taken).total_seconds()) if event.taken else None,
    }


def _hold_fields(holder: str, claim: Held, now: datetime) -> dict[str, object]:
    held = int((now - claim.held_since).total_seconds()) if isinstance(claim, Claim) else None
    return {"id": holder, "claim": claim_fields(claim), "held_seconds": held}
