"""The log in a real system journal: its fields, its events and their explanations, on machines that reboot."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from locksmith.agent import events
from locksmith.errors import ConflictError
from locksmith.lock.records import incident, keys, node
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.node import Node
from locksmith.store.connect import open_store
from tests.harness.etcd import Etcd
from tests.harness.image import REPOSITORY
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.system.layers import Layers, NewMachine

GROUP = "web"
LIMIT = 150.0
"""Seconds: after a failed write a machine shows nothing for 20 s, and its heartbeats are 30 s apart."""
HOOK = "etc/locksmith/pre-reboot.d/10-wait"
DOCS = (REPOSITORY / "docs/journal.md").read_text()
COMMANDS = [line.partition("#")[0].strip() for line in DOCS.partition("```sh\n")[2].partition("```")[0].splitlines()]
"""The commands of docs/journal.md."""
NOW = datetime.now(UTC).replace(microsecond=0)
CLAIM = Claim("2" * 32, REBOOT, "a nonce", NOW, who=DAEMON, hostname="n2")
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
    # An order for a group that nothing uses needs --yes.
    wait_until(lambda: "m1" in machine.run("locksmithctl", "nodes").stdout, limit=LIMIT, what="its group sees it")
    return machine


def of(machine: Machine, event: events.Event) -> list[dict[str, str]]:
    return machine.records(LOG, f"MESSAGE_ID={event.message_id}")


def code_of(machine: Machine) -> str:
    """Give the reason to wait that the daemon tells on the bus."""
    said = json.loads(machine.run("busctl", "--json=short", "call", *SERVICE, "Status").stdout)
    return str(json.loads(said["data"][0])["code"])


def wait_for(machine: Machine, event: events.Event) -> dict[str, str]:
    wait_until(lambda: bool(of(machine, event)), limit=LIMIT, what=f"{machine.name} logs {event.name}")
    return of(machine, event)[-1]


def test_a_rollout_is_in_the_journal_event_by_event_with_explanations(machine: Machine) -> None:
    forged = f"MESSAGE_ID={events.RELEASED.message_id}"
    forge = ("setpriv", "--reuid=nobody", "--clear-groups", "sh", "-c")
    machine.run(*forge, f"printf 'MESSAGE=forged\\n{forged}\\nLOCKSMITH_EVENT=released\\n' | logger --journald")
    wait_until(lambda: bool(machine.records(forged)), limit=LIMIT, what="another user writes such a record")
    assert of(machine, events.RELEASED) == []

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
    assert [record for record in machine.records("_COMM=locksmithd") if "LOCKSMITH_GROUP" not in record] == []
    about = {(record["LOCKSMITH_GROUP"], record["LOCKSMITH_MACHINE"]) for record in machine.records("_COMM=locksmithd")}
    assert about <= {(GROUP, machine.id)}
    for line in COMMANDS:
        assert machine.run("sh", "-c", f"{line} --no-pager").stdout.strip(), line
    # The last words of a daemon that ends are the unit's too.
    machine.run("systemctl", "stop", "locksmithd.service")
    machine.run("journalctl", "--sync")  # journald reads them when the daemon has ended
    assert machine.records(LOG)[-1]["MESSAGE"].startswith("stopping;")
    assert all(record["_TRANSPORT"] == "journal" for record in machine.records(LOG))


def test_what_blocks_a_machine_is_in_the_journal(machine: Machine, etcd: Etcd) -> None:
    machine.write(HOOK, "#!/bin/sh\nexec sleep 600\n")
    machine.run("chmod", "+x", f"/{HOOK}")
    machine.run("locksmithctl", "hold", machine.id, "--reason", "a demo")
    machine.run("locksmithctl", "request", "--reason", "a test")
    wait_for(machine, events.HELD_BACK)

    write(etcd, keys.incidents_key(GROUP), incident.encode([Incident(CLAIM, "expired", "it was lost")]))
    machine.run("locksmithctl", "unhold", machine.id)
    assert "n2" in wait_for(machine, events.HALTED)["LOCKSMITH_REASON"]

    machine.run("locksmithctl", "resume")
    wait_for(machine, events.SLOT_TAKEN)
    machine.run("locksmithctl", "unlock", machine.id)
    machine.run("locksmithctl", "recheck")
    assert "operator" in wait_for(machine, events.SLOT_LOST)["LOCKSMITH_REASON"]
    wait_for(machine, events.ABORTED)
    wait_until(lambda: code_of(machine) == "retry", limit=LIMIT, what="the aborted slot is released in etcd too")

    etcd.members[0].freeze()
    machine.run("locksmithctl", "recheck")
    wait_for(machine, events.STORE_AWAY)
    etcd.members[0].thaw()
    wait_until(lambda: len(of(machine, events.SLOT_TAKEN)) > 1, limit=LIMIT, what="the machine has a slot again")

    # The machine finds the copy at its next write, so it needs news.
    copy = Node(machine.id, "copy", "another boot", GROUP, "etcd-lock", "idle", NOW, hardware="another")
    write(etcd, keys.node_key(GROUP, machine.id), node.encode(copy))
    machine.run("locksmithctl", "cancel")
    wait_until(lambda: len(of(machine, events.ABORTED)) > 1, limit=LIMIT, what="the machine aborts")
    machine.run("locksmithctl", "request", "--reason", "once more")
    assert "copy" in wait_for(machine, events.CLONE)["LOCKSMITH_REASON"]
    shown = machine.run("journalctl", "-x", "--no-pager", f"MESSAGE_ID={events.CLONE.message_id}").stdout
    assert f"Two machines have the machine-id {machine.id}" in shown


def write(etcd: Etcd, key: str, value: bytes) -> None:
    """Write a value as another machine of the group would."""

    async def story() -> None:
        store = open_store(etcd.settings())
        try:
            while True:
                with suppress(ConflictError):  # the machine itself has just written
                    await store.swap(key, value, (await store.get(key)).version, ttl=600)
                    return
        finally:
            await store.close()

    asyncio.run(story())


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
