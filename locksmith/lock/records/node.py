"""A machine's presence, as it is in `nodes/<id>`: pure, and its JSON.

It expires unless it is kept, so a record that is gone says that its machine has not been seen for that long. It
decides nothing about the lock; but if another machine's is in its own place, two machines have one id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.lock.records import older_names
from locksmith.lock.records.claim import COMMITTED, Claim
from locksmith.lock.records.states import REBOOTING, STUCK
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, optional_moment, read_moment, read_optional_moment
from locksmith.util.text import plain

TTL = 900.0
"""Seconds after which a machine that says nothing is no longer present."""
LONGEST = 366 * 86400
"""Seconds for which a record may say that it counts: no sum of times with it is beyond what a calendar has."""
CLOCKS_DIFFER = timedelta(minutes=1)
"""By how much the clocks of two machines may differ where a person is told that one of them is gone."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine says of itself. Moments are aware; `version` is locksmith's own.

    `state` is a word of `states.ALL`, `code` the word of a wait's reason and `reason` its sentence, `until` its end;
    `since` is when the state began. `need` is the trigger that says that a reboot is needed (empty: none does),
    `need_version` what for, `need_since` since when; `need_reasons` are those of all triggers. `window_opens` is the
    start of the window that is open or comes next, `window_closes` its end where it is open, `window_moment` when the
    machine asks in it, where its splay puts that later; `windows` and `blackouts` are what it goes by.
    `clone` names another machine that was seen with the same id, `clone_boot` its run. `userspace` is when its
    userspace started, in microseconds of the kernel's clock, `instance` the id of its /run, `hardware` a digest of its
    firmware's id (empty: it has none). `claim` is the nonce of the claim that its reboot journal names (empty: none;
    None: it does not say).
    `dry_run` says that its daemon reboots nothing.
    `written` and `lasts` are of a machine that holds a slot: it writes this record every few minutes. If the record has
    stood unchanged for `lasts` seconds, the machine is gone, even if the record's lease goes on (0: only the lease
    tells). From the point of no return to the next boot this is `TTL`, and its `reboot.limit`.
    """

    machine_id: str
    hostname: str
    boot_id: str
    group: str
    strategy: str
    state: str
    since: datetime
    version: str = ""
    code: str = ""
    reason: str = ""
    until: datetime | None = None
    need: str = ""
    need_version: str = ""
    need_since: datetime | None = None
    need_reasons: tuple[str, ...] = ()
    window_opens: datetime | None = None
    window_closes: datetime | None = None
    window_moment: datetime | None = None
    windows: tuple[str, ...] = ()
    blackouts: tuple[str, ...] = ()
    clone: str = ""
    clone_boot: str = ""
    userspace: int = 0
    instance: str = ""
    hardware: str = ""
    claim: str | None = None
    written: datetime | None = None
    lasts: int = 0
    dry_run: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """What people call the machine."""
        return plain(self.hostname or self.machine_id)

    @property
    def run(self) -> str:
        """What tells this run of the machine from every other, also from that of another container of its host."""
        return f"{self.boot_id}/{self.instance}" if self.instance else self.boot_id

    def has_lost(self, claim: Claim) -> bool:
        """Whether the machine has booted since a claim of its own was past its point of no return, and forgot that."""
        booted = self.boot_id != claim.boot_id
        if self.userspace and claim.userspace:
            booted = booted or self.userspace != claim.userspace
        return claim.state == COMMITTED and booted and self.claim is not None and self.claim != claim.nonce

    @property
    def lost_at(self) -> datetime | None:
        """When a machine that holds a slot counts as gone, unless it writes again; None: it holds none."""
        return self.written + timedelta(seconds=self.lasts) if self.written and self.lasts else None

    def has_expired(self, now: datetime) -> bool:
        """Tell whether the record has outlived its own word, by the clocks of two machines: for people."""
        return self.lost_at is not None and now > self.lost_at + CLOCKS_DIFFER

    def is_overdue(self, now: datetime) -> bool:
        """Tell whether its reboot takes longer than its `reboot.limit`, by the clocks of two machines: for people.

        A machine past its point of no return says that it lasts for so much longer. A daemon that is up writes again.
        """
        limit = timedelta(seconds=self.lasts - TTL)
        if self.written is None or limit <= timedelta(0):
            return False
        return self.state == STUCK or now - (self.since if self.state == REBOOTING else self.written) > limit


def encode(node: Node) -> bytes:
    """Write a machine's presence as its record."""
    known = {
        "schema": SCHEMA,
        "hostname": node.hostname,
        "boot_id": node.boot_id,
        "group": node.group,
        "strategy": node.strategy,
        "state": node.state,
        "since": moment(node.since),
        "version": node.version,
        "code": node.code,
        "reason": node.reason,
        "until": optional_moment(node.until),
        "need": node.need,
        "need_version": node.need_version,
        "need_since": optional_moment(node.need_since),
        "need_reasons": list(node.need_reasons),
        "window_opens": optional_moment(node.window_opens),
        "window_closes": optional_moment(node.window_closes),
        **({"window_moment": moment(node.window_moment)} if node.window_moment else {}),
        "windows": list(node.windows),
        "blackouts": list(node.blackouts),
        "clone": node.clone,
        "clone_boot": node.clone_boot,
        "userspace": node.userspace,
        "instance": node.instance,
        "hardware": node.hardware,
        **({"dry_run": True} if node.dry_run else {}),
        **({} if node.claim is None else {"claim": node.claim}),
        **({"written": moment(node.written), "lasts": node.lasts} if node.written else {}),
    }
    return dump(older_names.with_clone_for_older(known), node.extra)


