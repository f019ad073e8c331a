"""How far a rollout is, by what the store alone knows of it: every viewer sees the same. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import UNDER_WAY, WRONG, holder_statuses
from locksmith.lock.records.claim import REBOOTS
from locksmith.lock.records.event import HELD, REBOOTED, Event


@dataclass(frozen=True, slots=True)
class Progress:
    """Machines that have rebooted since the rollout began (`since`), and those that still need it, or reboot now."""

    done: int = 0
    left: int = 0
    since: datetime | None = None

    @property
    def total(self) -> int:
        """All machines of it."""
        return self.done + self.left


def progress(view: GroupView, events: Iterable[Event]) -> Progress:
    """Tell how far it is; where no machine needs a reboot there is none.

    It began when the first of the machines that still need a reboot began to.
    """
    reboots = [one for one in holder_statuses(view) if one.how in UNDER_WAY | WRONG and one.claim is not None]
    waiting = [one for one in view.waiters if one.kind in REBOOTS]
    needing = [node for node in view.machines.values() if node.need]
    left = {one.holder for one in (*reboots, *waiting)} | {node.machine_id for node in needing}
    if not left:
        return Progress()
    begins = [
        *(one.claim.since for one in reboots if one.claim),
        *(one.since for one in waiting),
        *(node.need_since or node.since for node in needing),
    ]
    since = min(begins)
    done = {one.holder for one in events if one.act == HELD and one.detail == REBOOTED and one.at >= since}
    return Progress(len(done - left), len(left), since)
