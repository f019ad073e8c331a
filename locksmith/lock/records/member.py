"""What a group remembers of a machine that was present: `members/<id>`, and `absent/<id>` once it is gone. Pure.

The machine writes it when it comes, and when it begins or ends to need a reboot. So a machine that is cut off does not
vanish without a trace. Nothing of the lock depends on it: it is for people.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.lock.records.node import Node
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, optional_moment, read_moment, read_optional_moment
from locksmith.util.text import plain

KEPT = timedelta(days=30)
"""For how long a machine is remembered that vanished, or that left while it needed a reboot."""
KEPT_STOPPED = timedelta(days=1)
"""The same for a machine whose daemon was stopped, and that needed none: a group may shrink every day."""
MOST = 2000
"""Machines that are gone and remembered, about: the oldest go first."""
STOPPED = "stopped"
"""Why a machine is absent: its daemon was stopped, and held no slot."""
NOT_SEEN = "not seen"
"""Why a machine is absent: its presence has expired."""


@dataclass(frozen=True, slots=True)
class Member:
    """A machine, as its group remembers it. `need` is what it needs a reboot for in a few words (empty: nothing).

    `seen` is when it wrote this. `gone` is since when it is absent, and `how`, as far as that is known (None, empty).
    """

    machine_id: str
    hostname: str
    seen: datetime
    need: str = ""
    need_since: datetime | None = None
    gone: datetime | None = None
    how: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, node: Node, now: datetime) -> "Member":
        """Make the record of a machine that shows itself now."""
        need = "; ".join(node.need_reasons) or f"{node.need} {node.need_version}".strip()
        return cls(node.machine_id, node.hostname, now.replace(microsecond=0), limits.text(need), node.need_since)

    @property
    def name(self) -> str:
        """What people call the machine."""
        return plain(self.hostname or self.machine_id)

    def is_old(self, now: datetime) -> bool:
        """Tell whether it has been gone for so long that it is no longer remembered."""
        kept = KEPT_STOPPED if self.how == STOPPED and not self.need else KEPT
        return now - (self.gone or self.seen) > kept

    def left(self, how: str, since: datetime) -> "Member":
        """Give the same machine, absent since then."""
        return replace(self, gone=since.replace(microsecond=0), how=how)


def encode(member: Member) -> bytes:
    """Write it as its record."""
    fields = {
        **member.extra,
        "schema": SCHEMA,
        "hostname": member.hostname,
        "seen": moment(member.seen),
        "need": member.need,
        "need_since": optional_moment(member.need_since),
        **({"gone": moment(member.gone), "how": member.how} if member.gone else {}),
    }
    return dump(fields)


def decode(raw: bytes, key: str, machine_id: str) -> Member:
    """Read it; `CorruptValueError` names its key and the way out."""
    try:
        fields = jsonread.load_record(raw, limits.MEMBER)
        return Member(
            machine_id=machine_id,
            hostname=jsonread.read(fields, "hostname", str),
            seen=read_moment(fields, "seen"),
            need=jsonread.read(fields, "need", str, ""),
            need_since=read_optional_moment(fields, "need_since"),
            gone=read_optional_moment(fields, "gone"),
            how=jsonread.read(fields, "how", str, ""),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key, f"not a remembered machine: {error}; `locksmithctl forget {machine_id}` removes it"
        ) from None


_KNOWN = {"schema", "hostname", "seen", "need", "need_since", "gone", "how"}
