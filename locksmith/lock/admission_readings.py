"""What an admission reads in addition to the semaphore: the orders of the group, and the other holders."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple, Self

from locksmith.lock.records.claim import Claim
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.node import Node
from locksmith.store.protocol import Entry, Reading

NOTHING: Mapping[str, Reading] = MappingProxyType({})
"""Nothing was read."""


@dataclass(frozen=True, slots=True)
class Others:
    """The other holders of slots: the claims of those who have one, who of them is present, and what is noted.

    `records` has each of them that was asked for, also one without a record (None). Where no holder can hold this
    machine back, none is asked for.
    """

    claims: tuple[Claim, ...] = ()
    present: Mapping[str, Node | None] = field(default_factory=dict)
    noted: tuple[Incident, ...] = ()
    records: Mapping[str, Entry | None] = field(default_factory=dict)

    def among(self, holders: Collection[str]) -> Self:
        """Leave out those that are no longer holders."""
        claims = tuple(claim for claim in self.claims if claim.holder in holders)
        records = {holder: record for holder, record in self.records.items() if holder in holders}
        return replace(self, claims=claims, records=records)


class AdmissionKeys(NamedTuple):
    """The keys of what an admission depends on, except the semaphore and its holders."""

    freeze: str
    hold: str
    spacing: str
    incidents: str
    resume: str


class AdmissionReadings(NamedTuple):
    """The readings of the same keys."""

    freeze: Reading
    hold: Reading
    spacing: Reading
    incidents: Reading
    resume: Reading
