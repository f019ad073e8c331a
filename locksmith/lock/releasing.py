"""One release of a slot, across its attempts: what goes with the write that frees the slot, instead of after it.

The next machine takes the slot as soon as that write is done. So each request after it would compete with that take.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from locksmith.lock.cas import LostWrites
from locksmith.lock.history import History
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import Event
from locksmith.store.protocol import ABSENT, Check, Note, Reading

if TYPE_CHECKING:
    from locksmith.lock.holder import HolderState
    from locksmith.lock.own_claim import Known

LEASE_LIMIT = 1.0
"""Seconds for which a slot waits for the lease of its record; then the record is written after the release."""


@dataclass(frozen=True, slots=True)
class Released:
    """The claim whose slot was freed (None: it held none); `unqueued`: it has no place in the queue either."""

    claim: Claim | None
    unqueued: bool


class ReleaseRecord:
    """The history's record of a release, written once: with the release, or after it under the same key."""

    def __init__(self, history: History, about: Callable[[Claim], Event]) -> None:
        self.written = False
        """Whether it was written with the release for certain."""
        self._history = history
        self._about = about
        self._lease: asyncio.Task[int | None] | None = None
        self._record: tuple[str, Event] | None = None

    def begin(self) -> asyncio.Task[int | None]:
        """Ask for the lease."""
        if self._lease is None:
            self._lease = asyncio.ensure_future(self._history.lease())
        return self._lease

    async def note(self, claim: Claim) -> list[Note]:
        """Give what is written with the release; nothing, where there is no lease for it soon enough."""
        done, _ = await asyncio.wait([self.begin()], timeout=LEASE_LIMIT)
        lease = next((task.result() for task in done), None)
        return [] if lease is None else [self._history.note(*self._named(claim), lease)]

    async def ensure(self, claim: Claim) -> None:
        """Write the record, unless it is there; where that fails it is lost, which is logged."""
        if self.written:
            await self._history.noted()
        else:
            await self._history.add_at(*self._named(claim))

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._lease is not None:
            self._lease.cancel()

    def _named(self, claim: Claim) -> tuple[str, Event]:
        if self._record is None:
            event = self._about(claim)
            self._record = self._history.key(event), event
        return self._record


class Release:
    """What one release keeps between its attempts. `lost`: what attempts started from whose answers were lost."""

    def __init__(self, claim: Claim, places: Sequence[str], history: History, about: Callable[[Claim], Event]) -> None:
        self.claim = claim
        self.places = places
        self.record = ReleaseRecord(history, about)
        self.lost: LostWrites[HolderState] = LostWrites()
        self.known: Known | None = None
        """What the first attempt may start from."""
        self.unqueued = False
        self._absent = False

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is under way."""
        self.record.close()

    def checks(self, places: Sequence[Reading] = ()) -> list[Check]:
        """Guard that the claim has no place in the queue, unless it was read to have one."""
        self._absent = bool(self.places) and all(reading.entry is None for reading in places)
        return [Check(key, ABSENT) for key in self.places] if self._absent else []

    def freed(self) -> None:
        """Take note that the write with these checks was done."""
        self.unqueued = self._absent
