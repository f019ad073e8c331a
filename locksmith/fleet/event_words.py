"""An event of a group's history, in words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from locksmith.lock.records.claim import DAEMON, MACHINES, MANUAL
from locksmith.lock.records.event import HELD, REBOOTED, Event
from locksmith.util.words import span


@dataclass(frozen=True, slots=True)
class EventWords:
    """What happened, to which machine (its name and its id), for how long it held its slot, and who did it and why."""

    what: str
    name: str
    machine_id: str
    long: str
    why: str

    def has(self, text: str) -> bool:
        """Tell whether a text is in it; case does not count."""
        wanted = text.casefold()
        return any(wanted in one.casefold() for one in (self.what, self.name, self.machine_id, self.why))


def event_words(event: Event) -> EventWords:
    """Put an event into words."""
    what, detail = event.act, event.detail
    if event.act == HELD:
        what, detail = (REBOOTED, "") if event.detail == REBOOTED else ("released", event.detail)
    name = name_words(event.kind, event.holder, event.hostname)
    long = span(event.at - event.taken) if event.taken else ""
    return EventWords(what, name, event.holder, long, why_words(_who(event), event.reason, detail))


def newest_first(events: Sequence[Event]) -> list[tuple[Event, EventWords]]:
    """Put events into words, the youngest first."""
    return [(event, event_words(event)) for event in reversed(events)]


def _who(event: Event) -> str:
    if event.who and event.host:
        return f"{event.who}@{event.host}"
    return at_words(event.who, event.hostname, event.kind)


def name_words(kind: str, holder: str, hostname: str) -> str:
    """Name the machine of a claim: the host of a manual claim is the operator's."""
    return hostname if kind in {*MACHINES, ""} and hostname else holder


def at_words(who: str, hostname: str, kind: str) -> str:
    """Name who made a claim, with the operator's host."""
    return f"{who}@{hostname}" if who and hostname and kind == MANUAL else who


def why_words(who: str, reason: str, detail: str = "") -> str:
    """Put together who did something, why, and how it went; a daemon goes without saying."""
    by = ": ".join(part for part in ("" if who == DAEMON else who, reason) if part)
    return "; ".join(part for part in (by, detail) if part)
