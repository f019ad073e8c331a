"""Why a lock was not taken, kept or released."""

from locksmith.errors import LockError
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.order import HALT
from locksmith.lock.records.reboot import RebootRecord
from locksmith.util.words import quoted


class DeniedError(LockError):
    """The lock cannot be taken now; it is worth asking again after a change past the store's `revision`."""

    def __init__(self, text: str, revision: int) -> None:
        super().__init__(text)
        self.revision = revision


class SlotsBusyError(DeniedError):
    """Every slot is held, or there is none."""


class OtherClaimError(DeniedError):
    """The id stands in the semaphore for another claim, or for none that is known (`claim` is None then)."""

    def __init__(self, text: str, revision: int, claim: Claim | None) -> None:
        super().__init__(text, revision)
        self.claim = claim


class LostClaimError(LockError):
    """The claim is no longer in the semaphore: an operator unlocked it."""


class FreedOrNotError(LockError):
    """An id without a record stands in the semaphore after a lost answer: again, or still. Nothing more was done."""

    def __init__(self, holder: str, key: str) -> None:
        super().__init__(
            f"an answer of the store was lost, and {holder} stands in {key} without a record, again or still: "
            "look with `locksmithctl status` before you unlock it once more"
        )


class RepeatedError(DeniedError):
    """This machine has rebooted for the same version a short while ago, as the store remembers (`last`)."""

    def __init__(self, last: RebootRecord, revision: int) -> None:
        super().__init__(last.words, revision)
        self.last = last


class NotAdmittedError(DeniedError):
    """Something of the group's holds this machine back: `code` says what, `key` is the one to watch.

    `held`: it has a slot already. `left`: after how many seconds it is over at the latest, even if its lease
    lasts longer; None: that is not known.
    """

    def __init__(self, code: str, text: str, key: str, revision: int, *, held: bool, left: float | None = None) -> None:
        super().__init__(text, revision)
        self.code = code
        self.key = key
        self.held = held
        self.left = left


class HaltedError(NotAdmittedError):
    """So many incidents halt the group, by this machine's `halt.after`. `resume` is the key that an operator writes."""

    def __init__(self, text: str, group: str, revision: int, *, held: bool, incidents: int) -> None:
        super().__init__(HALT, text, keys.semaphore_key(group), revision, held=held)
        self.resume = keys.resume_key(group)
        self.incidents = incidents


class ChangedClaimError(LockError):
    """The slot is held otherwise than it was shown; nothing was freed."""

    def __init__(self, holder: str, change: str) -> None:
        super().__init__(
            f"{change}; nothing was freed. Look with `locksmithctl nodes`; `locksmithctl unlock {quoted(holder)}` "
            "frees the slot whatever it is held for"
        )
