"""The last reboots of each machine, as the store remembers them: `reboots/<id>`. Pure, and its JSON.

A machine whose disk was rolled back, or is empty, has forgotten what it rebooted for. Its group has not: so no update
that does not last makes a machine reboot again and again. It is written with the point of no return. A machine that
proves that no reboot came of it writes what was there before.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from locksmith.errors import CorruptValueError
from locksmith.lock.records.cause import OPERATOR, Cause, cause_of, encode_causes, read_causes
from locksmith.lock.records.claim import DAEMON, Claim
from locksmith.lock.records.past import (
    LastReboot,
    Past,
    encode_reboot,
    kept,
    next_allowed,
    read_earlier,
    repeated,
    repeated_words,
    too_many_words,
)
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, read_moment

REPEATED = "repeated"
TOO_MANY = "max_per_day"
"""The two reasons why the group remembers reboots that forbid another."""


@dataclass(frozen=True, slots=True)
class RebootRecord:
    """What a machine rebooted for, when it passed its point of no return (aware), by which claim, in which boot.

    `causes` are all that wanted this reboot. `earlier` are the reboots before it, the last one at the end.
    """

    version: str
    at: datetime
    nonce: str
    boot_id: str
    userspace: int = 0
    causes: tuple[Cause, ...] = ()
    earlier: tuple[LastReboot, ...] = ()

    @classmethod
    def of(cls, claim: Claim, now: datetime, known: "RebootRecord | None" = None) -> "RebootRecord":
        """Make the record of a claim that passes its point of no return now, after what is known so far."""
        at, causes = now.replace(microsecond=0), claim.causes or (_cause(claim),)
        *earlier, _ = kept([*(known.past(claim) if known else ()), LastReboot(claim.version, at)])
        return cls(claim.version, at, claim.nonce, claim.boot_id, claim.userspace, causes, tuple(earlier))

    def past(self, claim: Claim) -> tuple[LastReboot, ...]:
        """Give the reboots that count for a claim: those since an operator has last allowed another.

        While the machine is still in the boot of this record, nothing came of the reboot.
        """
        same = (claim.boot_id, claim.userspace) == (self.boot_id, self.userspace)
        last = () if same else (LastReboot(self.version, self.at, self.nonce, self.causes),)
        since = claim.rechecked
        return tuple(one for one in (*self.earlier, *last) if since is None or one.at > since)

    @property
    def before(self) -> "RebootRecord | None":
        """Give what was known before this reboot; None: nothing."""
        if not self.earlier:
            return None
        last = self.earlier[-1]
        # Its boot is over, so it need not be known.
        return RebootRecord(last.version, last.at, last.nonce, "", 0, last.causes, self.earlier[:-1])


def forbidden(claim: Claim, past: Past, now: datetime, repeat: timedelta, most: int) -> tuple[str, str] | None:
    """Say why a claim may not take a slot after these reboots: a reason and a sentence; None: it may.

    `repeat`: how long a second reboot for the same cause is refused. `most`: the reboots of triggers in 24 hours.
    """
    cause = _cause(claim)
    if (last := repeated(cause, past, now, repeat)) is not None:
        words = repeated_words(cause, f", at {moment(last.at)}")
        return REPEATED, f"{words} (`locksmithctl recheck` on this machine allows it)"
    if cause.trigger != OPERATOR and next_allowed(past, now, most) is not None:
        return TOO_MANY, too_many_words(past, now)
    return None


def encode(last: RebootRecord) -> bytes:
    """Write it as its record."""
    fields = {
        "schema": SCHEMA,
        "version": last.version,
        "at": moment(last.at),
        "nonce": last.nonce,
        "boot_id": last.boot_id,
        "userspace": last.userspace,
        **({"causes": encode_causes(last.causes)} if last.causes else {}),
        **({"earlier": list(map(encode_reboot, last.earlier))} if last.earlier else {}),
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
            causes=read_causes(fields),
            earlier=read_earlier(fields),
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not a last reboot: {error}; `locksmithctl recheck` on that machine has it ignored"
        ) from None


def _cause(claim: Claim) -> Cause:
    """Give what a claim is for, above all."""
    if claim.causes:
        return claim.causes[0]
    return cause_of("" if claim.who == DAEMON else OPERATOR, claim.version)
