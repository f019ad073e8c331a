"""A slot as an operator was shown it, before it is freed by name: what must still be so when that is done. Pure."""

from dataclasses import dataclass

from locksmith.lock.holder import HolderState
from locksmith.lock.records.claim import COMMITTED


@dataclass(frozen=True, slots=True)
class ShownHolder:
    """One holder when the question was asked; `absent`: its machine was not present, and that was the reason."""

    holder_state: HolderState
    absent: bool = False

    def change(self, now: HolderState, *, present: bool) -> str:
        """Say what is not as it was shown; empty: it is the same.

        A record has a version of its own, which any write of it moves. A holder without a record has nothing but its
        id: when it leaves and comes again, the semaphore reads as before. Only the semaphore's version tells the one
        from the other, so there any write of the semaphore counts as a change.
        """
        then, holder = self.holder_state, now.holder
        if now.nonce != then.nonce:
            return f"{now.describe()}: that is another claim than the one that was shown"
        if now.record_version != then.record_version:
            if now.claim and now.claim.state == COMMITTED and then.claim and then.claim.state != COMMITTED:
                return f"{holder} is past its point of no return by now: it reboots, or is about to"
            return f"the record of {holder} was written since it was shown"
        if now.record is None and now.reading.version != then.reading.version:
            return (
                f"the semaphore was written since {holder} was shown, and has no record of it: whether that is still "
                "the same lock cannot be told"
            )
        if self.absent and present:
            return f"the machine {holder} is present again"
        return ""
