"""The claim of this machine: read with what the take and the commit check, remembered as this program wrote it last."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from locksmith.errors import CorruptValueError
from locksmith.lock.admission import Admission
from locksmith.lock.guarded import Guarded
from locksmith.lock.holder import HolderState
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.protocol import Change, Entry, Put, Reading


@dataclass(frozen=True, slots=True)
class Known:
    """A claim as this program wrote it last, and what the group remembers of its machine since.

    A release starts from that without a reading first, guarded by all of it: where it is not so any more, it reads.
    """

    holder_state: HolderState
    last: Reading


class OwnClaim:
    """What one program knows of its claim and of the semaphore. Errors are the store's, `CorruptValueError`."""

    def __init__(self, guarded: Guarded, admission: Admission) -> None:
        self.slots = 1
        """How many slots the group had when the semaphore was last seen."""
        self._guarded = guarded
        self._admission = admission
        self._known: Known | None = None

    def keys(self, holder: str) -> list[str]:
        """Name the keys of the semaphore, of the record of an id, and of the last reboot of its machine."""
        return [self._guarded.key, self._guarded.record_key(holder), keys.reboot_key(self._guarded.group, holder)]

    async def read(self, claim: Claim, keys_: Sequence[str]) -> dict[str, Reading]:
        """Read keys, and with them what is asked of the holders that were seen last."""
        all_keys = list(dict.fromkeys([*keys_, *self._admission.keys_of(claim, self._guarded.holders)]))
        return dict(zip(all_keys, await self._guarded.store.read(all_keys), strict=True))

    async def holder_state(self, holder: str) -> HolderState:
        """Read the semaphore and the record of one id."""
        reading, record = await self._guarded.store.read([self._guarded.key, self._guarded.record_key(holder)])
        return self.holder_state_in(holder, reading, record)

    def holder_state_in(self, holder: str, reading: Reading, record: Reading) -> HolderState:
        """Give the same, from readings of both in this order."""
        now = self._guarded.semaphore_in(reading)
        self.slots = now.max
        return self._guarded.holder_state_in(holder, reading, record)

    def frees(self, slots: int | None, change: Change) -> bool:
        """Note who holds a slot by now, and tell whether so many are free; None: the number does not matter."""
        try:
            now = self._guarded.semaphore_in(change.reading) if change.reading else Semaphore()
        except CorruptValueError:
            return True
        return slots is None or now.available >= slots

    def remember(self, before: HolderState, entry: Entry, record: Put, last: Reading) -> None:
        """Note the claim after a write of the semaphore and its record (on v2: two versions, which tell nothing)."""
        if self._guarded.store.transactional:
            now = self._guarded.semaphore_in(Reading(entry, entry.version))
            written = replace(entry, key=record.key, value=record.value)
            claim = claim_record.decode(record.value, record.key, before.holder)
            self._known = Known(HolderState(before.holder, now, Reading(entry, entry.version), written, claim), last)

    def recall(self, known: Known) -> None:
        """Note the claim as it was just read, with what the group remembers of its machine, at one revision."""
        self._known = known

    def take_known(self) -> Known | None:
        """Give what was noted last, once."""
        known, self._known = self._known, None
        return known
