"""One machine's slot, from the request to the proof that it has rebooted, when things go another way."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.etcd import Etcd
from tests.harness.history import holders_over_time
from tests.harness.machine_pool import wait_until
from tests.harness.machines import REBOOTED, Machine
from tests.system.layers import Layers, NewMachine

DELAY_LIMIT = 60
"""Seconds logind waits for an inhibitor: longer than any of these tests needs it, on the slowest host."""


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd() as server:
        yield server


@pytest.fixture
def machine(new_machine: NewMachine, installed: Layers) -> Machine:
    return new_machine("m1", installed)


def boot(machine: Machine, etcd: Etcd, strategy: str) -> None:
    config = f'strategy = "{strategy}"\nmetrics.enabled = false\netcd.endpoints = {json.dumps(etcd.endpoints)}\n'
    machine.write("etc/locksmith/locksmith.toml", config)
    machine.write("etc/systemd/logind.conf.d/delay.conf", f"[Login]\nInhibitDelayMaxSec={DELAY_LIMIT}\n")
    machine.start()
    machine.wait_booted()


def wait_released(etcd: Etcd) -> None:
    wait_until(lambda: holders_over_time(etcd)[-1] == [], limit=30, what="the slot is given back")


def test_a_machine_that_lost_its_power_on_the_way_down_gives_back_when_it_is_up(machine: Machine, etcd: Etcd) -> None:
    boot(machine, etcd, "etcd-lock")
    first = machine.boot_id()
    delay_shutdown(machine)

    machine.run("locksmithctl", "send-need-reboot")
    wait_until(lambda: is_preparing(machine), limit=30, what="logind has answered")
    machine.kill()
    held_while_off = holders_over_time(etcd)[-1]
    machine.start()
    machine.wait_booted(boots=2)

    wait_released(etcd)
    assert held_while_off == [machine.id]
    assert machine.boot_id() != first
    assert machine.boots[0].status != REBOOTED


def test_the_slot_stays_taken_while_an_inhibitor_delays_the_shutdown(machine: Machine, etcd: Etcd) -> None:
    """logind answers at once, and the machine looks alive and well for as long as the inhibitor lasts."""
    boot(machine, etcd, "etcd-lock")
    delay_shutdown(machine)

    machine.run("locksmithctl", "send-need-reboot")
    wait_until(lambda: is_preparing(machine), limit=30, what="logind has answered")
    machine.run("systemctl", "restart", "locksmithd.service")
    held_after_restart = holders_over_time(etcd)[-1]
    going_down_then = is_preparing(machine)
    machine.run("systemctl", "stop", "drain.service")
    machine.wait_booted(boots=2)

    wait_released(etcd)
    assert going_down_then
    assert held_after_restart == [machine.id]
    assert len(machine.boot_ids()) == 2


def test_an_operators_reboot_gives_its_slot_back_under_every_strategy(machine: Machine, etcd: Etcd) -> None:
    boot(machine, etcd, "off")
    wait_until(lambda: unit(machine, "ActiveState") == "inactive", limit=10, what="the daemon has nothing to do")

    # As the machine's own child: the last act of a shutdown waits ten seconds for a process that came from outside.
    machine.run("systemd-run", "locksmithctl", "reboot")
    machine.wait_booted(boots=2)

    wait_released(etcd)
    assert [machine.id] in holders_over_time(etcd)
    wait_until(lambda: unit(machine, "ActiveState") == "inactive", limit=10, what="the daemon ends")
    assert unit(machine, "Result") == "success"


def test_an_operators_reboot_does_not_wait_for_its_own_session(machine: Machine, etcd: Etcd) -> None:
    machine.write("etc/locksmith/locksmith.toml.d/sessions.toml", '[sessions]\ncount = "all"\ngrace = "20m"\n')
    boot(machine, etcd, "etcd-lock")

    machine.write("root/call_in_session.py", Path(__file__).with_name("call_in_session.py").read_text())
    in_session = ("/opt/locksmith/bin/python", "/root/call_in_session.py")
    machine.run("systemd-run", "--unit=login", *in_session, "locksmithctl", "reboot")
    machine.wait_booted(boots=2)

    wait_released(etcd)
    assert "New session" in machine.journal("_SYSTEMD_UNIT=systemd-logind.service")
    assert "logged in" not in machine.journal("_SYSTEMD_UNIT=login.service")


def test_the_tool_acts_on_the_group_that_a_drop_in_of_the_unit_names(machine: Machine, etcd: Etcd) -> None:
    dropin = "[Service]\nEnvironment=LOCKSMITHD_GROUP=worker\n"
    machine.write("etc/systemd/system/locksmithd.service.d/group.conf", dropin)
    boot(machine, etcd, "etcd-lock")

    as_nobody = ("setpriv", "--reuid=nobody", "--clear-groups")
    for who in ((), as_nobody):
        said = machine.run(*who, "locksmithctl", "status", "--json")
        assert (json.loads(said.stdout)["group"], said.stderr) == ("worker", "")
    refused = machine.run("locksmithctl", "-group=db", "reboot", check=False)
    assert (refused.returncode, "this machine's locksmithd has group worker" in refused.stderr) == (2, True)

    machine.run("systemctl", "stop", "locksmithd.service")
    assert json.loads(machine.run("locksmithctl", "status", "--json").stdout)["group"] == ""


def delay_shutdown(machine: Machine) -> None:
    """Keep logind from going on with a shutdown while the unit `drain` runs."""
    inhibit = ("systemd-inhibit", "--what=shutdown", "--mode=delay", "--who=test", "--why=draining")
    machine.run("systemd-run", "--unit=drain", *inhibit, "sleep", "infinity")
    wait_until(lambda: "draining" in inhibitors(machine), limit=10, what="the inhibitor is there")


def unit(machine: Machine, name: str) -> str:
    return machine.run("systemctl", "show", "locksmithd.service", "--value", f"--property={name}").stdout.strip()


def inhibitors(machine: Machine) -> str:
    return machine.run("systemd-inhibit", "--list", "--no-pager").stdout


def is_preparing(machine: Machine) -> bool:
    logind = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
    return machine.run("busctl", "get-property", *logind, "PreparingForShutdown").stdout == "b true\n"
