"""What an import from airlock would do, case by case."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from locksmith.lock.airlock_plan import Outcome, Readings, Terms, plan, refuse_name
from locksmith.lock.records import airlock, keys, semaphore
from locksmith.lock.records.airlock import AirlockSemaphore, TakenOver
from locksmith.lock.records.semaphore import Semaphore
from locksmith.server.answers import Answer
from locksmith.server.requests import parse_body
from locksmith.store.protocol import Entry, Reading
from tests.harness.airlock import written

NOW = datetime(2026, 11, 29, 18, 0, tzinfo=UTC)
OPEN = AirlockSemaphore(2, ("a", "b"))
WITHOUT = Terms(holders=False)


def read(key, value):
    return Reading(None if value is None else Entry(key, value, 7, 3), 9)


def planned(there, here=None, terms=Terms(), *, mark=None, share=None):  # noqa: B008 - immutable
    group = "default"
    return plan(
        Readings(
            group,
            read(airlock.semaphore_key(group), there),
            read(keys.semaphore_key(group), semaphore.encode(here) if isinstance(here, Semaphore) else here),
            read(keys.share_key(group), share),
            read(keys.airlock_key(group), airlock.encode_mark(mark) if isinstance(mark, TakenOver) else mark),
        ),
        terms,
    )


@pytest.mark.parametrize(
    ("there", "here", "terms", "made"),
    [
        (written(2), None, Terms(), (Semaphore(2), None, True)),
        (written(2, "b", "a"), None, Terms(), (Semaphore(2, ("a", "b")), None, True)),
        (written(2, "a"), Semaphore(1), Terms(), (Semaphore(2, ("a",)), 1, True)),
        (written(2, "a"), Semaphore(5, ("a",)), Terms(), (Semaphore(2, ("a",)), 5, False)),
        (written(2, "a", "b"), Semaphore(1), WITHOUT, (Semaphore(2), 1, True)),
        # Too many at airlock are no matter where none is taken over.
        (b'{"total_slots":1,"holders":["a","b"]}', None, WITHOUT, (Semaphore(1), None, True)),
    ],
)
def test_a_group_is_imported(there, here, terms, made):
    found = planned(there, here, terms)
    assert (found.outcome, found.why) == (Outcome.IMPORT, "")
    assert (found.semaphore, found.before, found.new) == made
    assert found.left_out == (() if terms.holders else found.found.holders)


@pytest.mark.parametrize(
    ("there", "here", "terms", "why"),
    [
        (None, None, Terms(), "groups/default/v1/semaphore does not exist"),
        (b"{}", None, Terms(), "not a semaphore of airlock"),
        (written(2, "a", "a"), None, Terms(), "is in it twice"),
        (written(0), None, Terms(), "total_slots is 0"),
        (written(0, "a"), None, Terms(), "total_slots is 0"),
        (written(0), None, WITHOUT, "total_slots is 0"),
        (written(1, "a", "b"), None, Terms(), r"has 2 holders and 1 slots.*\(a, b\)"),
        (written(2), b"rubbish", Terms(), "not a semaphore.*`locksmithctl -group=default repair"),
        (written(2), Semaphore(0), Terms(), "its max is 0.*-group=default thaw"),
        (written(2), Semaphore(-1), Terms(), "its max is -1"),
        (written(2), Semaphore(2, ("c",)), Terms(), r"not by the same machines \(c\)"),
        (written(2, "a", "b"), Semaphore(2, ("a",)), Terms(), r"not by the same machines \(a\)"),
        (written(3, "a", "b"), Semaphore(3, ("a", "b", "c")), Terms(), r"not by the same machines \(c\)"),
        (written(2, "a"), Semaphore(2, ("a",)), WITHOUT, r"not by the same machines \(a\)"),
    ],
)
def test_a_group_is_refused(there, here, terms, why):
    found = planned(there, here, terms)
    assert found.outcome is Outcome.REFUSED
    assert re.search(why, found.why), found.why


def test_a_share_of_machines_is_not_ended_in_passing():
    found = planned(written(2), Semaphore(1), share=b"{}")
    assert found.outcome is Outcome.REFUSED
    assert "`locksmithctl -group=default set-max 2`" in found.why


@pytest.mark.parametrize("group", ["", ".", "..", "a b", "a/b"])
def test_a_group_whose_name_fleetlock_forbids_is_refused(group):
    refused = refuse_name(group, Terms())
    assert refused is not None
    assert (refused.outcome, refused.group) == (Outcome.REFUSED, group)
    assert refuse_name("default", Terms()) is None


CLOSED_MARK = TakenOver("n", NOW, "alice", "ops", OPEN)
LEFT_MARK = replace(CLOSED_MARK, closed=False)


@pytest.mark.parametrize("here", [None, Semaphore(2, ("a", "b")), Semaphore(7, ("z",))])
@pytest.mark.parametrize(
    ("there", "mark", "terms"),
    [
        (written(0), CLOSED_MARK, Terms()),
        (written(0), CLOSED_MARK, Terms(again=True)),
        (written(0), CLOSED_MARK, WITHOUT),
        (written(2, "a", "b"), LEFT_MARK, Terms()),
    ],
)
def test_a_group_that_was_imported_is_left_alone(there, mark, terms, here):
    """Also where slots have changed hands here since."""
    found = planned(there, here, terms, mark=mark)
    assert (found.outcome, found.why) == (Outcome.DONE, "it was imported by alice@ops at 2026-11-29T18:00:00Z")


@pytest.mark.parametrize(
    ("there", "mark"),
    [
        *((written(2, "a", "b"), CLOSED_MARK), (written(1), CLOSED_MARK), (written(0, "a"), CLOSED_MARK)),
        *((written(2, "b"), LEFT_MARK), (written(0), LEFT_MARK)),
    ],
)
def test_an_airlock_that_has_written_since_is_noticed(there, mark):
    found = planned(there, Semaphore(2), mark=mark)
    assert found.outcome is Outcome.REFUSED
    assert "written since" in found.why
    assert "stop airlock" in found.why
    assert "--again" in found.why


def test_again_is_under_the_same_rules():
    again = Terms(again=True)
    assert planned(written(2, "c"), Semaphore(2), again, mark=CLOSED_MARK).semaphore == Semaphore(2, ("c",))
    assert planned(written(2, "a", "b"), Semaphore(2), again, mark=LEFT_MARK).outcome is Outcome.IMPORT
    assert planned(written(2, "c"), Semaphore(2, ("a",)), again, mark=CLOSED_MARK).outcome is Outcome.REFUSED
    assert "total_slots is 0" in planned(written(0), Semaphore(2), again, mark=LEFT_MARK).why


def test_a_mark_that_cannot_be_read_is_no_permission():
    found = planned(written(2), mark=b"rubbish")
    assert found.outcome is Outcome.REFUSED
    assert "not the mark of an import" in found.why


@pytest.mark.parametrize("holder", ["x" * 256, "n1 ", "\u202en1", "n\n1", "a\u00a0b"])
def test_a_holder_whose_steady_state_the_server_would_refuse_is_not_taken_over(holder):
    there = json.dumps({"total_slots": 2, "holders": [holder]}).encode()
    found = planned(there)
    assert (found.outcome, "could never be released" in found.why) == (Outcome.REFUSED, True)
    assert planned(there, terms=WITHOUT).outcome is Outcome.IMPORT
    body = json.dumps({"client_params": {"id": holder, "group": "default"}}).encode()
    refused = parse_body(body)
    assert isinstance(refused, Answer)
    assert refused.status == 400
