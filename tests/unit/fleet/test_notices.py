"""What people are told of a group, and what they are not told again: reading after reading, with the ledger between."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import CorruptValueError
from locksmith.fleet import notices
from locksmith.fleet.group import GroupView
from locksmith.fleet.notices import NoticeRules, asks_past, compare
from locksmith.lock.records import keys, notice, states
from locksmith.lock.records.claim import COMMITTED, DAEMON, HELD, REBOOT, UNHEALTHY, Claim
from locksmith.lock.records.event import HELD as WAS_HELD
from locksmith.lock.records.event import REBOOTED, THAW, Event
from locksmith.lock.records.incident import EXPIRED, HaltAfter, Incident
from locksmith.lock.records.node import Node
from locksmith.lock.records.notice import Ledger
from locksmith.lock.records.notice_events import BEGINS, DONE, EVENTS, FROZEN, HALTED, LOST, NO_REBOOT, OVERDUE, THAWED
from locksmith.lock.records.notice_events import UNHEALTHY as SICK
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore

NOW = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NEVER = NoticeRules(halt_after=HaltAfter(0))
EMPTY = GroupView("web", Semaphore(), at=NOW)


def node(name: str, state: str = states.IDLE, **more) -> Node:
    return replace(Node(f"id-{name}", name, f"boot-{name}", "web", "etcd-lock", state, NOW - HOUR), **more)


def claim(name: str, state: str = COMMITTED, nonce: str = "", **more) -> Claim:
    made = Claim(f"id-{name}", REBOOT, nonce or f"of {name}", NOW - HOUR, DAEMON, name, f"boot-{name}", "1", state)
    return replace(made, **more)


def group(*claims: Claim, nodes=(), slots: int = 9, **more) -> GroupView:
    """Show a group with these holders; each machine of `nodes` is present."""
    return GroupView(
        "web",
        Semaphore(slots, tuple(sorted(one.holder for one in claims))),
        {one.holder: one for one in claims},
        machines={one.machine_id: one for one in nodes},
        at=NOW,
        **more,
    )


class Readings:
    """One reading after another; the ledger goes through its record in between, as through the store."""

    def __init__(self, rules: NoticeRules = NEVER) -> None:
        self.rules, self.ledger, self.now = rules, Ledger(), NOW
        self.past: tuple[Event, ...] = ()

    def read(self, view: GroupView, after: timedelta = MINUTE * 2) -> list[notice.Notice]:
        self.now += after
        before = notice.decode_ledger(notice.encode_ledger(self.ledger), "ledger")
        self.ledger, told = compare(before, view, self.now, self.rules, self.past)
        again, more = compare(
            notice.decode_ledger(notice.encode_ledger(self.ledger), "ledger"), view, self.now, self.rules, self.past
        )
        assert more == ()  # the same reading is told once
        assert notice.encode_ledger(again) == notice.encode_ledger(self.ledger)  # and writes the ledger once
        return list(told)

    def events(self, view: GroupView, after: timedelta = MINUTE * 2) -> list[str]:
        return [one.event for one in self.read(view, after)]


def test_of_a_group_at_rest_nothing_is_told():
    readings = Readings()
    assert readings.read(EMPTY) == []
    assert readings.read(group(nodes=[node("n1"), node("n2")])) == []
    assert notice.encode_ledger(readings.ledger) == notice.encode_ledger(Ledger())


def test_a_freeze_and_its_end_are_told_once_each_with_who_and_why():
    readings = Readings()
    frozen = replace(EMPTY, freeze=Order("alice", NOW, "the database moves"))
    [told] = readings.read(frozen)
    assert told.event == FROZEN
    assert told.sentence == (
        "group web is frozen by alice since 03:00: the database moves. No machine of it begins a reboot. "
        "`locksmithctl thaw` ends that."
    )
    assert readings.read(frozen) == []
    assert asks_past(readings.ledger, EMPTY, readings.now)
    readings.past = (Event(NOW + MINUTE, THAW, who="bob", reason="it has moved"),)
    [told] = readings.read(EMPTY)
    assert (told.event, told.headline) == (THAWED, "group web is thawed")
    assert told.sentence == "group web is thawed by bob: it has moved. It had been frozen since 03:00."
    assert readings.read(EMPTY) == []


def test_a_freeze_that_cannot_be_read_is_no_thaw():
    readings = Readings()
    readings.read(replace(EMPTY, freeze=Order("alice", NOW)))
    broken = replace(EMPTY, problems=(CorruptValueError(keys.freeze_key("web"), "broken"),))
    assert readings.read(broken) == []


def test_a_rollout_begins_with_the_first_slot_and_is_done_when_none_is_left():
    readings = Readings()
    wanting = [node(name, states.WAITING, need="kernel") for name in ("n1", "n2")]
    assert readings.read(group(nodes=wanting)) == []  # its window is closed
    [told] = readings.read(group(claim("n1", HELD), nodes=wanting))
    assert told.event == BEGINS
    assert told.sentence == "The rollout of group web begins: 2 machines need a reboot, and n1 has a slot."
    assert readings.read(group(nodes=[node("n1"), wanting[1]]), HOUR) == []
    assert readings.read(group(claim("n2"), nodes=[node("n1"), node("n2", states.REBOOTING)]), HOUR * 10) == []
    done = group(nodes=[node("n1"), node("n2")])
    assert readings.read(done) == []  # a machine may yet find an update
    assert not asks_past(readings.ledger, done, readings.now)
    readings.past = tuple(
        Event(NOW + HOUR, WAS_HELD, detail=detail, holder=name)
        for name, detail in (("n1", REBOOTED), ("n2", REBOOTED), ("n2", REBOOTED), ("n3", "its window closed"))
    )
    assert asks_past(readings.ledger, done, readings.now + notices.SETTLE)
    [told] = readings.read(done, notices.SETTLE)
    assert told.event == DONE
    assert told.sentence == (
        "The rollout of group web is done: 2 machines rebooted in 11 h 2 min. No machine of it needs a reboot."
    )
    assert readings.read(done, HOUR) == []


def test_a_sick_machine_and_the_halt_are_two_events_and_a_second_halt_is_told():
    readings = Readings(NoticeRules())
    sick = group(claim("n2", UNHEALTHY, failure="nginx.service failed"), nodes=[node("n2", "unhealthy")])
    found = {one.event: one for one in readings.read(sick)}
    assert found.keys() == {BEGINS, HALTED, SICK}
    assert found[HALTED].sentence == (
        "group web is HALTED: n2 is unhealthy: nginx.service failed. No machine in the group will reboot. "
        "Inspect n2, then run `locksmithctl resume`."
    )
    assert found[SICK].sentence == (
        "n2 of group web is UNHEALTHY: nginx.service failed. `locksmithctl why n2` says more."
    )
    assert readings.read(sick, HOUR * 9) == []
    well = group(nodes=[node("n2"), node("n3", need="kernel")])
    assert readings.read(well) == []
    other = group(claim("n3", UNHEALTHY), nodes=[node("n3", "unhealthy")])
    assert readings.events(other) == [HALTED, SICK]  # ten minutes after the first, and another one


def test_a_halt_that_flaps_by_one_incident_is_told_once_in_a_while():
    readings = Readings(NoticeRules(repeat_after=HOUR))
    lost, back = group(claim("n1")), group(claim("n1"), nodes=[node("n1", states.REBOOTING)])
    assert readings.events(lost) == [BEGINS, HALTED, LOST]
    for _ in range(10):
        assert readings.events(back) == []
        assert readings.events(lost) == []
    readings.events(back, HOUR)
    assert readings.events(lost) == [HALTED, LOST]


def test_three_hundred_machines_lost_at_once_are_one_notice():
    readings = Readings()
    [_, told] = readings.read(group(*(claim(f"n{number:03}") for number in range(300)), slots=400))
    assert (told.event, told.count) == (LOST, 300)
    assert told.machines == tuple(f"n{number:03}" for number in range(10))
    assert told.headline == "300 machines of group web are lost: down for a reboot, and not back"
    assert "n000, n001, n002, n003, n004, n005, n006, n007, n008, n009 and 290 more" in told.sentence


def test_machines_that_follow_within_a_minute_are_gathered():
    readings = Readings()
    every = [claim(f"n{number}") for number in range(9)]
    assert readings.events(group(*every[:1])) == [BEGINS, LOST]
    assert readings.events(group(*every[:4]), timedelta(seconds=15)) == []
    assert readings.events(group(*every[:8]), timedelta(seconds=15)) == []
    [told] = readings.read(group(*every), timedelta(seconds=40))
    assert (told.event, told.count) == (LOST, 8)


def test_a_machine_that_flaps_is_told_of_once_within_repeat_after():
    readings = Readings(replace(NEVER, repeat_after=HOUR))
    told = []
    for number in range(30):
        told += readings.read(group(claim("n1", nonce=f"claim {number}")))
        told += readings.read(group(nodes=[node("n1", need="kernel")]))
    assert [one.event for one in told] == [BEGINS, LOST, LOST]
    assert len({one.id for one in told}) == 3


def test_a_machine_that_stays_lost_is_told_of_once():
    readings = Readings()
    lost = group(claim("n1"))
    assert readings.events(lost) == [BEGINS, LOST]
    for _ in range(100):
        assert readings.events(lost, HOUR * 5) == []


def test_an_overdue_machine_then_lost_then_expired_is_overdue_and_lost():
    readings = Readings()
    due = node("n1", states.REBOOTING, written=NOW - HOUR, lasts=1500)
    found = readings.read(group(claim("n1"), nodes=[due]))
    assert [one.event for one in found] == [BEGINS, OVERDUE]
    assert "OVERDUE: lost at 02:25 unless it is back, as its reboot takes longer than reboot.limit" in found[1].sentence
    assert readings.events(group(claim("n1"))) == [LOST]
    assert readings.events(group(noted=(Incident(claim("n1"), EXPIRED),))) == []


def test_a_machine_whose_presence_cannot_be_read_is_not_lost():
    problem = CorruptValueError(keys.node_key("web", "id-n1"), "broken")
    assert LOST not in Readings().events(group(claim("n1"), problems=(problem,)))


def test_incidents_that_cannot_be_read_end_no_halt():
    readings = Readings(NoticeRules())
    lost = group(claim("n1"))
    assert readings.events(lost) == [BEGINS, HALTED, LOST]
    problem = CorruptValueError(keys.incidents_key("web"), "broken")
    assert readings.events(group(problems=(problem,)), HOUR * 2) == []
    assert readings.events(lost) == []


def test_a_machine_that_waits_for_days_is_told_of_once():
    readings = Readings(replace(NEVER, no_reboot_after=timedelta(days=30)))
    waits = node("n1", states.WAITING, need="kernel", need_since=NOW - timedelta(days=29), reason="outside the window")
    assert readings.events(group(nodes=[waits])) == []
    [told] = readings.read(group(nodes=[waits]), timedelta(days=1))
    assert (told.event, told.machines) == (NO_REBOOT, ("n1",))
    assert told.sentence == (
        "n1 of group web is without its reboot for 30 d, and waits: outside the window. "
        "`locksmithctl why n1` says more."
    )
    assert readings.events(group(nodes=[waits]), timedelta(days=9)) == []
    assert Readings().events(group(nodes=[waits]), timedelta(days=99)) == []  # it is off by default


@pytest.mark.slow
def test_a_ledger_of_ten_thousand_machines_stays_small():
    readings = Readings(replace(NEVER, no_reboot_after=HOUR))
    waiting = [
        node(f"machine-{number}", states.WAITING, need="kernel", need_since=NOW - HOUR * 5) for number in range(10_000)
    ]
    view = group(nodes=waiting)
    [told] = readings.read(view)
    assert told.count == 10_000
    assert len(notice.encode_ledger(readings.ledger)) < 200_000
    assert readings.read(view) == []
    assert readings.read(view, timedelta(minutes=50)) == []


def test_whichever_server_compares_it_derives_the_same_ids():
    view = group(claim("n1", UNHEALTHY), claim("n2"), nodes=[node("n1", "unhealthy")], freeze=Order("alice", NOW))
    first, second = (compare(Ledger(), view, NOW + late, NoticeRules()) for late in (MINUTE, HOUR))
    assert [one.id for one in first[1]] == [one.id for one in second[1]]
    assert len({one.id for one in first[1]}) == len(first[1]) == 5


def test_a_clock_that_is_ahead_by_a_day_holds_nothing_up():
    readings = Readings()
    readings.now += timedelta(days=1)
    readings.read(group(claim("n1")))
    readings.now -= timedelta(days=1)
    assert readings.events(group(claim("n1"), claim("n2"))) == [LOST]


TEXT = st.text(max_size=60) | st.sampled_from(["a\r\nBcc: x@y", "<script>", "\x1b[31m", "\u202e", "n1\n\nn2 is well"])


@given(TEXT, TEXT, TEXT)
def test_no_name_or_reason_has_a_line_break_or_control_character(name, who, reason):
    sick = claim("n1", UNHEALTHY, hostname=name, failure=reason)
    view = group(sick, claim("n2"), nodes=[node("n1", "unhealthy", hostname=name)], freeze=Order(who, NOW, reason))
    for told in Readings(NoticeRules()).read(view):
        for text in (told.id, told.headline, told.sentence, *told.machines):
            assert text.isprintable()
        assert told.event in EVENTS
        assert notice.decode(notice.encode(told), "key").sentence == told.sentence
