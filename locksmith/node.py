"""A machine's presence, as it stands in `nodes/<id>`: pure, and its JSON.

It expires unless it is kept, so a record that is gone says that its machine has not been seen for that long. It
decides nothing about the lock; but where another machine's stands in one's own place, there are two of one id.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from locksmith import jsonread, limits
from locksmith.errors import CorruptValueError
from locksmith.fleet import SCHEMA, moment, optional_moment, read_moment, read_optional_moment

TTL = 900.0
"""Seconds after which a machine that says nothing is no longer present."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine says of itself. Moments are aware; `version` is locksmith's own.

    `state` is a word of `states.ALL`, `code` the word of a wait's reason and `reason` its sentence, `until` its end;
    `since` is when the state began. `wish` is the trigger that wants a reboot (empty: none does), `wish_version` what
    for, `wish_since` since when; `wish_reasons` are those of all triggers. `window_opens` is the start of the window
    that is open or comes next, `window_closes` its end where it is open; `windows` and `blackouts` are what it goes by.
    `twin` names another machine that was seen with the same id, `twin_boot` its boot.
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
    wish: str = ""
    wish_version: str = ""
    wish_since: datetime | None = None
    wish_reasons: tuple[str, ...] = ()
    window_opens: datetime | None = None
    window_closes: datetime | None = None
    windows: tuple[str, ...] = ()
    blackouts: tuple[str, ...] = ()
    twin: str = ""
    twin_boot: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """What people call the machine."""
        return self.hostname or self.machine_id


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
        "wish": node.wish,
        "wish_version": node.wish_version,
        "wish_since": optional_moment(node.wish_since),
        "wish_reasons": list(node.wish_reasons),
        "window_opens": optional_moment(node.window_opens),
        "window_closes": optional_moment(node.window_closes),
        "windows": list(node.windows),
        "blackouts": list(node.blackouts),
        "twin": node.twin,
        "twin_boot": node.twin_boot,
    }
    return json.dumps({**node.extra, **known}, separators=(",", ":")).encode()


def decode(raw: bytes, key: str, machine_id: str) -> Node:
    """Read the presence of a machine; `CorruptValueError` names its key."""
    try:
        fields = jsonread.load_record(raw, limits.NODE)
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
            wish=jsonread.read(fields, "wish", str, ""),
            wish_version=jsonread.read(fields, "wish_version", str, ""),
            wish_since=read_optional_moment(fields, "wish_since"),
            wish_reasons=tuple(map(str, jsonread.read(fields, "wish_reasons", list, []))),
            window_opens=read_optional_moment(fields, "window_opens"),
            window_closes=read_optional_moment(fields, "window_closes"),
            windows=tuple(map(str, jsonread.read(fields, "windows", list, []))),
            blackouts=tuple(map(str, jsonread.read(fields, "blackouts", list, []))),
            twin=jsonread.read(fields, "twin", str, ""),
            twin_boot=jsonread.read(fields, "twin_boot", str, ""),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(key, f"not a machine's presence: {error}; its locksmithd writes it again") from None


_KNOWN = {
    *("schema", "hostname", "boot_id", "group", "strategy", "state", "since", "version", "code", "reason", "until"),
    *("wish", "wish_version", "wish_since", "wish_reasons", "window_opens", "window_closes", "windows", "blackouts"),
    *("twin", "twin_boot"),
}
