"""The status of each holder of a slot: by which claim, and whether its machine is still there. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from locksmith.errors import CorruptValueError
from locksmith.fleet.group import GroupView
from locksmith.lock.records.claim import COMMAND, COMMITTED, MANUAL, WENT_WRONG, Claim
from locksmith.lock.records.node import Node
from locksmith.lock.records.states import RELEASING, VERIFYING
from locksmith.lock.records.went_wrong import is_orphan
from locksmith.util.text import plain


class HolderKind(StrEnum):
    """What a slot is held for, as far as the store tells."""

    HELD = "held"
    """A machine's reboot that can still be aborted."""
    REBOOTING = "rebooting"
    """A machine's reboot past its point of no return."""
    OVERDUE = "overdue"
    """A reboot that takes longer than the machine's `reboot.limit`; the machine is not lost yet."""
    VERIFYING = "verifying"
    """A machine that has rebooted, and has not proved itself healthy yet."""
    UNHEALTHY = "unhealthy"
    """A machine that has rebooted and did not prove itself healthy."""
    FAILED = "failed"
    """A machine that has rebooted, and whose update is not there."""
    LOST = "lost"
    """The claim of a locksmithd, or of a client of the server, whose machine is no longer present, by the store."""
    ORPHANED = "orphaned"
    """The claim of a machine that has rebooted and does not know it any more: no reboot journal has it."""
    UNSEEN = "unseen"
    """What an operator ordered on a machine that shows no presence: it may never have, or be lost."""
    COMMAND = "command"
    """A machine on which an operator's command runs."""
    MANUAL = "manual"
    """An operator's lock."""
    UNKNOWN = "unknown"
    """A claim of a kind that this version does not know."""
    LEGACY = "legacy"
    """No record: a legacy node, or a legacy lock. Such a machine was never present."""
    UNREADABLE = "unreadable"
    """A record that cannot be read."""


UNVERIFIABLE = {HolderKind.UNSEEN, HolderKind.MANUAL, HolderKind.UNKNOWN, HolderKind.LEGACY, HolderKind.UNREADABLE}
UNDER_WAY = {HolderKind.HELD, HolderKind.REBOOTING, HolderKind.OVERDUE, HolderKind.VERIFYING}
"""A machine's reboot that its locksmithd ends by itself."""
WRONG = {HolderKind.UNHEALTHY, HolderKind.FAILED, HolderKind.LOST, HolderKind.ORPHANED}
"""A reboot that went wrong."""
ALARMING = WRONG | {HolderKind.OVERDUE}
"""What an operator should see first."""


@dataclass(frozen=True, slots=True)
class HolderStatus:
    """One holder. `claim` is None where there is none that can be read, `node` where the machine is not present."""

    holder: str
    name: str
    how: HolderKind
    claim: Claim | None = None
    node: Node | None = None

    def is_stale(self, now: datetime, after: timedelta) -> bool:
        """Whether the slot is held for longer than that, and nothing shows that its machine is alive."""
        return self.how in UNVERIFIABLE and (self.since is None or now - self.since > after)

    @property
    def since(self) -> datetime | None:
        """Since when the slot is held, where that is known."""
        return self.claim.held_since if self.claim else None


def holder_statuses(view: GroupView) -> list[HolderStatus]:
    """Give the status of each holder, in the order in which they got their slots; those of unknown time last."""
    found = [_holding(view, holder) for holder in view.semaphore.holders]
    return sorted(found, key=lambda one: (one.since is None, one.since and one.since.timestamp(), one.holder))


def _holding(view: GroupView, holder: str) -> HolderStatus:
    claim, machine = view.claims.get(holder), view.machines.get(holder)
    if isinstance(claim, CorruptValueError):
        return HolderStatus(holder, machine.name if machine else plain(holder), HolderKind.UNREADABLE)
    if claim is None:
        return HolderStatus(holder, machine.name if machine else plain(holder), HolderKind.LEGACY)
    # The host of a manual claim is the operator's.
    name = machine.name if machine else claim.hostname if claim.is_machines else holder
    return HolderStatus(holder, plain(name or holder), _how(claim, machine, view.at), claim, machine)


def _how(claim: Claim, machine: Node | None, now: datetime | None) -> HolderKind:
    if not claim.is_machines:
        return HolderKind.MANUAL if claim.kind == MANUAL else HolderKind.UNKNOWN
    if claim.state in WENT_WRONG:
        return HolderKind(claim.state)
    if is_orphan(claim, machine):
        return HolderKind.ORPHANED
    if machine is None:
        return HolderKind.LOST if claim.shows_presence else HolderKind.UNSEEN
    return _under_way(claim, machine, now)


def _under_way(claim: Claim, machine: Node, now: datetime | None) -> HolderKind:
    verifies = machine.state in {VERIFYING, RELEASING}
    if claim.kind == COMMAND:
        return HolderKind.VERIFYING if verifies else HolderKind.COMMAND
    if claim.state != COMMITTED:
        return HolderKind.HELD
    if verifies:
        return HolderKind.VERIFYING
    return HolderKind.OVERDUE if now is not None and machine.is_overdue(now) else HolderKind.REBOOTING
