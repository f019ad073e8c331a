"""The log in a real system journal: its fields, its events and their explanations, on machines that reboot."""

import json
from collections.abc import Iterator

import pytest

from locksmith.agent import events
from tests.harness.etcd import Etcd
from tests.harness.image import REPOSITORY
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.system.layers import Layers, NewMachine

GROUP = "web"
LIMIT = 60.0
CALLS = 60
SERVICE = ("org.locksmith1", "/org/locksmith1", "org.locksmith1.Manager")
LOG = "_SYSTEMD_UNIT=locksmithd.service"


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd() as server:
        yield server


@pytest.fixture
def machine(new_machine: NewMachine, installed: Layers, etcd: Etcd) -> Machine:
    """A machine of a group with one slot, whose daemon must be healthy five seconds after a reboot."""
    machine = new_machine("m1", installed)
    machine.write(
        "usr/lib/systemd/catalog/locksmith.catalog", (REPOSITORY / "contrib/systemd/locksmith.catalog").read_text()
    )
    machine.write(
        "etc/locksmith/locksmith.toml",
        f"""
        strategy = "etcd-lock"
        group = "{GROUP}"
        etcd.endpoints = {json.dumps(etcd.endpoints)}
        metrics.enabled = false
        health.limit = "1s"
        """,
    )
    machine.start()
    machine.wait_booted()
    machine.run("journalctl", "--update-catalog")
    return machine


def of(machine: Machine, event: events.Event) -> list[dict[str, str]]:
    return machine.records(f"MESSAGE_ID={event.message_id}")


def code_of(machine: Machine) -> str:
    """Give the reason to wait that the daemon tells on the bus."""
    said = json.loads(machine.run("busctl", "--json=short", "call", *SERVICE, "Status").stdout)
    return str(json.loads(said["data"][0])["code"])


def wait_for(machine: Machine, event: events.Event) -> dict[str, str]:
    wait_until(lambda: bool(of(machine, event)), limit=LIMIT, what=f"{machine.name} logs {event.name}")
    return of(machine, event)[-1]


def test_a_rollout_is_in_the_journal_event_by_event_with_explanations(machine: Machine) -> None:
    machine.run("locksmithctl", "freeze", "--reason", "password=hunter2 disks move")
    machine.run("locksmithctl", "request", "--reason", "a test")
    frozen = wait_for(machine, events.FROZEN)
    assert frozen["LOCKSMITH_EVENT"] == "frozen"
    assert frozen["LOCKSMITH_CODE"] == "freeze"
    assert "password=*** disks move" in frozen["MESSAGE"]
    assert "hunter2" not in str(machine.records(LOG))

    machine.write(
        "etc/systemd/system/sick.service", "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"
    )
    machine.run("systemctl", "enable", "sick.service")
    machine.run("locksmithctl", "thaw")
    machine.wait_booted(boots=2)
    unhealthy = wait_for(machine, events.UNHEALTHY)
    assert (unhealthy["PRIORITY"], unhealthy["SYSLOG_IDENTIFIER"]) == ("3", "locksmithd")
    assert "sick.service" in unhealthy["LOCKSMITH_REASON"]
    machine.run("systemctl", "disable", "sick.service")
    machine.run("systemctl", "reset-failed")
    machine.run("locksmithctl", "resume")
    wait_for(machine, events.RELEASED)

    found = [record["LOCKSMITH_EVENT"] for record in machine.records(LOG) if "LOCKSMITH_EVENT" in record]
    assert list(dict.fromkeys(found)) == ["frozen", "slot-taken", "unblocked", "committed", "unhealthy", "released"]
    for event in found:
        message_id = next(one.message_id for one in events.EVENTS if one.name == event)
        shown = machine.run("journalctl", "-x", "--no-pager", f"MESSAGE_ID={message_id}").stdout
        assert "Defined-By: locksmith" in shown
        assert "@LOCKSMITH" not in shown
    about = {(record["LOCKSMITH_GROUP"], record["LOCKSMITH_MACHINE"]) for record in machine.records("_COMM=locksmithd")}
    assert about <= {(GROUP, machine.id)}
    # The last words of a daemon that ends are the unit's too.
    machine.run("systemctl", "stop", "locksmithd.service")
    assert machine.records(LOG)[-1]["MESSAGE"].startswith("stopping;")
    assert all(record["_TRANSPORT"] == "journal" for record in machine.records(LOG))


def test_a_journald_that_hangs_delays_nothing_and_misses_no_line(machine: Machine) -> None:
    machine.run("locksmithctl", "lock", "other")
    machine.run("systemctl", "kill", "--signal=STOP", "systemd-journald.service")
    try:
        # More records than the socket takes: the others go to standard error, which systemd gives 8 MB of buffer.
        ask = f"busctl call {' '.join(SERVICE)} Request s call-$i"
        machine.run("sh", "-c", f"for i in $(seq {CALLS}); do {ask} || exit 1; done", limit=LIMIT)
        wait_until(lambda: code_of(machine) == "queue", limit=LIMIT, what="the daemon queues for a slot")
    finally:
        machine.run("systemctl", "kill", "--signal=CONT", "systemd-journald.service")
    wait_until(lambda: f": call-{CALLS}" in machine.journal(LOG), limit=LIMIT, what="journald has read everything")
    asked = [record for record in machine.records(LOG) if ": call-" in record["MESSAGE"]]
    assert sorted(int(record["MESSAGE"].rpartition("-")[2]) for record in asked) == list(range(1, CALLS + 1))
    assert {record["_TRANSPORT"] for record in asked} == {"journal", "stdout"}
    assert {record["PRIORITY"] for record in asked} == {"6"}
