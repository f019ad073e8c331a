"""What Prometheus sees of the loop."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from locksmith.agent.facts import RebootNeed, Stage, WindowSight
from locksmith.agent.journal import Journal, Phase
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Abort, Adopt, Commit, Finish, Idle, Reboot, Release, Request, Run, Wait
from locksmith.daemon.metrics import Identity, Metrics
from locksmith.errors import LocksmithError
from locksmith.host.dbus import errors
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.records import states
from locksmith.lock.records.states import ERRORS, REASONS
from tests.builders.entries import BOOT, ENTRY, NOW
from tests.harness.windows import original

LATER = NOW + timedelta(hours=2)
NEED = RebootNeed("update-engine", "4081.2.0", NOW)
QUIET = Snapshot(NOW, BOOT, Settings())


BEGIN = 1000.0


class Scrape:
    """The metrics with a registry of their own, read as Prometheus would."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.now = BEGIN
        self.metrics = Metrics(self.registry, clock=lambda: self.now)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"locksmith_{name}", labels)

    def labelled(self, name: str) -> dict[str, float]:
        """The values of a metric with one label, by that."""
        families = {family.name: family for family in self.registry.collect()}
        return {next(iter(s.labels.values())): s.value for s in families[f"locksmith_{name}"].samples}


@pytest.fixture
def scrape() -> Scrape:
    return Scrape()


@pytest.mark.parametrize(
    ("step", "state"),
    [
        (Idle(), states.IDLE),
        (Wait("window", "outside the reboot window"), states.WAITING),
        (Request(), states.REQUESTING),
        (Commit(), states.REBOOTING),
        (Reboot(), states.REBOOTING),
        (Wait("rebooting", "the machine is going down"), states.REBOOTING),
        (Wait("stuck", "stuck in shutdown"), states.STUCK),
        (Release(), states.RELEASING),
        (Adopt(), states.RELEASING),
        (Abort("the window has closed"), states.ABORTING),
        (Finish(), states.FINISHED),
    ],
)
def test_the_machine_is_in_one_state_at_a_time(scrape, step, state):
    scrape.metrics.show(Reboot(), QUIET)
    scrape.metrics.show(step, QUIET)
    assert scrape.labelled("state") == {each: float(each == state) for each in states.ALL}


def test_a_reason_to_wait_is_shown_with_its_end_and_goes_with_the_wait(scrape):
    scrape.metrics.show(Wait("window", "outside the reboot window", LATER), QUIET)
    assert waits(scrape) == {"window"}
    assert scrape.value("wait_until_timestamp_seconds") == LATER.timestamp()

    scrape.metrics.show(Wait("slot", "no slot is free"), QUIET)
    assert waits(scrape) == {"slot"}
    assert scrape.value("wait_until_timestamp_seconds") == 0

    scrape.metrics.show(Idle(), QUIET)
    assert waits(scrape) == set()


def waits(scrape: Scrape) -> set[str]:
    return {reason for reason, value in scrape.labelled("waiting").items() if value}


def test_every_reason_is_there_before_it_holds_and_stays_after_it(scrape):
    before = scrape.labelled("waiting")
    assert before == dict.fromkeys(REASONS, 0.0)
    scrape.metrics.show(Wait("window", "outside the reboot window", LATER), QUIET)
    scrape.metrics.show(Idle(), QUIET)
    assert scrape.labelled("waiting") == before


def test_a_new_attempt_after_an_error_leaves_its_reason_until_it_succeeds(scrape):
    hung = Wait("store", "etcd does not answer")
    for step in (Request(), Abort("the window has closed")):
        scrape.metrics.show(hung, QUIET)
        scrape.now += 60
        scrape.metrics.show(Wait("timeout", "request took longer than 90 s"), QUIET)
        scrape.metrics.show(step, QUIET)
        assert waits(scrape) == {"timeout"}
        assert scrape.value("failing_since_timestamp_seconds") == BEGIN
    scrape.metrics.performed(step)
    assert waits(scrape) == set()
    assert scrape.value("failing_since_timestamp_seconds") == 0


def test_an_answer_that_is_no_error_ends_a_failure(scrape):
    scrape.metrics.show(Wait("store", "etcd does not answer"), QUIET)
    scrape.metrics.show(Wait("slot", "no slot is free"), QUIET)
    assert scrape.value("failing_since_timestamp_seconds") == 0
    scrape.metrics.show(Wait("store", "etcd does not answer"), QUIET)
    scrape.metrics.show(Idle(), QUIET)
    assert scrape.value("failing_since_timestamp_seconds") == 0


