"""The record of a slot, field by field: what another version of locksmith, or another machine, reads in it."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from locksmith.errors import CorruptValueError
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.cause import Cause
from locksmith.lock.records.claim import (
    COMMAND,
    COMMITTED,
    DAEMON,
    FAILED,
    FLEETLOCK,
    HELD,
    HOOKS_DONE,
    MANUAL,
    REBOOT,
    UNHEALTHY,
    Claim,
)

SINCE, TAKEN = datetime(2026, 5, 1, 2, 10, tzinfo=UTC), datetime(2026, 5, 1, 2, 11, tzinfo=UTC)
LEAST = {"schema": 1, "kind": "reboot", "nonce": "nonce", "since": "2026-05-01T02:10:00Z"}
ALWAYS = {
    **LEAST,
    "who": "locksmithd",
    "hostname": "n1",
    "boot_id": "boot-1",
    "version": "1.2",
    "state": "committed",
    "reason": "kernel",
}
FULL = {
    **ALWAYS,
    "taken": "2026-05-01T02:11:00Z",
    "userspace": 3,
    "system": "flatcar 1.0",
    "failure": "sick",
    "acknowledged": "alice",
    "commits": 2,
    "rechecked": "2026-05-01T02:10:00Z",
    "causes": [["packages", "1.2"]],
    "hooks": "done",
}
CLAIM = Claim(
    "id1",
    REBOOT,
    "nonce",
    SINCE,
    DAEMON,
    "n1",
    "boot-1",
    "1.2",
    COMMITTED,
    "kernel",
    TAKEN,
    3,
    "flatcar 1.0",
    "sick",
    "alice",
    2,
    SINCE,
    (Cause("packages", "1.2"),),
    HOOKS_DONE,
)


def read(values: dict[str, object]) -> Claim:
    return claim_record.decode(json.dumps(values).encode(), "key", "id1")


def written(claim: Claim) -> dict[str, object]:
    found: dict[str, object] = json.loads(claim_record.encode(claim))
    return found


def test_every_field_is_written_and_read():
    assert written(CLAIM) == FULL
    assert read(FULL) == CLAIM
    assert read({**FULL, "rack": 7}) == replace(CLAIM, extra={"rack": 7})
    assert written(replace(CLAIM, extra={"rack": 7}, schema=2)) == {**FULL, "rack": 7, "schema": 2}


def test_what_is_empty_is_not_written_except_what_every_version_reads():
    empty: dict[str, Any] = {one.name: one.default for one in fields(Claim) if one.name in set(FULL) - set(ALWAYS)}
    assert written(replace(CLAIM, **{**empty, "state": HELD, "commits": 0})) == {**ALWAYS, "state": "held"}
    assert written(replace(CLAIM, **{**empty, "commits": 0}))["commits"] == 0, "a commit that was not counted is told"
    assert written(replace(CLAIM, **{**empty, "state": HELD, "commits": 1}))["commits"] == 1


@pytest.mark.parametrize(("state", "commits"), [(None, 0), ("held", 0), ("committed", 1), ("unhealthy", 1)])
def test_a_record_of_an_earlier_version_says_less(state, commits):
    values = LEAST if state is None else {**LEAST, "state": state}
    assert read(values) == Claim("id1", REBOOT, "nonce", SINCE, state=state or HELD, commits=commits)


@pytest.mark.parametrize("missing", LEAST)
def test_a_record_without_what_it_must_say_is_corrupt_and_says_what_to_run(missing):
    with pytest.raises(CorruptValueError, match=r"not a holder's record: .*`locksmithctl unlock id1` removes it"):
        read({name: value for name, value in FULL.items() if name != missing})


@pytest.mark.parametrize("name", FULL)
def test_a_field_of_another_type_makes_a_record_corrupt(name):
    with pytest.raises(CorruptValueError):
        read({**FULL, name: {"a": 1}})


def test_a_claim_passes_from_one_state_to_the_next():
    held = replace(CLAIM, state=HELD, commits=1, failure="")
    assert held.taken_at(SINCE.replace(microsecond=7)) == replace(held, taken=SINCE)
    assert held.committed() == replace(held, state=COMMITTED, commits=2)
    assert held.committed().reopened() == replace(held, commits=2)
    assert held.gone_wrong(UNHEALTHY, "sick") == replace(held, state=UNHEALTHY, failure="sick")


@pytest.mark.parametrize(
    ("own", "record", "behind"),
    [
        ((HELD, 0), (HELD, 0), False),
        ((HELD, 0), (COMMITTED, 1), True),
        ((COMMITTED, 2), (COMMITTED, 1), False),
        ((COMMITTED, 1), (FAILED, 1), True),
        ((FAILED, 1), (FAILED, 2), False),
    ],
)
def test_a_journal_that_counts_fewer_commits_than_the_record_is_behind(own, record, behind):
    mine, stored = (replace(CLAIM, state=state, commits=commits) for state, commits in (own, record))
    assert mine.is_behind(stored) == behind


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "by n1 for its reboot"),
        ({"kind": COMMAND, "who": "alice"}, "by n1 for a command of alice"),
        ({"kind": FLEETLOCK, "hostname": ""}, "by the FleetLock client id1 for its reboot"),
        ({"kind": MANUAL, "who": "alice"}, "manually by alice"),
        ({"kind": MANUAL, "who": ""}, "manually by n1"),
        ({"kind": MANUAL, "who": "", "hostname": ""}, "manually by an operator"),
        ({"kind": "other", "who": "bob"}, "by a other claim of bob"),
    ],
)
def test_a_claim_is_described_by_who_has_it_since_when_and_why(more, words):
    claim = replace(CLAIM, **more)
    assert claim.describe() == f"held {words} since 2026-05-01T02:11:00Z: kernel"
    assert replace(claim, taken=None, reason="").describe() == f"held {words} since 2026-05-01T02:10:00Z"
