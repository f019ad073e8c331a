"""One machine in its group, looked up for the sentences that are said of it. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderStatus, holder_statuses
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import OTHER_CLUSTER, RESTORED
from locksmith.lock.records.waiter import Waiter
from locksmith.util.text import plain


@dataclass(frozen=True, slots=True)
class Case:
    """One machine in its group. `place` is its own in the queue (1: the first; None: it is not queued)."""

    view: GroupView
    machine_id: str
    node: Node | None
    held: HolderStatus | None
    place: int | None
    now: datetime
    halt_after: HaltAfter = FIRST
    alone: bool = False
    """Whether only the machine's own daemon was asked: nothing is known of its group."""

    @property
    def waiter(self) -> Waiter | None:
        """Its own place."""
        return self.view.waiters[self.place - 1] if self.place else None

    @property
    def name(self) -> str:
        """What people call it."""
        known = (self.node, self.held, self.waiter, self.view.absent.get(self.machine_id))
        return next((one.name for one in known if one is not None), plain(self.machine_id))


def case(view: GroupView, machine_id: str, now: datetime, halt_after: HaltAfter = FIRST) -> Case:
    """Look a machine up in its group; `now` is aware, in the zone of the person who asks.

    `halt_after` is what the asking machine's configuration says.
    """
    held = next((one for one in holder_statuses(view) if one.holder == machine_id), None)
    places = (place for place, waiter in enumerate(view.waiters, 1) if _is_own(waiter, machine_id))
    return Case(view, machine_id, view.machines.get(machine_id), held, next(places, None), now, halt_after)


def as_its_daemon_says(found: Case, own: Node | None) -> Case:
    """Take what the machine's own daemon says now. Its record may be minutes older: a large group spreads such news.

    The record alone says that there is a clone, or that its machine does not believe the store.
    """
    shown = found.node
    if own is None or shown is None or (own.boot_id, own.group) != (shown.boot_id, shown.group):
        return found
    if shown.code in {RESTORED, OTHER_CLUSTER}:
        return found
    clone, clone_boot, written, lasts = shown.clone, shown.clone_boot, shown.written, shown.lasts
    return replace(found, node=replace(own, clone=clone, clone_boot=clone_boot, written=written, lasts=lasts))


def _is_own(waiter: Waiter, machine_id: str) -> bool:
    return waiter.holder == machine_id and waiter.is_machines
