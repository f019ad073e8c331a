"""The service as systemd sees it: how it starts, stops and fails, and what it is kept from."""

import re
import time

import pytest

from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.system.layers import Layers, NewMachine

UNIT = "locksmithd.service"
CONFIG = "etc/locksmith/locksmith.toml"


@pytest.fixture
def machine(new_machine: NewMachine, installed: Layers) -> Machine:
    """A machine with locksmith that is off: each test configures it first."""
    machine = new_machine("m1", installed)
    machine.write(CONFIG, "metrics.enabled = false\n")
    return machine


def boot(machine: Machine) -> None:
    machine.start()
    machine.wait_booted()


def shown(machine: Machine, name: str) -> str:
    """A property of the unit."""
    return machine.run("systemctl", "show", UNIT, "--value", f"--property={name}").stdout.strip()


def test_it_is_active_once_it_said_so_and_watched_from_then_on(machine: Machine) -> None:
    boot(machine)

    assert (shown(machine, "Type"), shown(machine, "ActiveState")) == ("notify", "active")
    assert shown(machine, "WatchdogUSec") == "3min"
    assert int(shown(machine, "WatchdogTimestampMonotonic")) > 0
    assert shown(machine, "StatusText")
    assert shown(machine, "NRestarts") == "0"
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"


def test_its_hardening_satisfies_systemd(machine: Machine) -> None:
    boot(machine)

    verdict = machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout.splitlines()[-1]

    found = re.search(r"level for locksmithd.service: ([\d.]+) (\w+)", verdict)
    assert found, verdict
    assert found[2] == "OK"
    assert float(found[1]) <= 2.0


def test_systemd_finds_nothing_wrong_with_the_unit(machine: Machine) -> None:
    boot(machine)

    assert machine.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{UNIT}").stderr == ""


def test_it_tells_the_login_shells_who_coordinates_reboots(machine: Machine) -> None:
    boot(machine)

    coordinator = machine.run("cat", "/run/update-engine/coordinator.conf").stdout.splitlines()

    assert "NAME=locksmithd" in coordinator
    assert "STRATEGY=reboot" in coordinator
    assert machine.run("setpriv", "--reuid=nobody", "cat", "/run/update-engine/coordinator.conf").stdout


def test_it_stops_within_seconds(machine: Machine) -> None:
    boot(machine)

    began = time.monotonic()
    machine.run("systemctl", "stop", UNIT)

    assert time.monotonic() - began < 10.0
    assert (shown(machine, "ActiveState"), shown(machine, "Result")) == ("inactive", "success")


def test_after_a_crash_it_is_started_again(machine: Machine) -> None:
    boot(machine)
    first = shown(machine, "MainPID")

    machine.run("systemctl", "kill", "--signal=KILL", UNIT)

    wait_until(lambda: shown(machine, "NRestarts") == "1", limit=20, what="systemd starts it again")
    wait_until(lambda: shown(machine, "ActiveState") == "active", limit=20, what="it is active again")
    assert shown(machine, "MainPID") != first


def test_a_configuration_that_cannot_be_used_is_said_once_and_not_tried_again(machine: Machine) -> None:
    machine.write(CONFIG, 'strategy = "etcd-luck"\n')
    boot(machine)

    assert (shown(machine, "ActiveState"), shown(machine, "ExecMainStatus")) == ("failed", "2")
    assert shown(machine, "NRestarts") == "0"
    said = machine.journal("_SYSTEMD_UNIT=locksmithd.service")
    assert "etcd-luck" in said
    assert "Traceback" not in said


def test_under_off_it_ends_well_and_stays_off(machine: Machine) -> None:
    machine.write("etc/flatcar/update.conf", "REBOOT_STRATEGY=off\n")
    boot(machine)

    wait_until(lambda: shown(machine, "ActiveState") == "inactive", limit=20, what="it ends")
    assert (shown(machine, "Result"), shown(machine, "NRestarts")) == ("success", "0")


def test_the_later_of_the_original_s_files_wins(machine: Machine) -> None:
    machine.write("usr/share/flatcar/update.conf", "REBOOT_STRATEGY=etcd-lock\n")
    machine.write("etc/flatcar/update.conf", "REBOOT_STRATEGY=reboot\n")
    boot(machine)

    assert "STRATEGY=reboot" in machine.run("cat", "/run/update-engine/coordinator.conf").stdout


def test_an_operators_wish_outlives_a_restart_of_the_daemon(machine: Machine) -> None:
    machine.write(CONFIG, "metrics.enabled = false\ndry-run = true\n")
    boot(machine)

    machine.run("locksmithctl", "send-need-reboot")
    wait_until(lambda: "DRY RUN" in shown(machine, "StatusText"), limit=10, what="the daemon has the wish")
    machine.run("systemctl", "restart", UNIT)

    wait_until(lambda: "DRY RUN" in shown(machine, "StatusText"), limit=10, what="the daemon still has the wish")


def test_a_restart_is_no_failure_and_its_signal_alone_stops_nothing(machine: Machine) -> None:
    boot(machine)
    machine.run("systemctl", "restart", UNIT)
    assert (shown(machine, "ActiveState"), shown(machine, "NRestarts")) == ("active", "0")
    log = machine.journal(f"UNIT={UNIT}")
    assert "Stopped" in log
    assert "Failed" not in log

    before = shown(machine, "MainPID")
    machine.run("systemctl", "kill", "--signal=USR1", "--kill-who=main", UNIT)
    wait_until(lambda: shown(machine, "MainPID") not in {before, "0"}, limit=20, what="it is started again")
    wait_until(lambda: shown(machine, "ActiveState") == "active", limit=20, what="it is active again")
    assert machine.run("systemctl", "is-failed", UNIT, check=False).stdout == "active\n"
