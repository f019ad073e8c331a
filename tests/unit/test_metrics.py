"""What Prometheus sees of the loop, and how it gets to see it."""

import gc
import ssl
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, start_http_server

from locksmith import states
from locksmith.config import MetricsSettings
from locksmith.errors import LocksmithError
from locksmith.fleet import REBOOT, Claim
from locksmith.host import bus_errors
from locksmith.metrics import Metrics
from locksmith.snapshot import (
    Boot,
    Denied,
    Granted,
    Journal,
    JournalEntry,
    Phase,
    Settings,
    Snapshot,
    WindowSight,
    Wish,
)
from locksmith.states import ERRORS
from locksmith.steps import Adopt, Commit, Finish, Idle, Reboot, Release, Request, Wait, Withdraw
from tests.harness.certificates import Authority
from tests.harness.ports import free_ports
from tests.harness.windows import original

NOW = datetime(2026, 5, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
BOOT = Boot("b1")
ENTRY = JournalEntry(
    claim=Claim("m1", REBOOT, "n1", NOW),
    strategy="etcd-lock",
    group="",
    api=3,
    endpoints=("http://127.0.0.1:2379",),
    phase=Phase.REQUESTED,
    boot=BOOT,
    by="locksmithd",
)
WISH = Wish("update-engine", "4081.2.0", NOW)
QUIET = Snapshot(NOW, BOOT, Settings())


class Scrape:
    """The metrics with a registry of their own, read as Prometheus would."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

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
        (Withdraw("the window has closed"), states.WITHDRAWING),
        (Finish(), states.FINISHED),
    ],
)
def test_the_machine_is_in_one_state_at_a_time(scrape, step, state):
    scrape.metrics.show(Reboot(), QUIET)
    scrape.metrics.show(step, QUIET)
    assert scrape.labelled("state") == {each: float(each == state) for each in states.ALL}


def test_a_reason_to_wait_is_shown_with_its_end_and_goes_with_the_wait(scrape):
    scrape.metrics.show(Wait("window", "outside the reboot window", LATER), QUIET)
    assert scrape.labelled("waiting") == {"window": 1}
    assert scrape.value("wait_until_timestamp_seconds") == LATER.timestamp()

    scrape.metrics.show(Wait("slot", "no slot is free"), QUIET)
    assert scrape.labelled("waiting") == {"slot": 1}
    assert scrape.value("wait_until_timestamp_seconds") == 0

    scrape.metrics.show(Idle(), QUIET)
    assert scrape.labelled("waiting") == {}


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
    assert bus_errors.NoAnswerError.component == "bus"


def test_reboots_are_counted_when_they_are_over(scrape):
    scrape.metrics.show(Release(), QUIET)
    assert scrape.value("reboots_total", result="completed") == 0

    scrape.metrics.performed(Release())
    scrape.metrics.performed(Withdraw("logind refused", failed=True))
    scrape.metrics.performed(Withdraw("the window has closed"))
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
    wanted = replace(QUIET, wishes=(WISH,), window=WindowSight(original("14:00", "1h")))
    scrape.metrics.show(Wait("window", "outside the reboot window", LATER), wanted)
    assert scrape.value("reboot_needed") == 1
    assert scrape.value("next_window_timestamp_seconds") == LATER.timestamp()
    assert scrape.value("last_turn_timestamp_seconds") == NOW.timestamp()

    scrape.metrics.show(Idle(), QUIET)
    assert scrape.value("reboot_needed") == 0
    assert scrape.value("next_window_timestamp_seconds") == 0


def test_a_turn_that_could_not_look_leaves_what_was_seen_before(scrape):
    scrape.metrics.show(Request(), replace(QUIET, wishes=(WISH,)))
    scrape.metrics.show(Wait("host", "the boot id cannot be read"), None)
    assert scrape.value("reboot_needed") == 1
    assert scrape.value("last_turn_timestamp_seconds") == NOW.timestamp()


@pytest.fixture
def servers(monkeypatch):
    """The servers that were started, each stopped at the end."""
    started = []

    def start(*args, **options):
        started.append(start_http_server(*args, **options))
        return started[-1]

    monkeypatch.setattr("locksmith.metrics.start_http_server", start)
    yield started
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


def read(url, context=None):
    with urllib.request.urlopen(url, timeout=5, context=context) as answer:
        return answer.read().decode()


@pytest.mark.usefixtures("servers")
def test_the_metrics_are_served(scrape):
    [port] = free_ports(1)
    scrape.metrics.serve(MetricsSettings(port=port))
    scrape.metrics.show(Idle(), QUIET)
    assert 'locksmith_state{state="idle"} 1.0\n' in read(f"http://127.0.0.1:{port}/metrics")


@pytest.mark.usefixtures("servers")
def test_the_metrics_are_served_with_tls(scrape, tmp_path):
    authority, [port] = Authority(tmp_path), free_ports(1)
    pair = authority.issue("metrics")
    scrape.metrics.serve(MetricsSettings(port=port, certfile=pair.cert, keyfile=pair.key))
    trusting = ssl.create_default_context(cafile=authority.cert)
    assert "locksmith_build_info{version=" in read(f"https://127.0.0.1:{port}/metrics", trusting)


def test_a_port_that_is_taken_is_logged_and_not_fatal(servers, caplog):
    [port] = free_ports(1)
    Scrape().metrics.serve(MetricsSettings(port=port))
    Scrape().metrics.serve(MetricsSettings(port=port))
    assert len(servers) == 1
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.message.startswith(f"metrics are not served: 127.0.0.1:{port}: ")


@pytest.mark.parametrize("address", ["256.0.0.1", "192.0.2.1"])
def test_an_address_that_is_not_this_machines_is_logged_and_not_fatal(scrape, servers, caplog, address):
    scrape.metrics.serve(MetricsSettings(address=address, port=0))
    assert servers == []
    assert f"metrics are not served: {address}:0" in caplog.text


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the library leaves its socket to the collector
def test_a_certificate_that_is_none_is_logged_and_not_fatal(scrape, servers, caplog, tmp_path):
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    [port] = free_ports(1)
    scrape.metrics.serve(MetricsSettings(port=port, certfile=text, keyfile=text))
    gc.collect()
    assert servers == []
    assert "metrics are not served" in caplog.text


def test_nothing_listens_where_metrics_are_off(scrape, servers):
    scrape.metrics.serve(MetricsSettings(enabled=False))
    assert servers == []
