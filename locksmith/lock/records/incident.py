"""When a rollout halts by itself: by how many reboots that went wrong (went_wrong.py). Pure, and its JSON.

A machine that came up sick, came up with the old system, or never came back says that the next one may fare no better.
No machine of the group reboots until an operator has inspected it (`locksmithctl resume`).
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from locksmith.errors import CorruptValueError
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, read_moment
from locksmith.util.text import plain
from locksmith.util.words import named

LOST, EXPIRED, ORPHANED = "lost", "expired", "orphaned"
"""What else than the states of `claim.WENT_WRONG` can be wrong with a claim.

Its machine is gone; its slot was taken away then; its machine has rebooted, and its reboot journal does not know the
claim.
"""


@dataclass(frozen=True, slots=True)
class Incident:
    """A reboot that went wrong: `how` is `unhealthy`, `failed`, `lost`, `expired` or `orphaned`, `why` a sentence."""

    claim: Claim
    how: str
    why: str = ""

    @property
    def name(self) -> str:
        """What people call the machine."""
        return plain(self.claim.hostname or self.claim.holder)

    def describe(self) -> str:
        """Say it in a few words."""
        return f"{self.name} is {self.how}{f': {self.why}' if self.why else ''}"


@dataclass(frozen=True, slots=True)
class HaltAfter:
    """How many incidents halt a group: a number (0: never), or a share of its machines in percent, at least one."""

    number: int = 1
    percent: Decimal | None = None

    def of(self, machines: int) -> int | None:
        """Give the number for a group of so many machines; None: it never halts."""
        if self.percent is not None:
            return max(1, int(self.percent * machines / 100))
        return self.number or None

    @property
    def off(self) -> bool:
        """Whether it never halts."""
        return self.percent is None and self.number == 0

    def __str__(self) -> str:
        """Write it as it is configured."""
        if self.percent is not None:
            return f"{self.percent}%"
        return str(self.number) if self.number else "off"


FIRST = HaltAfter()
"""The first incident halts: the default."""


def parse_halt_after(text: str) -> HaltAfter:
    """Read `1`, `5%` or `off`; `ValueError` says what is wrong."""
    if text == "off":
        return HaltAfter(0)
    if re.fullmatch(r"[0-9]{1,6}", text) and int(text) > 0:
        return HaltAfter(int(text))
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?%", text) and 0 < Decimal(text[:-1]) <= 100:  # noqa: PLR2004 - percent
        return HaltAfter(percent=Decimal(text[:-1]))
    raise ValueError(f"must be a number of machines from 1 on, a share like '5%', or 'off', not {text!r}")


def halts(found: Collection[Incident], limit: int | None) -> bool:
    """Whether they are enough to halt their group."""
    return limit is not None and len(found) >= limit


def sentence(found: Collection[Incident]) -> str:
    """Say that, why, and the way on."""
    what = named([one.describe() for one in found], "; ")
    return f"the group is halted: {what}; inspect it, then run `locksmithctl resume`"


def encode(noted: Iterable[Incident]) -> bytes:
    """Write what is left of slots that expired as the record `incidents`."""
    fields = [
        {
            "holder": one.claim.holder,
            "hostname": one.claim.hostname,
            "nonce": one.claim.nonce,
            "since": moment(one.claim.since),
            "reason": one.claim.reason,
            "how": one.how,
            "why": one.why,
        }
        for one in noted
    ]
    return dump({"schema": SCHEMA, "incidents": fields})


def decode(raw: bytes, key: str) -> list[Incident]:
    """Read the record; `CorruptValueError` names its key and the way out."""
    try:
        found = jsonread.read(jsonread.load_record(raw, limits.INCIDENTS), "incidents", list)
        return [_read(fields) for fields in found]
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not a list of incidents: {error}; `locksmithctl resume` acknowledges and removes it"
        ) from None


def _read(fields: object) -> Incident:
    if not isinstance(fields, dict):
        raise jsonread.BadJsonError("an incident must be an object")
    claim = Claim(
        holder=jsonread.read(fields, "holder", str),
        kind=REBOOT,
        nonce=jsonread.read(fields, "nonce", str),
        since=read_moment(fields, "since"),
        who=DAEMON,
        hostname=jsonread.read(fields, "hostname", str, ""),
        reason=jsonread.read(fields, "reason", str, ""),
    )
    return Incident(claim, jsonread.read(fields, "how", str), jsonread.read(fields, "why", str, ""))
