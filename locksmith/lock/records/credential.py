"""What the store keeps of a credential of locksmith-server: whose it is, and the digest of its token. Pure, and JSON.

Times in a record are for showing. When a credential ends, its lease decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from locksmith.errors import CorruptValueError
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump, moment, optional_moment, read_moment, read_optional_moment

MACHINE, VIEWER, OPERATOR, ENROLMENT, SESSION = "machine", "viewer", "operator", "enrolment", "session"
CERTIFICATE = "certificate"
"""The client certificates of a machine. They are not in the store: a record is there if they were revoked.

The machine has lost all that it had. So it may not enrol either, until an operator lets it (`enrols`).
"""
PEOPLE = frozenset({VIEWER, OPERATOR})
ROLES = PEOPLE | {MACHINE, ENROLMENT, SESSION, CERTIFICATE}


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential. `holder` is the machine's id, or the person's name; empty: an enrolment secret.

    `groups` are those for which it counts (none: all). `until` is when it ends by its lease (None: when it is revoked).
    `most` is how many machines an enrolment secret enrols (None: any number). `source` is the public part of what it
    was got with: a machine's enrolment secret, a session's token. A session has that token's digest in `proof`. With
    `enrols` the machine of revoked certificates may enrol; they count no more.
    """

    role: str
    holder: str
    digest: str
    since: datetime
    groups: tuple[str, ...] = ()
    who: str = ""
    host: str = ""
    until: datetime | None = None
    revoked: datetime | None = None
    revoked_by: str = ""
    hostname: str = ""
    most: int | None = None
    source: str = ""
    proof: str = ""
    enrols: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def encode(one: Credential) -> bytes:
    """Write a credential as its record."""
    known = {
        "schema": SCHEMA,
        "role": one.role,
        "holder": one.holder,
        "digest": one.digest,
        "groups": list(one.groups),
        "since": moment(one.since),
        "who": one.who,
        "host": one.host,
        "until": optional_moment(one.until),
        **({"revoked": moment(one.revoked), "revoked_by": one.revoked_by} if one.revoked else {}),
        **({"hostname": one.hostname} if one.hostname else {}),
        **({"most": one.most} if one.most is not None else {}),
        **({"source": one.source} if one.source else {}),
        **({"proof": one.proof} if one.proof else {}),
        **({"enrols": True} if one.enrols else {}),
    }
    return dump(known, one.extra)


def decode(raw: bytes, key: str) -> Credential:
    """Read a credential; `CorruptValueError` names its key. Until it is read, it lets no caller in."""
    try:
        fields = jsonread.load_record(raw, limits.CREDENTIAL)
        return Credential(
            role=jsonread.convert("role", jsonread.read(fields, "role", str), _role),
            holder=jsonread.read(fields, "holder", str),
            digest=jsonread.read(fields, "digest", str),
            since=read_moment(fields, "since"),
            groups=_groups(fields),
            who=jsonread.read(fields, "who", str, ""),
            host=jsonread.read(fields, "host", str, ""),
            until=read_optional_moment(fields, "until"),
            revoked=read_optional_moment(fields, "revoked"),
            revoked_by=jsonread.read(fields, "revoked_by", str, ""),
            hostname=jsonread.read(fields, "hostname", str, ""),
            most=jsonread.read(fields, "most", int) if "most" in fields else None,
            source=jsonread.read(fields, "source", str, ""),
            proof=jsonread.read(fields, "proof", str, ""),
            enrols=jsonread.read(fields, "enrols", bool, False),
            extra={name: value for name, value in fields.items() if name not in _KNOWN},
        )
    except jsonread.BadJsonError as error:
        raise CorruptValueError(key, f"not a credential: {error}; remove the key, and enrol again") from None


def _role(text: str) -> str:
    if text not in ROLES:
        raise ValueError(f"there is no role {text!r:.40}")
    return text


def _groups(fields: dict[str, Any]) -> tuple[str, ...]:
    """Read the groups. For a machine and an enrolment secret there is one: none would mean all."""
    found = tuple(jsonread.read(fields, "groups", list))
    alone = fields.get("role") in {MACHINE, ENROLMENT}
    if not all(isinstance(group, str) for group in found) or (alone and len(found) != 1):
        raise jsonread.BadJsonError(f"the field 'groups' must be a list of {'one name' if alone else 'names'}")
    return found


_KNOWN = {
    *("schema", "role", "holder", "digest", "groups", "since", "who", "host", "until", "revoked", "revoked_by"),
    *("hostname", "most", "source", "proof", "enrols"),
}
