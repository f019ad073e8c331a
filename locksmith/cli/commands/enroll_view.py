"""Credentials as a table, as JSON, and in words."""

from datetime import UTC, datetime

from locksmith.cli.table import Row
from locksmith.fleet.phrases import group_name
from locksmith.lock.credentials import Kept
from locksmith.lock.records.credential import CERTIFICATE, MACHINE, Credential
from locksmith.util.records import optional_moment
from locksmith.util.words import clock, quoted

HEAD = ("WHAT", "NAME", "GROUPS", "SINCE", "BY", "UNTIL")


def row(kept: Kept, one: Credential) -> Row:
    """Give the row of a credential in a table."""
    groups = ", ".join(quoted(group) if group else "(default)" for group in one.groups) or "all"
    by = f"{one.who}@{one.host}" if one.host else one.who
    name = f"{one.hostname} {one.holder}".strip() if one.role == MACHINE else one.holder
    what = f"{one.role} (up to {one.most})" if one.most is not None else one.role
    since = _clock(one.since)
    return Row((what, name, groups, since, by, _state(kept, one)), "red" if one.revoked else "")


def fields(kept: Kept, one: Credential) -> dict[str, object]:
    """Give a credential as JSON has it, without its digest."""
    return {
        "role": one.role,
        "holder": one.holder,
        "hostname": one.hostname,
        "groups": list(one.groups),
        "since": optional_moment(one.since),
        "who": one.who,
        "host": one.host,
        "until": optional_moment(one.until) or None,
        "revoked": optional_moment(one.revoked) or None,
        "revoked_by": one.revoked_by or None,
        "most": one.most,
        "enrols": one.enrols,
        "counts": not (one.revoked or kept.ended),
    }


def title(kept: Kept) -> str:
    """Name a credential, for a sentence."""
    one = kept.one
    if one is None:
        return f"the credential {kept.entry.key}"
    if one.role == CERTIFICATE:
        return certificates_of(one.holder)
    if one.role != MACHINE:
        return f"the {one.role} {one.holder}"
    name = f"{one.hostname} ({one.holder})" if one.hostname else one.holder
    return f"{name} of {group_name(one.groups[0])}"


def certificates_of(machine: str) -> str:
    """Name the client certificates of a machine, for a sentence."""
    return f"any client certificate of the machine {machine}"


def until(one: Credential) -> str:
    """Say when a credential ends; empty: never."""
    return _clock(one.until) if one.until else ""


def _state(kept: Kept, one: Credential) -> str:
    if one.revoked:
        return "revoked, may enrol" if one.enrols else "revoked"
    if kept.ended:
        return "ended: etcd was copied"
    return until(one)


def _clock(when: datetime) -> str:
    return clock(when, datetime.now(UTC).astimezone())