def decode(raw: bytes, key: str, machine_id: str) -> Node:
    """Read the presence of a machine; `CorruptValueError` names its key."""
    try:
        fields = older_names.of_node(jsonread.load_record(raw, limits.NODE))
        return Node(
            machine_id=machine_id,
            hostname=jsonread.read(fields, "hostname", str),
            boot_id=jsonread.read(fields, "boot_id", str),
            group=jsonread.read(fields, "group", str),
            strategy=jsonread.read(fields, "strategy", str),
            state=jsonread.read(fields, "state", str),
            since=read_moment(fields, "since"),
            version=jsonread.read(fields, "version", str, ""),
            code=jsonread.read(fields, "code", str, ""),
            reason=jsonread.read(fields, "reason", str, ""),
            until=read_optional_moment(fields, "until"),
            need=jsonread.read(fields, "need", str, ""),
            need_version=jsonread.read(fields, "need_version", str, ""),
            need_since=read_optional_moment(fields, "need_since"),
            need_reasons=tuple(map(str, jsonread.read(fields, "need_reasons", list, []))),
            window_opens=read_optional_moment(fields, "window_opens"),
            window_closes=read_optional_moment(fields, "window_closes"),
            window_moment=read_optional_moment(fields, "window_moment"),
            windows=tuple(map(str, jsonread.read(fields, "windows", list, []))),
            blackouts=tuple(map(str, jsonread.read(fields, "blackouts", list, []))),
            clone=jsonread.read(fields, "clone", str, ""),
            clone_boot=jsonread.read(fields, "clone_boot", str, ""),
            userspace=jsonread.read(fields, "userspace", int, 0),
            instance=jsonread.read(fields, "instance", str, ""),
            hardware=jsonread.read(fields, "hardware", str, ""),
            claim=jsonread.read(fields, "claim", str) if "claim" in fields else None,
            written=read_optional_moment(fields, "written"),
            lasts=_read_lasts(fields),
            dry_run=jsonread.read(fields, "dry_run", bool, False),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(key, f"not a machine's presence: {error}; its locksmithd writes it again") from None


def _read_lasts(fields: dict[str, Any]) -> int:
    found = jsonread.read(fields, "lasts", int, 0)
    if not 0 <= found <= LONGEST:
        raise jsonread.BadJsonError(f"lasts must be from 0 to {LONGEST} seconds")
    return found


def shows_machine(raw: bytes, key: str, machine_id: str, now: datetime, *, leased: bool) -> bool:
    """Tell a person's tool, which looks once, whether a record shows that its machine is there."""
    try:
        found = decode(raw, key, machine_id)
    except CorruptValueError:
        return leased
    return (leased or found.written is not None) and not found.has_expired(now)


def lasts(raw: bytes, key: str, machine_id: str, *, leased: bool) -> float | None:
    """Say for how many seconds a record counts from its writing on; None: for as long as its lease.

    One without a lease (a copied keyspace) counts no longer than a lease would have let it.
    """
    try:
        own = decode(raw, key, machine_id).lasts
    except CorruptValueError:
        own = 0
    return float(own) if own else None if leased else TTL


_KNOWN = {
    "dry_run",
    *("schema", "hostname", "boot_id", "group", "strategy", "state", "since", "version", "code", "reason", "until"),
    *("need", "need_version", "need_since", "need_reasons", "window_opens", "window_closes", "windows", "blackouts"),
    *("clone", "clone_boot", "userspace", "instance", "hardware", "claim", "written", "lasts"),
    "window_moment",
}
