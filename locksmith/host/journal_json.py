"""The reboot journal as JSON. Pure."""

import json
from typing import Any

from locksmith.agent.facts import Boot
from locksmith.agent.journal import FailedAttempt, Hooks, Journal, JournalEntry, Phase, PreRebootState
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.cause import encode_causes, read_causes
from locksmith.lock.records.past import encode_reboot, parse_reboot, read_earlier
from locksmith.util import jsonread, records


def encode(journal: Journal) -> dict[str, Any]:
    """Give the fields of a reboot journal."""
    entry, failure = journal.entry, journal.failure
    return {
        "entry": entry
        and {
            "holder": entry.claim.holder,
            "claim": json.loads(claim_record.encode(entry.claim)),
            "strategy": entry.strategy,
            "group": entry.group,
            "api": entry.api,
            "endpoints": list(entry.endpoints),
            **({"cluster": entry.cluster} if entry.cluster else {}),
            **({"unsent": True} if entry.unsent else {}),
            **({"client": entry.client} if entry.client else {}),
            "phase": entry.phase.value,
            "boot_id": entry.boot.boot_id,
            "userspace": entry.boot.userspace,
            "by": entry.by,
            "hooks": entry.hooks.value,
            "before": {
                "trigger": entry.before.trigger,
                "system": entry.before.system,
                "failed_units": list(entry.before.failed_units),
                "version": entry.before.version,
                **({"causes": encode_causes(entry.before.causes)} if entry.before.causes else {}),
            },
        },
        "failure": failure
        and {
            "at": records.moment(failure.at),
            "reason": failure.reason,
            "version": failure.version,
            "tries": failure.tries,
        },
        "done": journal.done and encode_reboot(journal.done),
        **({"earlier": list(map(encode_reboot, journal.earlier))} if journal.earlier else {}),
        "rechecked": records.optional_moment(journal.rechecked),
    }


def parse(fields: dict[str, Any], machine_id: str) -> Journal:
    """Read a reboot journal from its fields; `BadJsonError` or `CorruptValueError`: it is none."""
    entry, failure, done = fields.get("entry"), fields.get("failure"), fields.get("done")
    return Journal(
        _parse_entry(jsonread.read(fields, "entry", dict), machine_id) if entry is not None else None,
        _parse_failure(jsonread.read(fields, "failure", dict)) if failure is not None else None,
        parse_reboot(jsonread.read(fields, "done", dict)) if done is not None else None,
        read_earlier(fields),
        records.read_optional_moment(fields, "rechecked"),
    )


def _parse_entry(fields: dict[str, Any], machine_id: str) -> JournalEntry:
    claim = json.dumps(jsonread.read(fields, "claim", dict)).encode()
    return JournalEntry(
        claim=claim_record.decode(
            claim, "the reboot journal's claim", jsonread.read(fields, "holder", str, machine_id)
        ),
        strategy=jsonread.read(fields, "strategy", str),
        group=jsonread.read(fields, "group", str),
        api=jsonread.read(fields, "api", int),
        endpoints=_parse_endpoints(jsonread.read(fields, "endpoints", list)),
        phase=jsonread.convert("phase", jsonread.read(fields, "phase", str), Phase),
        boot=Boot(jsonread.read(fields, "boot_id", str), jsonread.read(fields, "userspace", int)),
        by=jsonread.read(fields, "by", str),
        hooks=jsonread.convert("hooks", jsonread.read(fields, "hooks", str, ""), Hooks),
        before=_parse_before(jsonread.read(fields, "before", dict, {})),
        cluster=jsonread.read(fields, "cluster", str, ""),
        unsent=jsonread.read(fields, "unsent", bool, False),
        client=jsonread.read(fields, "client", str, ""),
    )


def _parse_endpoints(endpoints: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(endpoint, str) for endpoint in endpoints):
        raise jsonread.BadJsonError("the field 'endpoints' must be a list of URLs")
    return tuple(endpoints)


def _parse_before(fields: dict[str, Any]) -> PreRebootState:
    units = jsonread.read(fields, "failed_units", list, [])
    if not all(isinstance(unit, str) for unit in units):
        raise jsonread.BadJsonError("the field 'failed_units' must be a list of units")
    return PreRebootState(
        trigger=jsonread.read(fields, "trigger", str, ""),
        system=jsonread.read(fields, "system", str, ""),
        failed_units=tuple(units),
        version=jsonread.read(fields, "version", str, ""),
        causes=read_causes(fields),
    )


def _parse_failure(fields: dict[str, Any]) -> FailedAttempt:
    return FailedAttempt(
        at=jsonread.convert("at", jsonread.read(fields, "at", str), records.parse_moment),
        reason=jsonread.read(fields, "reason", str),
        version=jsonread.read(fields, "version", str, ""),
        tries=jsonread.read(fields, "tries", int, 1),
    )
