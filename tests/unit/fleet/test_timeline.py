"""Who held a slot when, and whether its machine was down: what the history tells, and what it leaves open."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import CorruptValueError
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind
from locksmith.fleet.timeline import Down, Outcome, complete_from, hold_fields, timeline, timeline_fields
from locksmith.lock.records.claim import COMMITTED, MANUAL, UNHEALTHY
from locksmith.lock.records.event import EXPIRE, FREEZE, HELD, LOCK, REBOOTED, UNLOCK, Event, about
from locksmith.lock.records.node import Node
from locksmith.lock.records.semaphore import Semaphore
from tests.builders.claims import claim

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
EMPTY = GroupView("web", Semaphore(2), at=AT)
MINUTE = timedelta(minutes=1)


def ended(name="n1", begin=-30, end=-20, act=HELD, detail=REBOOTED, **more) -> Event:
    made = replace(claim(name, **more), since=AT + (begin - 5) * MINUTE, taken=AT + begin * MINUTE)
    return about(made, AT + end * MINUTE, act, detail=detail)


def shown(*events, view=EMPTY, begin=-60, kept_from=-600):
    return timeline(view, events, AT + begin * MINUTE, AT, AT + kept_from * MINUTE)


def held_by(record, node=None) -> GroupView:
    machines = {"n1": node} if node else {}
    return replace(EMPTY, semaphore=Semaphore(1, ("n1",)), claims={"n1": record}, machines=machines)


def present(state, since=AT) -> Node:
    return Node("n1", "n1.example", "boot", "web", "etcd-lock", state, since)


@pytest.mark.parametrize(
    ("event", "outcome", "down"),
    [
        (ended(), Outcome.REBOOTED, Down.YES),
        (ended(detail="logind refused the reboot"), Outcome.NOT_REBOOTED, Down.NO),
        (ended(act=UNLOCK, detail=""), Outcome.UNLOCKED, Down.UNKNOWN),
        (ended(act=UNLOCK, detail="", kind=MANUAL), Outcome.UNLOCKED, Down.NO),
        (ended(act=EXPIRE, detail="its machine is lost"), Outcome.EXPIRED, Down.UNKNOWN),
    ],
)
def test_each_end_of_a_hold_says_whether_its_machine_was_down(event, outcome, down):
    [hold] = shown(event).holds
    assert (hold.outcome, hold.down) == (outcome, down)
    assert (hold.begin, hold.end) == (AT - 30 * MINUTE, AT - 20 * MINUTE)


def test_what_ends_no_hold_is_none():
    assert shown(Event(AT - MINUTE, FREEZE), ended(act=LOCK)).holds == ()


def test_a_claim_has_one_end_the_first():
    freed, late = ended(act=UNLOCK, end=-25, detail=""), ended(end=-20)
    [hold] = shown(freed, late).holds
    assert (hold.outcome, hold.end) == (Outcome.UNLOCKED, AT - 25 * MINUTE)


def test_an_unknown_beginning_stays_unknown_and_comes_first():
    early = replace(ended("n2"), taken=None, since=None)
    found = [hold_fields(one) for one in shown(ended(), early).holds]
    assert [(one["id"], one["from"]) for one in found] == [("n2", None), ("n1", "2026-05-01T11:30:00Z")]


def test_where_only_the_claim_is_known_the_hold_did_not_begin_before_it():
    [hold] = shown(replace(ended(), taken=None)).holds
    assert (hold.begin, hold.earliest) == (None, AT - 35 * MINUTE)


def test_what_ended_before_or_began_after_is_left_out():
    found = timeline(EMPTY, [ended(end=-26), ended("n2", begin=-5, end=-2)], AT - 20 * MINUTE, AT - 10 * MINUTE, AT)
    assert found.holds == ()


def test_a_hold_that_ended_after_the_span_is_in_it():
    found = timeline(EMPTY, [ended(begin=-30, end=-10)], AT - 40 * MINUTE, AT - 20 * MINUTE, AT)
    assert [(one.holder, one.end) for one in found.holds] == [("n1", AT - 10 * MINUTE)]
    assert found.most == 1


def test_clocks_that_differ_make_no_hold_that_ends_before_it_begins():
    [hold] = shown(ended(begin=-10, end=-20)).holds
    assert hold.begin == hold.end


@pytest.mark.parametrize(
    ("state", "machine", "down", "since"),
    [
        ("held", present("preparing"), Down.NO, None),
        (COMMITTED, present("rebooting", AT - MINUTE), Down.YES, AT - MINUTE),
        (COMMITTED, present("verifying"), Down.YES, None),
        (COMMITTED, None, Down.YES, None),
        (UNHEALTHY, present("unhealthy"), Down.YES, None),
        ("held", None, Down.UNKNOWN, None),
    ],
)
def test_a_holder_is_down_if_its_claim_says_so(state, machine, down, since):
    [hold] = shown(view=held_by(replace(claim("n1", state=state), taken=AT - 5 * MINUTE), machine)).holds
    assert (hold.outcome, hold.down, hold.down_from, hold.end) == (Outcome.HELD, down, since, None)


@pytest.mark.parametrize(
    ("record", "how"), [(None, HolderKind.LEGACY), (CorruptValueError("k", "no JSON"), HolderKind.UNREADABLE)]
)
def test_of_a_holder_without_a_readable_record_nothing_is_known(record, how):
    [hold] = shown(view=held_by(record)).holds
    assert (hold.begin, hold.end, hold.down, hold.status) == (None, None, Down.UNKNOWN, how)


def test_the_most_slots_at_once_are_counted_and_a_hand_over_is_one():
    at_once = [ended("n1", -50, -40), ended("n2", -45, -30), ended("n3", -30, -10)]
    assert shown(*at_once).most == 2
    assert shown().most == 0


def test_before_the_history_begins_nothing_is_complete():
    events = [ended(), ended("n2", -10, -5)]
    assert complete_from(events, AT, timedelta(days=30), 2000) == AT - timedelta(days=30)
    assert complete_from(events, AT, timedelta(days=30), 2) == events[0].at
    assert shown(kept_from=-10).complete_from == AT - 10 * MINUTE


acts = st.sampled_from([HELD, UNLOCK, EXPIRE, LOCK, FREEZE, "of a later version"])
minutes = st.integers(-100, 10)


@given(st.lists(st.builds(ended, st.sampled_from(["n1", "n2", "n3"]), minutes, minutes, acts, st.text(max_size=5))))
def test_whatever_the_history_has_no_hold_ends_before_it_begins(events):
    found = shown(*events, view=held_by(claim("n1")))
    assert all(one.end is None or one.begin is None or one.begin <= one.end for one in found.holds)
    assert all(one.overlaps(found.begin, found.end) for one in found.holds)
    assert 0 <= found.most <= len(found.holds)
    assert timeline_fields(found)["most"] == found.most
