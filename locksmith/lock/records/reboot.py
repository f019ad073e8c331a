"""The last reboot of each machine, as the store remembers it: `reboots/<id>`. Pure, and its JSON.

A machine whose disk was rolled back, or is empty, has forgotten what it rebooted for. Its group has not: so no update
that does not last makes a machine reboot again and again. It is written with the point of no return, and removed by a
machine that proves that no reboot came of it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from locksmith.errors import CorruptValueError
from locksmith.lock.records.claim import UNKNOWN_VERSIONS, Claim
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, read_moment


@dataclass(frozen=True, slots=True)
class RebootRecord:
    """What a machine rebooted for, when it passed its point of no return (aware), by which claim, in which boot."""

    version: str
    at: datetime
    nonce: str
    boot_id: str
    userspace: int = 0

    @classmethod
    def of(cls, claim: Claim, now: datetime) -> "RebootRecord":
        """Make the record of a claim that passes its point of no return now."""
        return cls(claim.version, now.replace(microsecond=0), claim.nonce, claim.boot_id, claim.userspace)

    def forbids(self, claim: Claim, now: datetime, repeat: timedelta) -> bool:
        """Whether a claim is for the same version again, within `repeat`, and no operator has allowed that since.

        While the machine is still in that boot, nothing came of the reboot.
        """
        if claim.version != self.version or self.version in UNKNOWN_VERSIONS:
            return False
        if (claim.boot_id, claim.userspace) == (self.boot_id, self.userspace):
            return False
        # If the clock was set back, a reboot lies ahead of it: that does not forbid for longer than `repeat`.
        return abs(now - self.at) < repeat and not (claim.rechecked and claim.rechecked >= self.at)

    @property
    def words(self) -> str:
        """Say why a second reboot is refused, and the way out."""
        return (
            f"it has rebooted for update {self.version} already, at {moment(self.at)}, and that is wanted again: "
            "a second reboot is refused (`locksmithctl recheck` on this machine allows it)"
        )


def encode(last: RebootRecord) -> bytes:
    """Write it as its record."""
    fields = {
        "schema": SCHEMA,
        "version": last.version,
        "at": moment(last.at),
        "nonce": last.nonce,
        "boot_id": last.boot_id,
        "userspace": last.userspace,
    }
    return dump(fields)


def decode(raw: bytes, key: str) -> RebootRecord:
    """Read it; `CorruptValueError` names its key and the way out: until then that machine takes no slot."""
    try:
        fields = jsonread.load_record(raw, limits.LAST_REBOOT)
        return RebootRecord(
            version=jsonread.read(fields, "version", str),
            at=read_moment(fields, "at"),
            nonce=jsonread.read(fields, "nonce", str),
            boot_id=jsonread.read(fields, "boot_id", str),
            userspace=jsonread.read(fields, "userspace", int, 0),
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not a last reboot: {error}; `locksmithctl recheck` on that machine has it ignored"
        ) from None
