"""Who held a slot when, and whether its machine was down: from the history and the present holders. Pure.

The history tells when a slot was taken and when it was released. When in between the machine went down, and when it was
up again, it does not tell. What is not known is marked, and never made up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, HolderStatus, holder_statuses
from locksmith.lock.records.claim import COMMITTED, MACHINES, WENT_WRONG
from locksmith.lock.records.event import EXPIRE, HELD, REBOOTED, UNLOCK, Event
from locksmith.lock.records.states import REBOOTING, STUCK
from locksmith.util import records

_ENDS = {HELD, UNLOCK, EXPIRE}
"""Events that end the hold of a slot."""


class Outcome(StrEnum):
    """How a hold has ended, or that it has not."""

    REBOOTED = "rebooted"
    """The machine has rebooted, and then released its slot."""
    NOT_REBOOTED = "not_rebooted"
    """The slot was released, and no reboot came of it: `detail` says why."""
    UNLOCKED = "unlocked"
    """An operator released the slot."""
    EXPIRED = "expired"
    """The slot of a lost machine was released."""
    HELD = "held"
    """The slot is still held."""


class Down(StrEnum):
    """Whether the machine was down within a hold."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Hold:
    """A slot that was held from `begin` to `end`; moments are aware.

    `begin` None: not known. `made` is when its claim was made, so it did not begin before. `end` None: still held.
    `down_from` is the first moment at which the machine is known to go down, for a hold that lasts. `status` is that of
    a holder (None: it has ended). `who` has released it, where an operator did.
    """

    holder: str
    name: str
    kind: str
    outcome: Outcome
    down: Down
    begin: datetime | None
    end: datetime | None
    made: datetime | None = None
    down_from: datetime | None = None
    status: HolderKind | None = None
    who: str = ""
    reason: str = ""
    detail: str = ""
    version: str = ""

    @property
    def is_machines(self) -> bool:
        """Whether it is a machine's, as against an operator's or a legacy lock."""
        return self.kind in MACHINES

    def overlaps(self, begin: datetime, end: datetime) -> bool:
        """Whether a part of it may be in this span."""
        return (self.earliest is None or self.earliest < end) and (self.end is None or self.end > begin)

    @property
    def earliest(self) -> datetime | None:
        """The first moment at which it may have begun; None: not known."""
        return self.begin or self.made


@dataclass(frozen=True, slots=True)
class Timeline:
    """The holds of a group between two moments, in the order of their beginnings; those of unknown beginning first.

    `complete_from`: holds that ended before it are not known, because the history is kept for so long only. `most` is
    how many slots were held at once at the most, as far as is known.
    """

    group: str
    begin: datetime
    end: datetime
    complete_from: datetime
    holds: tuple[Hold, ...]
    most: int


def timeline(view: GroupView, events: Sequence[Event], begin: datetime, end: datetime, kept_from: datetime) -> Timeline:
    """Give the holds between two moments. `events` are the youngest ones of the history, the oldest first.

    `kept_from`: older events are not in `events`, because they have expired or are too many.
    """
    found = [*_past(events), *(_present(one) for one in holder_statuses(view))]
    shown = sorted((one for one in found if one.overlaps(begin, end)), key=_order)
    return Timeline(view.group, begin, end, max(begin, kept_from), tuple(shown), _most(shown, begin, end))


def complete_from(events: Sequence[Event], now: datetime, kept: timedelta, most: int) -> datetime:
    """Give the moment from which on a history is complete that is kept for so long, and has so many events at most."""
    since = now - kept
    return max(since, events[0].at) if len(events) >= most else since


def _past(events: Iterable[Event]) -> list[Hold]:
    """Give the holds that have ended. A claim has one end, the first: later events are about what followed."""
    found: dict[tuple[str, datetime | None, datetime | None], Hold] = {}
    for event in events:
        if event.act in _ENDS and event.holder:
            found.setdefault((event.holder, event.since, event.taken), _ended(event))
    return list(found.values())


def _ended(event: Event) -> Hold:
    outcome, down = _outcome(event)
    return Hold(
        event.holder,
        # The host of a manual claim is the operator's.
        (event.hostname if event.kind in MACHINES else "") or event.holder,
        event.kind,
        outcome,
        down,
        # Two machines' clocks may differ.
        min(event.taken, event.at) if event.taken else None,
        event.at,
        made=event.since,
        who=event.who if event.act == UNLOCK else "",
        reason=event.reason,
        detail="" if event.detail == REBOOTED else event.detail,
        version=event.version,
    )


def _outcome(event: Event) -> tuple[Outcome, Down]:
    if event.act == UNLOCK:
        return Outcome.UNLOCKED, Down.UNKNOWN if event.kind in MACHINES else Down.NO
    if event.act == EXPIRE:
        return Outcome.EXPIRED, Down.UNKNOWN
    if event.detail == REBOOTED:
        return Outcome.REBOOTED, Down.YES
    return Outcome.NOT_REBOOTED, Down.NO


def _present(one: HolderStatus) -> Hold:
    claim = one.claim
    down, since = _now(one)
    return Hold(
        one.holder,
        one.name,
        claim.kind if claim else "",
        Outcome.HELD,
        down,
        claim.taken if claim else None,
        None,
        made=claim.since if claim else None,
        down_from=since,
        status=one.how,
        reason=claim.reason if claim else "",
        detail=claim.failure if claim else "",
        version=claim.version if claim else "",
    )


def _now(one: HolderStatus) -> tuple[Down, datetime | None]:
    """Tell whether the machine of a holder is down or has been, and since when it goes down if it tells that."""
    claim, node = one.claim, one.node
    if claim is None or not claim.is_machines:
        return Down.UNKNOWN if claim is None else Down.NO, None
    if claim.state in WENT_WRONG:
        return Down.YES, None
    if claim.state != COMMITTED:
        return (Down.UNKNOWN if one.how in {HolderKind.LOST, HolderKind.ORPHANED, HolderKind.UNSEEN} else Down.NO), None
    if node is not None and node.state in {REBOOTING, STUCK}:
        return Down.YES, node.since
    return Down.YES, None


def _order(one: Hold) -> tuple[bool, float, str]:
    return one.earliest is not None, one.earliest.timestamp() if one.earliest else 0.0, one.holder


def _most(holds: Iterable[Hold], begin: datetime, end: datetime) -> int:
    """Count the slots that were held at once. A slot that is released and taken in one second is one."""
    steps = []
    for one in holds:
        stop = min(end, one.end) if one.end else end
        steps += [(min(stop, max(begin, one.earliest or begin)), 1), (stop, -1)]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def timeline_fields(found: Timeline) -> dict[str, object]:
    """Give a timeline for scripts."""
    return {
        "group": found.group,
        "from": records.moment(found.begin),
        "to": records.moment(found.end),
        "complete_from": records.moment(found.complete_from),
        "most": found.most,
        "holds": [hold_fields(one) for one in found.holds],
    }


def hold_fields(one: Hold) -> dict[str, object]:
    """Give a hold for scripts; null is what is not known, or has not happened."""
    return {
        "id": one.holder,
        "name": one.name,
        "kind": one.kind or None,
        "outcome": one.outcome.value,
        "down": one.down.value,
        "down_from": records.optional_moment(one.down_from) or None,
        "from": records.optional_moment(one.begin) or None,
        "made": records.optional_moment(one.made) or None,
        "to": records.optional_moment(one.end) or None,
        "how": one.status.value if one.status else None,
        "who": one.who,
        "reason": one.reason,
        "detail": one.detail,
        "version": one.version,
    }
