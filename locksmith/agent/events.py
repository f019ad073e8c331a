"""The events of a reboot that deserve a record of their own in the system journal. Pure.

Each has a MESSAGE_ID that never changes and is never used again, as programs filter for it: `systemd-id128 new` makes
one. A test compares them with contrib/systemd/locksmith.catalog, which explains them, and with the list in the docs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from locksmith.agent.journal import JournalEntry
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.state import state_of
from locksmith.agent.steps import Abort, ReportFailure, Step, Undo, Wait
from locksmith.lock.records.claim import FAILED as FAILED_STATE
from locksmith.lock.records.claim import UNHEALTHY as UNHEALTHY_STATE
from locksmith.util import records


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, in a word, and by which id programs find it."""

    name: str
    message_id: str


SLOT_TAKEN = Event("slot-taken", "d6962303a64a4491a1fc2d77c57c52f3")
COMMITTED = Event("committed", "72cd9985d66549a7a639d43ca998bc1c")
RELEASED = Event("released", "1f5a5dc9566e4e5293a7c1df5aa3ed56")
ABORTED = Event("aborted", "cb2adbc9b84241cfa59d1f3ea9d4e07c")
SLOT_LOST = Event("slot-lost", "6971c8769e1a4042aa6c638322a00fc0")
UNHEALTHY = Event("unhealthy", "6360d85df1c14970895a64972e1767da")
FAILED = Event("failed", "20ada2b2f3b34df59134a32be48e9789")
STUCK = Event("stuck", "de08fe6b07a1408d8dd311b7f05d335a")
HALTED = Event("halted", "878bcbd26a5f470c85792d3b8efd2230")
FROZEN = Event("frozen", "e11f084f401a457ebad0d0f5d6b7e86b")
HELD_BACK = Event("held-back", "b77ff410ff4741fdae2f670e2ea5e0e4")
CLONE = Event("clone", "95599e2d73534480a3fca3187a681a26")
ORPHANED = Event("orphaned", "0533b94c1cf04297b90d41b71c6a7007")
STORE_AWAY = Event("store-away", "a7e5cc4a3d83419d88d6d54477ffc06c")
STORE_CHANGED = Event("store-changed", "fbeb64c5ce2c4a6888afe9a782961d55")
UNBLOCKED = Event("unblocked", "013e3ee9187243af890470e0486a8e2a")

EVENTS = (
    *(SLOT_TAKEN, COMMITTED, RELEASED, ABORTED, SLOT_LOST, UNHEALTHY, FAILED, STUCK),
    *(HALTED, FROZEN, HELD_BACK, CLONE, ORPHANED, STORE_AWAY, STORE_CHANGED, UNBLOCKED),
)

OF_WAITS = {
    "stuck": STUCK,
    "halt": HALTED,
    "freeze": FROZEN,
    "hold": HELD_BACK,
    "clone": CLONE,
    "orphaned": ORPHANED,
    "store": STORE_AWAY,
    "restored": STORE_CHANGED,
    "other_cluster": STORE_CHANGED,
}
"""The reasons to wait that are events."""

MESSAGE_ID = "MESSAGE_ID"
"""The field by which journalctl finds an event, and its explanation. It is journald's own, and has no prefix."""

FIELDS = (
    *("EVENT", "STATE", "CODE", "REASON", "UNTIL", "BEFORE", "TRIGGER", "VERSION"),
    *("GROUP", "MACHINE", "STRATEGY", "DRY_RUN"),
)
"""The fields of a record, all with `LOCKSMITH_` before them. Those of the last line are in every record."""


EXTRA = "locksmith"
"""The attribute of a log record that has its fields: `log.info(..., extra=...)`."""

Extra = dict[str, dict[str, str]]


def of_step(step: Step, snapshot: Snapshot | None, before: str = "") -> Extra:
    """Give the fields of the record about a step, after a wait for the reason `before` (empty: there was none)."""
    event = _event_of(step, before)
    fields = {"STATE": state_of(step), **(_need(snapshot) if snapshot else {})}
    match step:
        case Wait(code, text, until):
            fields |= {"CODE": code, "REASON": text, "UNTIL": records.optional_moment(until)}
        case ReportFailure(failure=reason) | Abort(reason=reason) | Undo(reason=reason):
            fields["REASON"] = reason
    return _extra(event, fields, BEFORE=before if event is UNBLOCKED else "")


def of_claim(event: Event, entry: JournalEntry, reason: str = "") -> Extra:
    """Give the fields of the record of an event of a claim."""
    fields = {"TRIGGER": entry.before.trigger, "VERSION": entry.version}
    return _extra(event, fields, REASON=reason or entry.claim.reason)


def _event_of(step: Step, before: str) -> Event | None:
    match step:
        case ReportFailure(state=state):
            return {UNHEALTHY_STATE: UNHEALTHY, FAILED_STATE: FAILED}.get(state)
        case Abort():
            return ABORTED
        case Wait(code=code) if code in OF_WAITS:
            return OF_WAITS[code]
    return UNBLOCKED if before in OF_WAITS else None


def _need(snapshot: Snapshot) -> dict[str, str]:
    """Say what the reboot is for: the claim's need, or the first that is known."""
    if (entry := snapshot.journal.entry) is not None:
        return {"TRIGGER": entry.before.trigger, "VERSION": entry.version}
    return {"TRIGGER": snapshot.needs[0].trigger, "VERSION": snapshot.needs[0].version} if snapshot.needs else {}


def _extra(event: Event | None, fields: Mapping[str, str], **more: str) -> Extra:
    """Add the event, and leave out what is empty."""
    named = {"EVENT": event.name, MESSAGE_ID: event.message_id} if event else {}
    return {EXTRA: {name: value for name, value in {**named, **fields, **more}.items() if value}}