def test_who_asks_again_for_a_slot_still_waits_for_it(scrape):
    scrape.metrics.show(Wait("halt", "the group is halted"), QUIET)
    scrape.metrics.show(Request(), QUIET)
    assert waits(scrape) == {"halt"}
    scrape.metrics.show(Run(Stage.CHECKS), replace(QUIET, answer=Granted()))
    assert waits(scrape) == set()


def test_a_gate_that_is_asked_again_still_blocks(scrape):
    scrape.metrics.show(Wait("alerts", "an alert fires"), QUIET)
    scrape.metrics.show(Run(Stage.CHECKS), QUIET)
    assert waits(scrape) == {"alerts"}
    scrape.metrics.show(Run(Stage.HEALTH), QUIET)
    assert waits(scrape) == set()


def test_it_is_shown_since_when_a_reboot_is_needed(scrape):
    earlier = RebootNeed("kernel", "6.1", NOW - timedelta(days=8))
    scrape.metrics.show(Request(), replace(QUIET, needs=(NEED, earlier)))
    assert scrape.value("wanted_since_timestamp_seconds") == earlier.since.timestamp()
    scrape.metrics.show(Idle(), QUIET)
    assert scrape.value("wanted_since_timestamp_seconds") == 0


def test_every_series_says_of_which_group_strategy_and_dry_run_it_is():
    registry = CollectorRegistry()
    Metrics(registry, Identity("web", "etcd-lock", dry_run=True))
    own = {"group": "web", "strategy": "etcd-lock", "dry_run": "true"}
    assert registry.get_sample_value("locksmith_info", own) == 1


def test_every_counter_is_there_before_it_counts(scrape):
    assert {scrape.value("errors_total", component=component) for component in ERRORS} == {0}
    assert {scrape.value("reboots_total", result=result) for result in ("completed", "failed")} == {0}


@pytest.mark.parametrize("component", ERRORS)
def test_a_wait_that_is_an_error_is_counted_each_time(scrape, component):
    for _ in range(2):
        scrape.metrics.show(Wait(component, "it did not work"), None)
    assert scrape.value("errors_total", component=component) == 2


def test_an_ordinary_wait_is_no_error(scrape):
    scrape.metrics.show(Wait("slot", "no slot is free"), QUIET)
    assert {scrape.value("errors_total", component=component) for component in ERRORS} == {0}


def kinds_of(error):
    return {error}.union(*map(kinds_of, error.__subclasses__()))


def test_every_error_of_the_loop_is_counted_by_what_failed():
    assert {kind.component for kind in kinds_of(LocksmithError)} <= {*ERRORS}
    assert errors.NoAnswerError.component == "bus"


def test_reboots_are_counted_when_they_are_over(scrape):
    scrape.metrics.show(Release(), QUIET)
    assert scrape.value("reboots_total", result="completed") == 0

    scrape.metrics.performed(Release())
    scrape.metrics.performed(Abort("logind refused", failed=True))
    scrape.metrics.performed(Abort("the window has closed"))
    assert scrape.value("reboots_total", result="completed") == 1
    assert scrape.value("reboots_total", result="failed") == 1


@pytest.mark.parametrize(
    ("entry", "answer", "held"),
    [
        (None, None, 0),
        (ENTRY, None, 0),
        (ENTRY, Denied("slot", "no slot is free"), 0),
        (ENTRY, Granted(), 1),
        (replace(ENTRY, phase=Phase.COMMITTED), None, 1),
    ],
)
def test_the_lock_counts_as_held_from_the_permission_to_the_give_back(scrape, entry, answer, held):
    scrape.metrics.show(Request(), replace(QUIET, journal=Journal(entry), answer=answer))
    assert scrape.value("lock_held") == held


def test_a_wish_the_window_and_the_loops_last_turn_are_shown(scrape):
    wanted = replace(QUIET, needs=(NEED,), window=WindowSight(original("14:00", "1h")))
    scrape.metrics.show(Wait("window", "outside the reboot window", LATER), wanted)
    assert scrape.value("reboot_needed") == 1
    assert scrape.value("next_window_timestamp_seconds") == LATER.timestamp()
    assert scrape.value("last_cycle_timestamp_seconds") == NOW.timestamp()

    scrape.metrics.show(Idle(), QUIET)
    assert scrape.value("reboot_needed") == 0
    assert scrape.value("next_window_timestamp_seconds") == 0


def test_a_turn_that_could_not_look_leaves_what_was_seen_before(scrape):
    scrape.metrics.show(Request(), replace(QUIET, needs=(NEED,)))
    scrape.metrics.show(Wait("host", "the boot id cannot be read"), None)
    assert scrape.value("reboot_needed") == 1
    assert scrape.value("last_cycle_timestamp_seconds") == NOW.timestamp()
