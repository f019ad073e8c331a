"""Why a lock was not taken, kept or released."""

from locksmith.errors import CorruptValueError, LockError
from locksmith.lock.holder import HolderState
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import HALT
from locksmith.lock.records.past import LastReboot
from locksmith.util.words import quoted


class DeniedError(LockError):
    """Not done: the lock cannot be taken now. Ask again after a change past the store's `revision`."""

    def __init__(self, text: str, revision: int) -> None:
        super().__init__(text)
        self.revision = revision


class SlotsBusyError(DeniedError):
    """Not done: every slot is held, or there is none."""


class OtherClaimError(DeniedError):
    """Not done: the id has a slot for another `claim`; None: its record is missing."""

    def __init__(self, text: str, revision: int, claim: Claim | None) -> None:
        super().__init__(text, revision)
        self.claim = claim


class LostClaimError(LockError):
    """Refused: the claim has no slot any more. An operator, or `adopt`, has freed the slot."""


class OtherServerError(LockError):
    """Not done: another server acts for the same client. What it has done by now is to be read."""


class OtherMachineError(LockError):
    """Not done: a machine with this client's id is present in the group: they would answer for each other."""

    def __init__(self, client: str) -> None:
        super().__init__(
            f"a machine with the id {client} is present in the group by its locksmithd: give the FleetLock client an "
            "id of its own"
        )


class ChangedOrderError(LockError):
    """Refused: the present order (`words`; empty: none) is not the one that an operator was shown."""

    def __init__(self, kind: str, words: str) -> None:
        now = f"there is another {kind} now, {words}" if words else f"the {kind} that was shown has ended"
        super().__init__(f"{now}; nothing was changed")


class ChangedIncidentsError(LockError):
    """Refused: something else has gone wrong in the group than what an operator was shown."""

    def __init__(self) -> None:
        super().__init__("what has gone wrong is not what was shown any more; nothing was acknowledged")


class PlaceGoneError(LockError):
    """Not done: the client's place in the queue was removed while its slot was being taken."""


class FreedOrNotError(LockError):
    """May be done: after a lost answer the id has a slot without a record, again or still. Nothing more was done."""

    def __init__(self, holder: str, key: str) -> None:
        super().__init__(
            f"an answer of the store was lost, and {holder} is in {key} without a record, again or still: "
            "look with `locksmithctl status` before you unlock it once more"
        )


class RepeatedError(DeniedError):
    """Not done: this machine rebooted for the same cause a short while ago, or too often. `code` says which.

    `past` are the reboots that the store remembers.
    """

    def __init__(self, code: str, text: str, past: tuple[LastReboot, ...], revision: int) -> None:
        super().__init__(text, revision)
        self.code = code
        self.past = past


class NotAdmittedError(DeniedError):
    """Not done: an order, or another member, keeps this machine waiting. `code` says which, `key` is to be watched.

    `held`: this machine has a slot already. `left`: seconds after which the cause is over at the latest, also if its
    lease is lost; None: unknown.
    """

    def __init__(self, code: str, text: str, key: str, revision: int, *, held: bool, left: float | None = None) -> None:
        super().__init__(text, revision)
        self.code = code
        self.key = key
        self.held = held
        self.left = left


class HaltedError(NotAdmittedError):
    """Not done: the rollout is halted, by this machine's `halt.after`. `resume` is the key that an operator writes."""

    def __init__(self, text: str, group: str, revision: int, *, held: bool, incidents: int) -> None:
        super().__init__(HALT, text, keys.semaphore_key(group), revision, held=held)
        self.resume = keys.resume_key(group)
        self.incidents = incidents


class ChangedClaimError(LockError):
    """Not done: the slot is held for something else than was shown. Nothing was freed."""

    def __init__(self, holder: str, change: str) -> None:
        super().__init__(
            f"{change}; nothing was freed. See `locksmithctl nodes`; `locksmithctl unlock {quoted(holder)}` "
            "frees the slot of any claim"
        )


class MidRebootError(LockError):
    """Not done: the machine is in the middle of a reboot, or of a command that has its slot.

    `presence` is what it shows of itself, which may be a record that cannot be read (None: it is not present).
    """

    def __init__(self, holder_state: HolderState, presence: Node | CorruptValueError | None) -> None:
        super().__init__(
            f"{holder_state.holder} is in the middle of a reboot, or of a command that has its slot; nothing was freed"
        )
        self.holder_state = holder_state
        self.presence = presence


class NotManualError(LockError):
    """Not done: the slot is held for something else than a manual lock. It stays."""

    def __init__(self, holder_state: HolderState) -> None:
        super().__init__(f"{holder_state.holder} has no manual lock: {holder_state.describe()}")
        self.holder_state = holder_state
