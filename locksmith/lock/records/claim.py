"""The records next to the semaphore: pure values and their JSON.

A record tells every machine what an id in the semaphore alone cannot: which claim it is, who made it, when and why. It
decides nothing about safety; a record whose id is not in the semaphore counts for nothing. Records carry a schema
number; fields that this version does not know are kept when it writes, because the rollout itself upgrades locksmith
machine by machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.lock.records import older_names
from locksmith.lock.records.cause import Cause, encode_causes, read_causes
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, read_moment, read_optional_moment
from locksmith.util.text import plain
from locksmith.util.words import quoted

REBOOT = "reboot"
"""The claim of a machine that reboots; the machine whose reboot journal has its nonce releases it."""
COMMAND = "command"
"""The claim of a machine while an operator's command runs on it; it is released as a machine's reboot is."""
FLEETLOCK = "fleetlock"
"""The claim of a client of `locksmith-server`, which speaks FleetLock; its next steady-state has the server release it.

Versions before this kind take it for one that they do not know: it has a slot, and nothing can be wrong with it.
"""
JOURNALED = {REBOOT, COMMAND}
"""Claims that the machine's own reboot journal has: an id has at most one."""
REBOOTS = {REBOOT, FLEETLOCK}
"""Claims for a reboot that comes of itself, as against one for a command."""
MACHINES = JOURNALED | REBOOTS
"""Claims of a machine that goes down, or works for an operator: every order holds it back."""
MANUAL = "manual"
"""The claim of an operator; only `unlock` releases it."""

DAEMON = "locksmithd"
"""The program that makes a machine's own claims; `locksmithctl` makes an operator's."""
SERVER = "locksmith-server"
"""The program that makes the claims of FleetLock's clients."""

UNKNOWN_VERSIONS = {"", "0.0.0"}
"""Versions that are none: they equal nothing, not even each other (update_engine after a restart; an operator)."""

HELD = "held"
"""The slot is taken; the reboot can still be aborted."""
COMMITTED = "committed"
"""Past the point of no return: the machine is rebooting, or about to. No change of the lock stops that."""
UNHEALTHY = "unhealthy"
"""It has rebooted and did not prove itself healthy in time."""
FAILED = "failed"
"""It has rebooted, and the update is not there: rolled back, or wanted as before."""
HOOKS_BEGUN, HOOKS_DONE = "begun", "done"
"""How far the hooks of a FleetLock client are: `fleetlock-pre-reboot.d` has begun, or has ended well."""
HOOKS_UNDONE = "undone"
"""`fleetlock-steady-state.d` has begun for a client past its point of no return: without them, it is not prepared."""
WENT_WRONG = {UNHEALTHY, FAILED}
"""A reboot that went wrong, as the machine itself says; `failure` says why."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Why an id is in the semaphore. `nonce` tells this claim from every other.

    `since` is when it was made, `taken` when it got its slot (None: not yet, or by a version that did not say); both
    are aware. `boot_id` and `userspace` are of the boot it was made in, `system` what os-release said then: what proves
    the reboot afterwards. `failure` says what went wrong with its reboot, `acknowledged` which operator has taken note
    of that, when and why (empty: no operator has). `commits` counts how often its point of no return was written: a
    reboot journal that counts fewer than the record is of an older disk. `rechecked` is when an operator last allowed a
    second reboot for the same version (`locksmithctl recheck`). `causes` are all that wanted the reboot, first the
    trigger that caused it (empty: an operator's claim, or of an earlier version). `hooks` says how far the hooks of a
    FleetLock client are (empty: none has begun).
    """

    holder: str
    kind: str
    nonce: str
    since: datetime
    who: str = ""
    hostname: str = ""
    boot_id: str = ""
    version: str = ""
    state: str = HELD
    reason: str = ""
    taken: datetime | None = None
    userspace: int = 0
    system: str = ""
    failure: str = ""
    acknowledged: str = ""
    commits: int = 0
    rechecked: datetime | None = None
    causes: tuple[Cause, ...] = ()
    hooks: str = ""
    schema: int = SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def taken_at(self, now: datetime) -> "Claim":
        """Give the same claim with a slot that it takes now."""
        return replace(self, taken=now.replace(microsecond=0))

    def committed(self) -> "Claim":
        """Give the same claim past the point of no return."""
        return replace(self, state=COMMITTED, commits=self.commits + 1)

    def with_hooks(self, hooks: str) -> "Claim":
        """Give the same claim with how far its hooks are; past the point of no return, undone, and then done again."""
        again = hooks == HOOKS_UNDONE or (hooks == HOOKS_DONE and self.hooks == HOOKS_UNDONE)
        return replace(self, hooks=hooks) if self.state != COMMITTED or again else self

    def gone_wrong(self, state: str, failure: str) -> "Claim":
        """Give the same claim with what went wrong."""
        return replace(self, state=state, failure=limits.text(failure))

    def reopened(self) -> "Claim":
        """Give the same claim before the point of no return."""
        return replace(self, state=HELD)

    def is_behind(self, record: "Claim") -> bool:
        """Whether this claim, as a reboot journal has it, knows less of its reboot than its record in the store."""
        return self.state not in WENT_WRONG and (record.commits > self.commits or record.state in WENT_WRONG)

    @property
    def held_since(self) -> datetime:
        """When it got its slot, as well as is known."""
        return self.taken or self.since

    @property
    def is_machines(self) -> bool:
        """Whether it is for a machine that goes down, or works for an operator, as against an operator's lock."""
        return self.kind in MACHINES

    @property
    def is_journaled(self) -> bool:
        """Whether its machine has it in a reboot journal."""
        return self.kind in JOURNALED

    @property
    def is_clients(self) -> bool:
        """Whether `locksmith-server` made it for a client."""
        return self.kind == FLEETLOCK

    @property
    def shows_presence(self) -> bool:
        """Whether its machine shows presence while it has its slot: if it does not, it is lost.

        A daemon shows itself. The server shows a client, until the client has had time for its reboot.
        """
        return self.is_clients or (self.is_journaled and self.who == DAEMON)

    def describe(self) -> str:
        """Say in a few words whose claim this is, for a person: in its texts it names no command."""
        who, machine = self.who or self.hostname or "an operator", self.hostname or self.holder
        by = {
            MANUAL: f"manually by {who}",
            REBOOT: f"by {machine} for its reboot",
            COMMAND: f"by {machine} for a command of {who}",
            FLEETLOCK: f"by the FleetLock client {machine} for its reboot",
        }
        words = f"held {by.get(self.kind, f'by a {self.kind} claim of {who}')} since {moment(self.held_since)}"
        return plain(f"{words}: {self.reason}" if self.reason else words)


