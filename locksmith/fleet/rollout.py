"""A rollout as a viewer has seen it: which machines needed a reboot, which are done, how long each took. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, HolderStatus, holder_statuses
from locksmith.lock.records.claim import REBOOTS

OWN = {
    HolderKind.HELD,
    HolderKind.REBOOTING,
    HolderKind.OVERDUE,
    HolderKind.VERIFYING,
    HolderKind.UNHEALTHY,
    HolderKind.FAILED,
    HolderKind.LOST,
    HolderKind.UNSEEN,
}
"""What a machine's own reboot looks like in the semaphore."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """A reboot that was seen to its end: how long its slot was held."""

    name: str
    took: timedelta


@dataclass
class Rollout:
    """What was seen since the beginning; each view adds to it."""

    wanted: set[str] = field(default_factory=set)
    done: dict[str, Reboot] = field(default_factory=dict)
    _held: dict[str, HolderStatus] = field(default_factory=dict)

    def observe(self, view: GroupView, now: datetime) -> None:
        """Take note of a view."""
        held = {one.holder: one for one in holder_statuses(view) if one.how in OWN}
        needing = {node.machine_id for node in view.machines.values() if node.need}
        waiting = {waiter.holder for waiter in view.waiters if waiter.kind in REBOOTS}
        for holder, before in self._held.items():
            if holder not in held and holder not in waiting | needing and before.since is not None:
                self.done[holder] = Reboot(before.name, now - before.since)
        for holder in held.keys() | waiting | needing:
            self.done.pop(holder, None)
        self.wanted |= held.keys() | waiting | needing
        # One that released its slot and still needs a reboot is not done: it may have been aborted.
        self._held = {**{key: one for key, one in self._held.items() if key in waiting | needing}, **held}

    @property
    def share_done(self) -> float:
        """How much of it is done, from 0 to 1; nothing to do is 1."""
        return len(self.done) / len(self.wanted) if self.wanted else 1.0

    @property
    def last(self) -> list[Reboot]:
        """The reboots that were seen to their end, the last one last."""
        return list(self.done.values())
