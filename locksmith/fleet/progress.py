"""How far a rollout is, from what the store has of a group and from its history; every reader finds the same. Pure.

`rollout.py` sums up what one viewer has watched. Here nothing is remembered: a rollout is the machines that need a
reboot now, and those that rebooted meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import holder_statuses
from locksmith.fleet.rollout import OWN
from locksmith.lock.records.claim import REBOOTS
from locksmith.lock.records.event import HELD, REBOOTED, Event
from locksmith.util import records


@dataclass(frozen=True, slots=True)
class Progress:
    """A rollout that is under way or, if no machine is left to do, the last one.

    `began` is when the first of its machines needed a reboot, as far as is known; `ended` the last reboot of one
    that is over. `down` are those of `left` that hold a slot; `took` is the median of how long a slot was held.
    """

    began: datetime | None
    ended: datetime | None
    left: frozenset[str]
    down: frozenset[str]
    done: tuple[Event, ...]
    took: timedelta | None

    @property
    def wanted(self) -> int:
        """How many machines it has."""
        return len(self.left) + len(self.done)

    @property
    def share_done(self) -> float:
        """How much of it is done, from 0 to 1; nothing to do is 1."""
        return len(self.done) / self.wanted if self.wanted else 1.0


def progress(view: GroupView, events: Sequence[Event]) -> Progress:
    """Sum up the rollout of a group. `events` are its history, the oldest first.

    A reboot belongs to the rollout if another machine of it needed its own then. So a rollout begins with the oldest
    need, and grows with each reboot since; machines that wait for long join rollouts that follow each other.
    """
    held = [one for one in holder_statuses(view) if one.how in OWN]
    needs = {one.machine_id: one.need_since or one.since for one in view.machines.values() if one.need}
    waits = {one.holder: one.since for one in view.waiters if one.kind in REBOOTS}
    holds = {one.holder: one.claim.since for one in held if one.claim}
    left = needs.keys() | waits.keys() | holds.keys()
    reboots = [one for one in events if one.act == HELD and one.detail == REBOOTED and one.kind in REBOOTS]
    starts = [at for found in (needs, waits, holds) for at in found.values()]
    began = min(starts, default=None)
    done: dict[str, Event] = {}
    for one in reversed(reboots):
        if began is not None and one.at < began:
            break
        start = one.since or one.taken or one.at
        began = start if began is None else min(began, start)
        done.setdefault(one.holder, one)
    finished = tuple(one for one in reversed(done.values()) if one.holder not in left)
    times = [(one.at - one.taken).total_seconds() for one in finished if one.taken is not None]
    return Progress(
        began,
        finished[-1].at if finished and not left else None,
        frozenset(left),
        frozenset(one.holder for one in held),
        finished,
        timedelta(seconds=median(times)) if times else None,
    )


def progress_fields(found: Progress) -> dict[str, object]:
    """Give the progress for scripts."""
    return {
        "began": records.optional_moment(found.began) or None,
        "ended": records.optional_moment(found.ended) or None,
        "machines": found.wanted,
        "done": len(found.done),
        "left": len(found.left),
        "down": len(found.down),
        "share_done": round(found.share_done, 4),
        "median_seconds": int(found.took.total_seconds()) if found.took is not None else None,
    }
