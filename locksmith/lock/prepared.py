"""What a take needs in addition to the semaphore, read while every slot is held: a free slot is taken in one swap.

Orders, failures and other claims are written together with the semaphore, or before a write of it. A take that reads
them after it has seen the semaphore needs no other guard. A prepared take has read them before. So its swap checks that
each of them still has the version that was read. Presence is the exception, as in `claim_reader.py`: it changes by
itself, and only has to be there still, or to be absent still.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from locksmith.lock.admission_readings import Others
from locksmith.lock.errors import SlotsBusyError
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.protocol import ABSENT, MOST_OPERATIONS, Check, Reading

if TYPE_CHECKING:
    import asyncio

LASTS = 60.0
"""Seconds for which a preparation may be used: the longest wait for a slot between two readings, and a pause."""
OWN_KEYS = 6
"""How many keys a take names in addition: the semaphore, its record, its place in the queue and its ticket, which it
writes; through a server also two that say which claims have ended (ended.py)."""


@dataclass(frozen=True, slots=True)
class TakeReadings:
    """What one attempt at a take has read: the keys by name, and the other holders."""

    read: Mapping[str, Reading]
    others: Others


@dataclass(frozen=True, slots=True)
class Prepared:
    """The readings of one claim's attempt that found no free slot.

    `slots`: the number of slots, which the group's share (if any) left as it is. `looking`: the check of the other
    keyspace, begun with these readings. `at`: when they began, in the loop's time. `freed`: how the semaphore
    stands since; None: no change of it is known.
    """

    group: str
    nonce: str
    readings: TakeReadings
    slots: int
    looking: "asyncio.Future[None]" = field(compare=False)
    at: float = field(compare=False)
    freed: Reading | None = None

    def after(self, freed: Reading) -> Self:
        """Take note of the semaphore as it is by now."""
        return replace(self, freed=freed)

    def suits(self, claim: Claim, now: Semaphore, at: float) -> bool:
        """Whether it may be used for this claim, with the semaphore as it is now, at the loop's time `at`."""
        looked = self.looking.done() and not self.looking.cancelled() and self.looking.exception() is None
        return looked and self.nonce == claim.nonce and now.max == self.slots and at - self.at < LASTS

    def checks(self, written: Container[str], others: Others) -> list[Check] | None:
        """Guard all that was read, except the keys that are `written`; None: it is more than one swap can check."""
        read = self.readings.read
        checks = [Check(key, reading.version) for key, reading in read.items() if key not in written]
        for holder, record in others.records.items():
            key = keys.holder_key(self.group, holder)
            checks.append(Check(key, record.version if record else ABSENT))
        for claim in others.claims:
            if claim.is_machines:
                key = keys.node_key(self.group, claim.holder)
                checks.append(Check(key, None if claim.holder in others.present else ABSENT))
        return checks if len(checks) + OWN_KEYS <= MOST_OPERATIONS else None


class PreparedBusyError(SlotsBusyError):
    """Not done: every slot is held. `prepared` is what this attempt has read for the next."""

    def __init__(self, text: str, revision: int, prepared: Prepared) -> None:
        super().__init__(text, revision)
        self.prepared = prepared
