"""Everything the store knows about a group, for people: the lock, the queue, the machines. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from locksmith.errors import CorruptValueError
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.share import Share
from locksmith.lock.records.waiter import Waiter
from locksmith.lock.records.went_wrong import incidents
from locksmith.util.zincati import client_of


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group. `waiters` are in the order of the queue; `machines` are those present, by their ids.

    `absent` are those that were present and are remembered.

    A holder's claim is None where it has no record. `problems` are values that cannot be read. `revision` is the
    store's when the lock was read, the first of all. `holds` are the machines held back, by their ids; `noted` is what
    is left of slots that expired. `at` is when it was read, by the clock of the machine that read it.
    """

    group: str
    semaphore: Semaphore
    claims: Mapping[str, Claim | CorruptValueError | None] = field(default_factory=dict)
    waiters: tuple[Waiter, ...] = ()
    machines: Mapping[str, Node] = field(default_factory=dict)
    absent: Mapping[str, Member] = field(default_factory=dict)
    share: Share | None = None
    freeze: Order | None = None
    holds: Mapping[str, Order] = field(default_factory=dict)
    spacing: Order | None = None
    noted: tuple[Incident, ...] = ()
    problems: tuple[CorruptValueError, ...] = ()
    revision: int = 0
    at: datetime | None = None

    @property
    def held_back(self) -> Mapping[str, Order]:
        """The machines held back; a machine's Zincati, which the same order holds back too, is not named again."""
        twins = {(client_of(one), order.nonce) for one, order in self.holds.items() if order.nonce}
        return {one: order for one, order in self.holds.items() if (one, order.nonce) not in twins}

    def incidents(self, now: datetime) -> list[Incident]:
        """Name the reboots that went wrong and that no operator has acknowledged."""
        claims = [claim for claim in self.claims.values() if isinstance(claim, Claim)]
        return incidents(claims, self.machines, self.noted, now)
