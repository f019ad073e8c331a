"""How far a rollout is, by what the store alone knows of it: every viewer sees the same. Pure.

`rollout.py` sums up what one viewer has watched. Here nothing is remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import UNDER_WAY, WRONG, HolderKind, holder_statuses
from locksmith.lock.records.claim import REBOOTS
from locksmith.lock.records.event import HELD, REBOOTED, Event
from locksmith.util import records

_OWN = UNDER_WAY | WRONG | {HolderKind.UNSEEN}
"""What a machine's own reboot looks like in the semaphore."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Machines that have rebooted since the rollout began (`since`), and those that still need it, or reboot now.

    `down` is how many of those hold a slot; `took` is the median of how long a slot was held.
    """

    done: int = 0
    left: int = 0
    since: datetime | None = None
    down: int = 0
    took: timedelta | None = None

    @property
    def total(self) -> int:
        """All machines of it."""
        return self.done + self.left

    @property
    def share_done(self) -> float:
        """How much of it is done, from 0 to 1; nothing to do is 1."""
        return self.done / self.total if self.total else 1.0


def progress(view: GroupView, events: Sequence[Event]) -> Progress:
    """Tell how far it is; where no machine needs a reboot there is none. `events` are the history, the oldest first.

    It began when the first of the machines that still need a reboot began to. A reboot since then takes the beginning
    with it: a rollout does not begin later because the first machines are done. So a machine that waits for long joins
    rollouts that follow each other.
    """
    reboots = {one.holder: one.claim.since for one in holder_statuses(view) if one.how in _OWN and one.claim}
    waiting = {one.holder: one.since for one in view.waiters if one.kind in REBOOTS}
    needing = {node.machine_id: node.need_since or node.since for node in view.machines.values() if node.need}
    left = reboots.keys() | waiting.keys() | needing.keys()
    if not left:
        return Progress()
    since = min(at for found in (reboots, waiting, needing) for at in found.values())
    done: dict[str, Event] = {}
    for one in reversed(events):
        if one.at < since:
            break
        if one.act == HELD and one.detail == REBOOTED and one.kind in REBOOTS:
            since = min(since, one.since or one.taken or one.at)
            done.setdefault(one.holder, one)
    over = [one for one in done.values() if one.holder not in left]
    times = [(one.at - one.taken).total_seconds() for one in over if one.taken is not None]
    return Progress(len(over), len(left), since, len(reboots), timedelta(seconds=median(times)) if times else None)


def progress_fields(found: Progress) -> dict[str, object]:
    """Give the progress for scripts."""
    return {
        "since": records.optional_moment(found.since) or None,
        "machines": found.total,
        "done": found.done,
        "left": found.left,
        "down": found.down,
        "share_done": round(found.share_done, 4),
        "median_seconds": int(found.took.total_seconds()) if found.took is not None else None,
    }
