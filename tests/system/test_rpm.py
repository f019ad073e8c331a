"""The RPM on a machine: rpm is real, systemd runs, and the scriptlets do their work. The system is Debian's.

A package of its own stands for what Debian has in packages that this rpm does not know: systemd, dbus, glibc, zlib.
"""

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from release import rpm
from release.bundle import Payload
from tests.harness import bundles, image
from tests.harness.etcd import Etcd
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.ports import free_ports
from tests.system.layers import Layers, NewMachine

LIMIT = 90.0
UNIT, SERVER_UNIT = "locksmithd.service", "locksmith-server.service"
CONFIG = "etc/locksmith/locksmith.toml"


@pytest.fixture(scope="module", autouse=True)
def _able() -> None:
    if hindrance := bundles.hindrance():
        pytest.skip(hindrance)


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Payload:
    return bundles.built(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(members=1) as cluster:
        yield cluster


@pytest.fixture
def machine(new_machine: NewMachine, bare: Layers) -> Machine:
    machine = new_machine("m1", (image.with_debian_packages(bare[0], "dnf", "dnf-plugins-core", "rpm"), *bare))
    shutil.rmtree(machine.root / "opt/locksmith")
    machine.start()
    machine.wait_booted()
    return machine


def debian(folder: Path) -> Path:
    """Give a package that provides what ours depends on."""
    config = folder / "debian.json"
    config.write_text(
        json.dumps(
            {
                "name": "debian",
                "arch": "amd64",
                "version": "12",
                "provides": ["systemd", "dbus", "libc.so.6(GLIBC_2.36)(64bit)", "libz.so.1()(64bit)"]
                + [f"libc.so.6(GLIBC_2.{minor})(64bit)" for minor in (14, *range(30, 36))],
            }
        )
    )
    target = folder / "debian.rpm"
    nfpm = Path(sys.executable).with_name("nfpm")
    subprocess.run([nfpm, "package", "-p", "rpm", "-f", config, "-t", target], check=True, capture_output=True)
    return target


def run_rpm(machine: Machine, option: str, *packages: Path, check: bool = True) -> str:
    for package in packages:
        shutil.copy(package, machine.root / "root" / package.name)
    files = [f"/root/{one.name}" for one in packages]
    done = machine.run("rpm", "--force-debian", "--oldpackage", option, *files, limit=LIMIT, check=check)
    return done.stdout + done.stderr


def journal(machine: Machine) -> str:
    path = machine.root / "var/lib/locksmith/journal.json"
    return path.read_text() if path.exists() else ""


def shown(machine: Machine, name: str) -> str:
    return machine.run("systemctl", "show", UNIT, "--value", f"--property={name}").stdout.strip()


def test_an_rpm_is_installed_upgraded_in_the_queue_and_before_a_reboot_and_removed(
    machine: Machine, etcd: Etcd, payload: Payload, tmp_path: Path
) -> None:
    first = rpm.write(payload, tmp_path)
    second = rpm.write(bundles.newer(payload, tmp_path), tmp_path)
    assert "libc.so.6(GLIBC_2." in run_rpm(machine, "--install", first, check=False)
    assert "digests OK" in machine.run("rpm", "--checksig", f"/root/{first.name}").stdout
    run_rpm(machine, "--install", debian(tmp_path), first)
    assert machine.run("rpm", "--verify", "locksmith", check=False).stdout == ""
    assert shown(machine, "ActiveState") == "inactive"
    assert machine.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    assert "This node is not configured, so it will not reboot" in machine.run("locksmithctl", "why").stdout

    [port] = free_ports(1)
    machine.write(
        CONFIG, f'strategy = "etcd-lock"\netcd.endpoints = {json.dumps(etcd.endpoints)}\nmetrics.port = {port}\n'
    )
    machine.run("systemctl", "start", UNIT)
    machine.run("locksmithctl", "lock", "an-operator")
    machine.run("locksmithctl", "send-need-reboot")
    wait_until(lambda: "waiting (slot)" in shown(machine, "StatusText"), limit=LIMIT, what="it waits for the slot")
    queued, before = machine.run("locksmithctl", "nodes").stdout, shown(machine, "MainPID")
    assert "queued #1" in queued
    run_rpm(machine, "--upgrade", second)
    assert machine.run("locksmithctl", "--version").stdout == "locksmithctl version 99.0\n"
    assert shown(machine, "MainPID") not in {before, "0"}
    wait_until(lambda: "waiting (slot)" in shown(machine, "StatusText"), limit=LIMIT, what="it waits again")
    assert "queued #1" in machine.run("locksmithctl", "nodes").stdout

    machine.run("locksmithctl", "unlock", "an-operator")
    wait_until(lambda: '"phase": "committed"' in journal(machine), limit=LIMIT, what="it commits")
    run_rpm(machine, "--upgrade", first, check=False)  # on a busy host the order may come before it
    machine.wait_booted(boots=2, limit=LIMIT)
    wait_until(lambda: "idle" in shown(machine, "StatusText"), limit=LIMIT, what="it has released the slot")
    assert "preinstall scriptlet" in machine.run("rpm", "--query", "--scripts", "locksmith").stdout

    machine.run("rpm", "--force-debian", "--erase", "--allmatches", "locksmith", limit=LIMIT)
    assert (shown(machine, "LoadState"), shown(machine, "MainPID")) == ("not-found", "0")
    assert not machine.root.joinpath("etc/systemd/system/multi-user.target.wants", UNIT).is_symlink()
    assert not machine.root.joinpath("usr/lib/locksmith").exists()
    assert machine.root.joinpath(CONFIG).read_text().startswith('strategy = "etcd-lock"')


def test_the_servers_rpm_needs_that_of_the_node_serves_and_leaves_nothing(
    machine: Machine, etcd: Etcd, payload: Payload, tmp_path: Path
) -> None:
    node, server = rpm.write(payload, tmp_path), rpm.write_server(payload, tmp_path)
    run_rpm(machine, "--install", debian(tmp_path))
    assert "locksmith = " in run_rpm(machine, "--install", server, check=False)
    run_rpm(machine, "--install", node, server)
    assert machine.run("rpm", "--verify", "locksmith-server", check=False).stdout == ""
    [port] = free_ports(1)
    machine.write(
        CONFIG,
        f'strategy = "off"\netcd.endpoints = {json.dumps(etcd.endpoints)}\n[server]\nport = {port}\n'
        '[server.groups.web]\nclients = ["127.0.0.1"]\n',
    )
    machine.run("systemctl", "restart", SERVER_UNIT)
    said = machine.run("systemctl", "show", SERVER_UNIT, "--value", "--property=StatusText").stdout
    assert said.strip() == f"serves web at http://127.0.0.1:{port}"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/sign-in", timeout=30) as page:
        assert b"Sign in" in page.read()
    machine.run("rpm", "--force-debian", "--erase", "locksmith-server", limit=LIMIT)
    assert machine.run("systemctl", "show", SERVER_UNIT, "--value", "--property=LoadState").stdout == "not-found\n"
    assert not machine.root.joinpath("usr/lib/locksmith/server").exists()
    assert machine.run("locksmithctl", "--version").returncode == 0
