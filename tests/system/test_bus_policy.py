"""The bus policy: a needed reboot is root's to announce."""

from pathlib import Path

from tests.harness.machines import Machine
from tests.system.layers import Layers, NewMachine


def heard(machine: Machine, *users: str) -> list[str]:
    """Who of these users gets a "reboot needed" across, asked one after another."""
    machine.write("root/hear_status.py", Path(__file__).with_name("hear_status.py").read_text())
    return machine.run("/opt/locksmith/bin/python", "/root/hear_status.py", *users).stdout.split()


def booted(machine: Machine) -> Machine:
    machine.start()
    machine.wait_booted()
    return machine


def test_the_stock_bus_delivers_what_any_user_claims(new_machine: NewMachine, bare: Layers) -> None:
    machine = booted(new_machine("m1", bare))

    assert heard(machine, "nobody", "root") == ["nobody", "root"]


def test_with_the_policy_only_root_is_heard(new_machine: NewMachine, installed: Layers) -> None:
    machine = booted(new_machine("m1", installed))

    assert heard(machine, "nobody", "root") == ["root"]
    assert "com.coreos.update1.locksmith.conf" not in machine.journal("_COMM=dbus-daemon")


def test_send_need_reboot_counts_from_root_alone(new_machine: NewMachine, installed: Layers) -> None:
    machine = new_machine("m1", installed)
    machine.write("etc/locksmith/locksmith.toml", "dry-run = true\nmetrics.enabled = false\n")
    booted(machine)

    nobodys = machine.run(
        "setpriv", "--reuid=nobody", "--clear-groups", "locksmithctl", "send-need-reboot", check=False
    )
    roots = machine.run("locksmithctl", "send-need-reboot")

    assert "only root may ask this, as polkit does not answer" in nobodys.stderr
    assert roots.stderr == ""
