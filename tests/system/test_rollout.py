"""The main job: a fleet that reboots one machine at a time, while etcd's leader dies."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from locksmith.keys import semaphore_key
from tests.harness.etcd import Etcd
from tests.harness.machines import STARTS_A_UNIT, Machine, Outage
from tests.harness.ports import free_ports
from tests.harness.room import wait_until
from tests.system.conftest import Layers, NewMachine

GROUP = "web"
ROLLOUT_LIMIT = 90.0
"""Seconds for three reboots and an election; a few are enough on an idle host."""


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(members=3) as cluster:
        yield cluster


@pytest.fixture
def fleet(new_machine: NewMachine, installed: Layers, etcd: Etcd) -> list[Machine]:
    """Three machines, booted, of one group that can spare one of them."""
    machines = [new_machine(name, installed) for name in ("m1", "m2", "m3")]
    for machine, port in zip(machines, free_ports(len(machines)), strict=True):
        machine.write("etc/locksmith/locksmith.toml", configuration(etcd, metrics_port=port))
        machine.start()
    for machine in machines:
        machine.wait_booted()
    return machines


def configuration(etcd: Etcd, *, metrics_port: int) -> str:
    return f"""
        strategy = "etcd-lock"
        group = "{GROUP}"
        etcd.endpoints = {json.dumps(etcd.endpoints)}
        metrics.port = {metrics_port}
    """


def test_three_machines_reboot_one_by_one_through_a_leaders_death(fleet: list[Machine], etcd: Etcd) -> None:
    first_boots = {machine.name: machine.boot_id() for machine in fleet}

    ask_all_at_once(fleet)
    wait_until(lambda: any(machine.outages() for machine in fleet), limit=30, what="the first machine goes down")
    leader = etcd.leader()
    leader.kill()
    survivor = next(index for index, member in enumerate(etcd.members) if member is not leader)

    for machine in fleet:
        machine.wait_booted(boots=2, limit=ROLLOUT_LIMIT)
    wait_until(lambda: not holders_over_time(etcd, survivor)[-1], limit=30, what="the last one gives its slot back")
    assert all(len(machine.boot_ids()) == 2 for machine in fleet)
    assert all(machine.boot_id() != first_boots[machine.name] for machine in fleet)
    outages = sorted((outage for machine in fleet for outage in outages_of(machine)), key=lambda one: one.begins)
    assert len(outages) == 3
    assert all(earlier.ends < later.begins for earlier, later in pairwise(outages))
    holders = holders_over_time(etcd, survivor)
    assert max(map(len, holders)) == 1
    names = {machine.id: machine.name for machine in fleet}
    for m in fleet: print(m.name, [(o.begins,o.ends) for o in outages_of(m)], m.outages(), m.boots)
    print(holders)
    print(fleet[0].journal("_SYSTEMD_UNIT=locksmithd.service"),fleet[1].journal("_SYSTEMD_UNIT=locksmithd.service"),fleet[2].journal("_SYSTEMD_UNIT=locksmithd.service"))
    assert last_holds([names[holder] for held in holders for holder in held]) == [one.machine for one in outages]


def last_holds(names: list[str]) -> list[str]:
    """Each name once, in the order of when it held last: an election may make a machine give up and try again."""
    return list(dict.fromkeys(reversed(names)))[::-1]


def ask_all_at_once(fleet: list[Machine]) -> None:
    with ThreadPoolExecutor(len(fleet)) as pool:
        list(pool.map(lambda machine: machine.run("locksmithctl", "send-need-reboot"), fleet))


def outages_of(machine: Machine) -> list[Outage]:
    """From logind's last word to the moment before the daemon starts, which alone gives the slot back."""
    return machine.outages(f"MESSAGE_ID={STARTS_A_UNIT}", "UNIT=locksmithd.service")


def holders_over_time(etcd: Etcd, member: int) -> list[list[str]]:
    """Every list of holders the semaphore ever had, from etcd's own history, the oldest first."""
    history: list[list[str]] = []
    revision = 0
    while entry := semaphore_at(etcd, member, revision):
        history.insert(0, json.loads(base64.b64decode(entry["value"]))["holders"] or [])
        if entry["mod_revision"] == entry["create_revision"]:
            break
        revision = int(entry["mod_revision"]) - 1
    return history


def semaphore_at(etcd: Etcd, member: int, revision: int) -> dict[str, str] | None:
    """The semaphore as it was at a revision; 0: as it is."""
    key = base64.b64encode(semaphore_key(GROUP).encode()).decode()
    found: list[dict[str, str]] = etcd.call("/v3/kv/range", member=member, key=key, revision=revision).get("kvs", [])
    return found[0] if found else None
