"""The state of an id: the semaphore with one record, or with all of them; and why a lock is not to be had."""

from dataclasses import dataclass

from locksmith.errors import CorruptValueError, OlderJournalError
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.claim import COMMAND, FAILED, HELD, WENT_WRONG, Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.protocol import ABSENT, Entry, Reading
from locksmith.util.text import plain
from locksmith.util.words import quoted


@dataclass(frozen=True, slots=True)
class LockState:
    """The semaphore, what the record of each holder says (None: it has none), and the store's revision."""

    semaphore: Semaphore
    claims: dict[str, Claim | CorruptValueError | None]
    revision: int


@dataclass(frozen=True, slots=True)
class HolderState:
    """The semaphore and one id's record, read in this order: what every guarded write starts from.

    `claim` is what the record says; None where there is none, or one that cannot be read.
    """

    holder: str
    semaphore: Semaphore
    reading: Reading
    record: Entry | None
    claim: Claim | None

    @property
    def listed(self) -> bool:
        """Whether the id is in the semaphore, for any claim."""
        return self.holder in self.semaphore.holders

    def is_of(self, claim: Claim) -> bool:
        """Whether the record is this very claim's, be the id in the semaphore or not."""
        return self.claim is not None and self.claim.nonce == claim.nonce

    def holds(self, claim: Claim) -> bool:
        """Whether this very claim holds a slot."""
        return self.listed and self.is_of(claim)

    def refuse_older(self, claim: Claim) -> None:
        """Raise `OlderJournalError` where the record of this claim knows more of its reboot than the claim itself."""
        record = self.claim
        if record is None or not self.holds(claim) or not claim.is_behind(record):
            return
        if record.state in WENT_WRONG:
            raise OlderJournalError(record.state, record.failure)
        raise OlderJournalError(FAILED, _ROLLED_BACK)

    @property
    def nonce(self) -> str | None:
        """What tells the claim from every other, where there is one."""
        return self.claim.nonce if self.claim else None

    @property
    def record_version(self) -> int:
        """The version to guard a write of the record with."""
        return self.record.version if self.record else ABSENT

    def is_rid_of(self, before: "HolderState") -> bool:
        """Whether what stood there before does so no longer, record and all: nothing does, or another claim."""
        if self.nonce != before.nonce:
            return True
        return not self.listed and self.record is None

    def is_uncertain_since(self, before: "HolderState") -> bool:
        """Whether an id without a record may have gone and come again: one such claim looks like the next."""
        return self.listed and self.nonce is None and self.reading.version != before.reading.version

    def describe(self) -> str:
        """Say why the id is in the semaphore, and if there is no record, the ways out."""
        unlock = f"`locksmithctl unlock {quoted(self.holder)}`"
        if self.claim is not None:
            # The tool asks where a machine is past its point of no return or runs a command; scripts have no terminal.
            unasked = self.claim.state == HELD and self.claim.kind != COMMAND
            force = unlock if unasked else f"`locksmithctl unlock --force {quoted(self.holder)}`"
            way_out = ""
            if self.claim.is_machines:
                gone = "does not come back" if self.claim.is_clients else "has forgotten that claim"
                way_out = f"; if its machine {gone}, {force} releases it"
            return f"{plain(self.holder)} is {self.claim.describe()}{way_out}"
        return (
            f"{plain(self.holder)} is in the semaphore without a record: a legacy node or a legacy lock holds it; "
            f"{unlock} frees it, `adopt = true` lets its own daemon do so once after a boot"
        )


_ROLLED_BACK = (
    "it has rebooted, and its disk is of before that: /var/lib/locksmith does not know the point of no return that its "
    "group knows (rolled back to a snapshot?)"
)


def read_record(holder: str, record: Entry | None) -> Claim | CorruptValueError | None:
    """Give the claim of a record, or why it cannot be read; None where there is no record."""
    try:
        return claim_record.decode(record.value, record.key, holder) if record else None
    except CorruptValueError as error:
        return error
