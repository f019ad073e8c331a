"""The records beside the semaphore."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import CorruptValueError
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.claim import (
    COMMAND,
    COMMITTED,
    FLEETLOCK,
    HELD,
    HOOKS_BEGUN,
    HOOKS_DONE,
    HOOKS_UNDONE,
    MANUAL,
    REBOOT,
    Claim,
)
from locksmith.util import records

KEY = "coreos.com/updateengine/rebootlock/holders/n1"
SINCE = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
CLAIM = Claim("n1", MANUAL, "nonce", SINCE, who="alice", hostname="web-1", reason="disk swap")

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.datetimes(timezones=st.just(UTC)).map(lambda when: when.replace(microsecond=0))
claims = st.builds(
    Claim,
    holder=st.just("n1"),
    kind=words,
    nonce=words,
    since=moments,
    who=words,
    hostname=words,
    boot_id=words,
    version=words,
    state=words,
    reason=words,
    schema=st.integers(),
    extra=st.dictionaries(words.map(lambda name: f"new-{name}"), st.integers() | words | st.none(), max_size=3),
)


@given(claims)
def test_a_claim_survives_its_record(claim):
    assert claim_record.decode(claim_record.encode(claim), KEY, "n1") == claim


def test_a_record_reads_as_it_always_did():
    """Other machines run other versions: these bytes are a contract."""
    assert claim_record.encode(CLAIM) == (
        b'{"schema":1,"kind":"manual","nonce":"nonce","since":"2026-05-01T02:10:00Z","who":"alice","hostname":"web-1",'
        b'"boot_id":"","version":"","state":"held","reason":"disk swap"}'
    )


def test_a_later_schema_is_read_and_what_it_added_is_kept():
    raw = json.dumps({**json.loads(claim_record.encode(CLAIM)), "schema": 9, "rack": {"row": [1, 2]}}).encode()
    claim = claim_record.decode(raw, KEY, "n1")
    assert claim == replace(CLAIM, schema=9, extra={"rack": {"row": [1, 2]}})
    assert json.loads(claim_record.encode(claim.committed()))["rack"] == {"row": [1, 2]}


def test_only_four_fields_are_needed():
    raw = b'{"schema":1,"kind":"reboot","nonce":"x","since":"2026-05-01T04:10:00+02:00"}'
    assert claim_record.decode(raw, KEY, "n1") == Claim("n1", REBOOT, "x", SINCE)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("schema", "1", "'schema' must be a whole number, not a string"),
        ("schema", True, "'schema' must be a whole number, not true or false"),
        ("kind", None, "'kind' must be a string, not null"),
        ("nonce", 7, "'nonce' must be a string, not a whole number"),
        ("since", "yesterday", "'since'"),
        ("since", "2026-05-01T02:10:00", "names no time zone"),
        ("since", "0001-01-01T00:00:00+14:00", "beyond the calendar"),
        ("since", "9999-12-31T23:59:59-14:00", "beyond the calendar"),
        ("who", [], "'who' must be a string, not a list"),
        ("state", {}, "'state' must be a string, not an object"),
    ],
)
def test_a_record_with_a_wrong_field_is_refused_with_its_key_and_the_way_out(field, value, problem):
    raw = json.dumps({**json.loads(claim_record.encode(CLAIM)), field: value}).encode()
    with pytest.raises(CorruptValueError) as caught:
        claim_record.decode(raw, KEY, "n1")
    assert str(caught.value).startswith(f"{KEY}: not a holder's record: ")
    assert problem in str(caught.value)
    assert "`locksmithctl unlock n1` removes it" in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
fields = st.fixed_dictionaries(
    {"schema": st.just(1) | json_values, "kind": json_values, "nonce": json_values},
    optional=dict.fromkeys(("since", "who", "hostname", "boot_id", "version", "state", "reason"), json_values),
)


@given(st.binary(max_size=60) | fields.map(lambda obj: json.dumps(obj).encode()))
def test_whatever_stands_there_is_a_claim_or_corrupt(raw):
    try:
        claim = claim_record.decode(raw, KEY, "n1")
    except CorruptValueError:
        return
    assert claim_record.decode(claim_record.encode(claim), KEY, "n1") == replace(
        claim, since=claim.since.replace(microsecond=0)
    )


@given(st.text(max_size=40) | st.datetimes(timezones=st.timezones()).map(datetime.isoformat))
def test_a_moment_that_was_read_can_be_written_and_read_again(text):
    try:
        when = records.parse_moment(text)
    except ValueError:
        return
    assert records.parse_moment(records.moment(when)) == when.replace(microsecond=0)


def test_moments_are_written_in_utc_to_the_second():
    east = timezone(timedelta(hours=2))
    assert records.moment(datetime(2026, 5, 1, 4, 10, 7, 999, tzinfo=east)) == "2026-05-01T02:10:07Z"
    assert records.moment(datetime(3, 1, 1, tzinfo=UTC)) == "0003-01-01T00:00:00Z"


def test_the_point_of_no_return_can_be_taken_back():
    assert CLAIM.committed().state == COMMITTED
    assert CLAIM.committed().reopened() == replace(CLAIM, commits=1)
    assert CLAIM.state == HELD


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (replace(CLAIM, kind=COMMAND), "held by web-1 for a command of alice since 2026-05-01T02:10:00Z: disk swap"),
        (CLAIM, "held manually by alice since 2026-05-01T02:10:00Z: disk swap"),
        (replace(CLAIM, who="", reason=""), "held manually by web-1 since 2026-05-01T02:10:00Z"),
        (replace(CLAIM, who="", hostname="", reason=""), "held manually by an operator since 2026-05-01T02:10:00Z"),
        (replace(CLAIM, kind=REBOOT, reason=""), "held by web-1 for its reboot since 2026-05-01T02:10:00Z"),
        (replace(CLAIM, kind=REBOOT, hostname="", reason=""), "held by n1 for its reboot since 2026-05-01T02:10:00Z"),
        (replace(CLAIM, kind="crane"), "held by a crane claim of alice since 2026-05-01T02:10:00Z: disk swap"),
        (
            replace(CLAIM, kind=FLEETLOCK, reason=""),
            "held by the FleetLock client web-1 for its reboot since 2026-05-01T02:10:00Z",
        ),
    ],
)
def test_a_claim_says_whose_it_is(claim, words):
    assert claim.describe() == words


@pytest.mark.parametrize(
    ("state", "before", "hooks", "noted"),
    [
        (HELD, "", HOOKS_BEGUN, True),
        (HELD, HOOKS_BEGUN, HOOKS_DONE, True),
        (COMMITTED, HOOKS_DONE, HOOKS_BEGUN, False),
        (COMMITTED, HOOKS_BEGUN, HOOKS_DONE, False),
        (COMMITTED, HOOKS_DONE, HOOKS_UNDONE, True),
        (COMMITTED, HOOKS_UNDONE, HOOKS_DONE, True),
        (COMMITTED, HOOKS_UNDONE, HOOKS_BEGUN, False),
    ],
)
def test_past_its_commit_a_claim_notes_only_hooks_that_are_undone_and_done_again(state, before, hooks, noted):
    one = Claim("n1", REBOOT, "nonce", datetime(2026, 5, 1, tzinfo=UTC), state=state, hooks=before)
    assert one.with_hooks(hooks).hooks == (hooks if noted else before)
