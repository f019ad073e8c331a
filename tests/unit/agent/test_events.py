"""The events of the system journal: which step is which event, and the order in which a reboot logs them."""

import logging
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from locksmith.agent import events
from locksmith.agent.journal import Phase
from locksmith.agent.steps import Abort, Idle, ReportFailure, Request, Undo, Wait
from locksmith.daemon.reporters import LogReporter
from locksmith.errors import HostError, StoreUnavailableError
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.records import states
from locksmith.lock.records.claim import DAEMON, FAILED, UNHEALTHY
from tests.builders.loops import Bench, for_a_while, raising

if TYPE_CHECKING:
    from collections.abc import Iterator

UNTIL = datetime(2026, 5, 1, 4, 0, tzinfo=UTC)


def fields(step, before=""):
    return events.of_step(step, None, before)[events.EXTRA]


def logged(caplog):
    """The events in the order of the log."""
    extras = (getattr(record, events.EXTRA, {}) for record in caplog.records)
    return [extra["EVENT"] for extra in extras if "EVENT" in extra]


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO)
    return caplog


class StoreBench(Bench):
    """Machines that share a store."""

    present = True


def test_each_event_has_an_id_and_a_name_of_its_own():
    assert len({event.message_id for event in events.EVENTS}) == len(events.EVENTS) == 16
    assert len({event.name for event in events.EVENTS}) == len(events.EVENTS)
    assert all(re.fullmatch("[0-9a-f]{32}", event.message_id) for event in events.EVENTS)
    found = {value for value in vars(events).values() if isinstance(value, events.Event)}
    assert found == set(events.EVENTS)


def test_each_reason_that_is_an_event_is_a_reason_to_wait():
    assert events.OF_WAITS.keys() <= set(states.REASONS)


def test_a_wait_says_its_reason_in_fields():
    said = fields(Wait("freeze", "frozen by ada", UNTIL))
    assert said == {
        "EVENT": "frozen",
        "MESSAGE_ID": events.FROZEN.message_id,
        "STATE": "waiting",
        "CODE": "freeze",
        "REASON": "frozen by ada",
        "UNTIL": "2026-05-01T04:00:00Z",
    }


@pytest.mark.parametrize(
    ("step", "event"),
    [
        (ReportFailure(UNHEALTHY, "a.service has failed"), "unhealthy"),
        (ReportFailure(FAILED, "rolled back"), "failed"),
        (Abort("the window closed"), "aborted"),
        (Undo("the window closed"), None),
        (Wait("window", "outside the window"), None),
        (Idle(), None),
        *((Wait(code, "text"), event.name) for code, event in events.OF_WAITS.items()),
    ],
)
def test_each_step_is_its_event(step, event):
    assert fields(step).get("EVENT") == event


def test_the_end_of_what_blocked_is_an_event_unless_another_begins():
    assert fields(Wait("queue", "queued"), "freeze") | {"REASON": ""} == {
        "EVENT": "unblocked",
        "MESSAGE_ID": events.UNBLOCKED.message_id,
        "STATE": "waiting",
        "CODE": "queue",
        "REASON": "",
        "BEFORE": "freeze",
    }
    assert fields(Wait("halt", "halted"), "freeze")["EVENT"] == "halted"
    assert "EVENT" not in fields(Wait("queue", "queued"), "window")


def test_a_reboot_logs_slot_and_commit(log):
    for_a_while(StoreBench(), 10)
    assert logged(log) == ["slot-taken", "committed"]
    said = next(getattr(one, events.EXTRA) for one in log.records if hasattr(one, events.EXTRA))
    assert (said["TRIGGER"], said["VERSION"]) == ("update_engine", "1.2.3")


def test_without_a_store_there_is_no_slot_to_log(log):
    for_a_while(Bench(), 10)
    assert logged(log) == ["committed"]


def test_after_the_reboot_the_release_is_logged_once(log):
    bench = StoreBench(need=False)
    bench.leave_entry(Phase.COMMITTED, DAEMON, boot="an earlier boot")
    for_a_while(bench, 100)
    assert logged(log) == ["released"]


def test_a_machine_that_cannot_observe_itself_logs_once_that_it_is_unhealthy(log):
    bench = StoreBench()
    bench.leave_entry(Phase.COMMITTED, DAEMON, boot="an earlier boot")
    bench.while_asked = raising(HostError("the system bus does not answer"))
    for_a_while(bench, 3600)
    assert logged(log) == ["unhealthy"]


def test_a_slot_that_is_taken_away_is_logged(log):
    bench = StoreBench()
    bench.does["commit"] = lambda: Denied("unlocked", "an operator freed the slot", lost=True)
    for_a_while(bench, 10)
    assert logged(log)[:2] == ["slot-taken", "slot-lost"]


def test_a_slot_that_is_kept_is_logged_once(log):
    bench = StoreBench(slow_commit=1.0)
    answers: Iterator[Answer] = iter([Denied("slot", "held by n2"), Denied("slot", "held by n2"), Granted()])
    bench.does["request"] = lambda: next(answers, Granted())

    def away():
        raise StoreUnavailableError("etcd does not answer")

    bench.does["commit"] = away
    for_a_while(bench, 400)
    assert logged(log).count("slot-taken") == 1


def test_the_log_says_that_a_freeze_is_over(log):
    reporter = LogReporter()
    for step in (
        Wait("freeze", "frozen"),
        Request(),
        Wait("freeze", "frozen"),
        Request(),
        replace(Wait("queue", "queued"), until=UNTIL),
        Request(),
        Wait("slot", "busy"),
    ):
        reporter.show(step, None)
    assert logged(log) == ["frozen", "unblocked"]
