"""The main job: a fleet that reboots one machine at a time, also while etcd's leader dies."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from locksmith.agent.events import RELEASED, SLOT_TAKEN, Event
from tests.harness.etcd import Etcd
from tests.harness.history import holders_over_time
from tests.harness.machine_pool import wait_until
from tests.harness.machines import STARTS_A_UNIT, Machine, Outage
from tests.harness.ports import free_ports
from tests.system.layers import Layers, NewMachine

GROUP = "web"
ROLLOUT_LIMIT = 90.0
"""Seconds for three reboots and an election; a few are enough on an idle host."""
SHORTEST_BACK_OFF = 5.0
"""Seconds: the original's waiters sleep for at least that long between two tries, and soon for minutes."""


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
    wait_until(
        lambda: holders_over_time(etcd, GROUP, member=survivor)[-1] == [], limit=30, what="the last slot is given back"
    )

    assert all(len(machine.boot_ids()) == 2 for machine in fleet)
    assert all(machine.boot_id() != first_boots[machine.name] for machine in fleet)
    outages = sorted((outage for machine in fleet for outage in outages_of(machine)), key=lambda one: one.begins)
    assert len(outages) == 3
    assert all(earlier.ends < later.begins for earlier, later in pairwise(outages))
    holders = holders_over_time(etcd, GROUP, member=survivor)
    assert max(map(len, holders)) == 1
    assert last_holds(fleet, holders) == [one.machine for one in outages]
    # The slot is free a moment before its machine has observed itself again.
    wait_until(lambda: all(is_idle(machine) for machine in fleet), limit=ROLLOUT_LIMIT, what="all machines are idle")


def test_the_slot_goes_on_sooner_than_anybody_who_polls_would_look(fleet: list[Machine], etcd: Etcd) -> None:
    machines = {machine.name: machine for machine in fleet}
    ask_all_at_once(fleet)
    for machine in fleet:
        machine.wait_booted(boots=2, limit=ROLLOUT_LIMIT)
    wait_until(lambda: holders_over_time(etcd, GROUP)[-1] == [], limit=30, what="the last slot is given back")

    outages = sorted((outage for machine in fleet for outage in outages_of(machine)), key=lambda one: one.begins)
    assert last_holds(fleet, holders_over_time(etcd, GROUP)) == [one.machine for one in outages]
    assert all(earlier.ends < later.begins for earlier, later in pairwise(outages))
    order = [machines[outage.machine] for outage in outages]
    # From one record to the other: a start of a daemon and a shutdown take as long as the host is busy.
    gaps = [logged(later, SLOT_TAKEN) - logged(earlier, RELEASED) for earlier, later in pairwise(order)]
    assert len(gaps) == 2
    assert all(gap < SHORTEST_BACK_OFF for gap in gaps), gaps


def ask_all_at_once(fleet: list[Machine]) -> None:
    with ThreadPoolExecutor(len(fleet)) as pool:
        list(pool.map(lambda machine: machine.run("locksmithctl", "send-need-reboot"), fleet))


def outages_of(machine: Machine) -> list[Outage]:
    """From logind's last word to the moment before the daemon starts, which alone gives the slot back.

    The end of the boot comes later than that, and the next machine may have the slot by then.
    """
    return machine.outages(f"MESSAGE_ID={STARTS_A_UNIT}", "UNIT=locksmithd.service")


def logged(machine: Machine, event: Event) -> float:
    """When the daemon logged an event last, in seconds; the log of a boot stays when the next has begun."""
    found = f"MESSAGE_ID={event.message_id}"
    wait_until(lambda: bool(machine.records(found)), limit=ROLLOUT_LIMIT, what=f"{machine.name} logs {event.name}")
    return int(machine.records(found)[-1]["__REALTIME_TIMESTAMP"]) / 1e6


def last_holds(fleet: list[Machine], holders: list[list[str]]) -> list[str]:
    """Each machine once, in the order of when it held last: an election may make one give up and try again."""
    names = {machine.id: machine.name for machine in fleet}
    held = [names[holder] for at_once in holders for holder in at_once]
    return list(dict.fromkeys(reversed(held)))[::-1]


def is_idle(machine: Machine) -> bool:
    status = machine.run("systemctl", "show", "locksmithd.service", "--value", "--property=StatusText").stdout
    return status.startswith("idle")
