"""What only a newer systemd does (257): soft reboots, and inhibitors that stop root too."""

import json
from collections.abc import Iterator

import pytest

from tests.harness.etcd import Etcd
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.ports import free_ports
from tests.system.layers import Layers, NewMachine

LIMIT = 90.0
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(members=1) as cluster:
        yield cluster


@pytest.fixture
def machine(new_machine: NewMachine, trixie: Layers, etcd: Etcd) -> Machine:
    machine = new_machine("m1", trixie)
    [port] = free_ports(1)
    machine.write(
        "etc/locksmith/locksmith.toml",
        f'strategy = "etcd-lock"\netcd.endpoints = {json.dumps(etcd.endpoints)}\nmetrics.port = {port}\n',
    )
    machine.start()
    machine.wait_booted()
    return machine


def ctl(machine: Machine, *args: str) -> str:
    done = machine.run("locksmithctl", *args)
    return done.stdout + done.stderr


def status_text(machine: Machine) -> str:
    return machine.run("systemctl", "show", "locksmithd.service", "--value", "--property=StatusText").stdout.strip()


def says(machine: Machine, text: str) -> None:
    wait_until(
        lambda: text in machine.journal("_SYSTEMD_UNIT=locksmithd.service"), limit=LIMIT, what=f"{machine.name}: {text}"
    )


def userspace(machine: Machine) -> str:
    return machine.run("systemctl", "show", "--value", "--property=UserspaceTimestampMonotonic").stdout.strip()


def test_a_reboot_on_systemd_257(machine: Machine) -> None:
    ctl(machine, "send-need-reboot")
    machine.wait_booted(boots=2, limit=LIMIT)
    wait_until(lambda: "MACHINE ID" not in ctl(machine, "status"), limit=LIMIT, what="the slot is given back")


def test_an_inhibitor_that_stops_root_holds_the_reboot_back_before_the_lock(machine: Machine) -> None:
    machine.run(
        *("systemd-run", "--unit=backup", "systemd-inhibit", "--what=shutdown", "--who=backup", "--why=weekly backup"),
        *("--mode=block", "sleep", "1000"),
    )
    wait_until(lambda: "backup" in machine.run("systemd-inhibit", "--list").stdout, limit=LIMIT, what="it blocks")
    refused = machine.run("busctl", "call", *LOGIND, "Reboot", "b", "false", check=False)
    assert refused.returncode != 0, "root is stopped by it, too"
    ctl(machine, "send-need-reboot")
    says(machine, "waiting (inhibitor): shutdown is blocked by backup")
    assert "MACHINE ID" not in ctl(machine, "status")
    machine.run("systemctl", "stop", "backup")
    machine.wait_booted(boots=2, limit=LIMIT)


def test_a_soft_reboot_while_the_slot_is_held_is_a_boot_like_any_other(machine: Machine) -> None:
    """It keeps the kernel, its boot id and /run; a restart of the daemon, and of systemd itself, is none."""
    machine.write("etc/locksmith/pre-reboot.d/10-wait", "#!/bin/sh\nsleep 1000\n")
    (machine.root / "etc/locksmith/pre-reboot.d/10-wait").chmod(0o755)
    boot_id, before = machine.boot_id(), userspace(machine)
    ctl(machine, "send-need-reboot")
    says(machine, "waiting (hooks)")
    machine.run("systemctl", "daemon-reexec")
    machine.run("systemctl", "restart", "locksmithd.service")
    wait_until(
        lambda: status_text(machine).startswith("waiting (hooks)"), limit=LIMIT, what="it goes on after a restart"
    )
    (machine.root / "etc/locksmith/pre-reboot.d/10-wait").unlink()

    machine.run("systemctl", "soft-reboot", check=False)
    wait_until(lambda: _differs(machine, before), limit=LIMIT, what="userspace has started anew")
    says(machine, "rebooted and healthy: releasing the slot")
    assert machine.boot_id() == boot_id
    wait_until(lambda: status_text(machine).startswith("idle"), limit=LIMIT, what="the wish is fulfilled, it is idle")
    assert "MACHINE ID" not in ctl(machine, "status")


def _differs(machine: Machine, before: str) -> bool:
    try:
        return userspace(machine) not in {before, "", "0"}
    except Exception:  # noqa: BLE001 - while it is between two userspaces, whatever asks fails in its own way
        return False


def test_a_soft_reboot_fulfils_what_packages_asked_for_but_for_a_kernel(machine: Machine) -> None:
    """/run survives it, and with it /run/reboot-required."""
    wait_until(lambda: "m1" in ctl(machine, "nodes"), limit=LIMIT, what="it shows its name to its group")
    hold = ctl(machine, "hold", "m1", "--reason", "the soft reboot is done by hand")
    assert "is held back" in hold

    def packages_ask(*names: str) -> None:
        lines = "\\n".join(names)
        machine.run("sh", "-c", f"printf '{lines}\\n' > /run/reboot-required.pkgs; touch /run/reboot-required")

    def says_now() -> str:
        return trigger(machine, "reboot-required")

    packages_ask("dbus")
    # Less than the loop's heartbeat: it is woken in its sandbox, too.
    wait_until(lambda: says_now() == "packages ask for it: dbus", limit=10.0, what="dbus asks for a reboot")
    soft_reboot(machine)
    wait_until(lambda: "is from before this boot" in says_now(), limit=LIMIT, what="that has happened")
    wait_until(lambda: status_text(machine).startswith("idle"), limit=LIMIT, what="its slot is released")

    machine.run("rm", "/run/reboot-required")
    gone = "there is neither /run/reboot-required nor /run/reboot-needed"
    wait_until(lambda: says_now() == gone, limit=LIMIT, what="the file is gone")
    packages_ask("dbus", "linux-image-amd64")
    wait_until(lambda: "linux-image-amd64" in says_now(), limit=LIMIT, what="a kernel asks for a reboot")
    soft_reboot(machine)
    wait_until(lambda: "linux-image-amd64" in says_now(), limit=LIMIT, what="a soft reboot brings no kernel")


def trigger(machine: Machine, name: str) -> str:
    done = machine.run("locksmithctl", "triggers", "--json", check=False)
    found = json.loads(done.stdout)["triggers"] if done.returncode == 0 else []
    return next((str(one["text"]) for one in found if one["name"] == name), "")


def soft_reboot(machine: Machine) -> None:
    before = userspace(machine)
    machine.run("systemctl", "soft-reboot", check=False)
    wait_until(lambda: _differs(machine, before), limit=LIMIT, what="userspace has started anew")