def encode(claim: Claim) -> bytes:
    """Write a claim as its record, with what a later version had added to it."""
    known = {
        "schema": claim.schema,
        "kind": claim.kind,
        "nonce": claim.nonce,
        "since": moment(claim.since),
        "who": claim.who,
        "hostname": claim.hostname,
        "boot_id": claim.boot_id,
        "version": claim.version,
        "state": claim.state,
        "reason": claim.reason,
        **({"taken": moment(claim.taken)} if claim.taken else {}),
        **({"userspace": claim.userspace} if claim.userspace else {}),
        **({"system": claim.system} if claim.system else {}),
        **({"failure": claim.failure} if claim.failure else {}),
        **({"acknowledged": claim.acknowledged} if claim.acknowledged else {}),
        **({"commits": claim.commits} if claim.commits or claim.state != HELD else {}),
        **({"rechecked": moment(claim.rechecked)} if claim.rechecked else {}),
        **({"causes": encode_causes(claim.causes)} if claim.causes else {}),
        **({"hooks": claim.hooks} if claim.hooks else {}),
    }
    return dump(known, claim.extra)


def decode(raw: bytes, key: str, holder: str) -> Claim:
    """Read the record of `holder`; `CorruptValueError` names its key."""
    try:
        fields = older_names.of_claim(jsonread.load_record(raw, limits.CLAIM))
        state = jsonread.read(fields, "state", str, HELD)
        return Claim(
            holder=holder,
            schema=jsonread.read(fields, "schema", int),
            kind=jsonread.read(fields, "kind", str),
            nonce=jsonread.read(fields, "nonce", str),
            since=read_moment(fields, "since"),
            who=jsonread.read(fields, "who", str, ""),
            hostname=jsonread.read(fields, "hostname", str, ""),
            boot_id=jsonread.read(fields, "boot_id", str, ""),
            version=jsonread.read(fields, "version", str, ""),
            state=state,
            reason=jsonread.read(fields, "reason", str, ""),
            taken=read_optional_moment(fields, "taken"),
            userspace=jsonread.read(fields, "userspace", int, 0),
            system=jsonread.read(fields, "system", str, ""),
            failure=jsonread.read(fields, "failure", str, ""),
            acknowledged=jsonread.read(fields, "acknowledged", str, ""),
            # A record of an earlier version does not count its commits.
            commits=jsonread.read(fields, "commits", int, 0 if state == HELD else 1),
            rechecked=read_optional_moment(fields, "rechecked"),
            causes=read_causes(fields),
            hooks=jsonread.read(fields, "hooks", str, ""),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key,
            f"not a holder's record: {error}; nothing was changed. `locksmithctl unlock {quoted(holder)}` removes it",
        ) from None


_KNOWN = {
    *("schema", "kind", "nonce", "since", "who", "hostname", "boot_id", "version", "state", "reason", "taken"),
    *("userspace", "system", "failure", "acknowledged", "commits", "rechecked", "causes", "hooks"),
}
