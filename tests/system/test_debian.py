"""A stock Debian node with unattended-upgrades and no update_engine: its packages ask for the reboot.

The update is real: a newer dbus from a local repository, installed by unattended-upgrades, whose own maintainer script
writes /run/reboot-required and calls `notify-reboot-required`.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import image
from tests.harness.etcd import Etcd
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.ports import free_ports
from tests.system.layers import Layers, NewMachine

LIMIT = 120.0
LOG = "_SYSTEMD_UNIT=locksmithd.service"


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(members=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def wheels() -> Iterator[Path]:
    """The package and its dependencies, as docs/install.md has them built."""
    with tempfile.TemporaryDirectory() as folder:
        image.pip_wheel(Path(folder), str(image.REPOSITORY))
        yield Path(folder)


def configuration(etcd: Etcd, port: int) -> str:
    return f"""
        strategy = "etcd-lock"
        group = "web"
        etcd.endpoints = {json.dumps(etcd.endpoints)}
        metrics.port = {port}
    """


@pytest.fixture
def node(new_machine: NewMachine, stock_debian: Layers, etcd: Etcd, wheels: Path) -> Machine:
    """A node after the steps of docs/install.md, as they are written there, but for the way to package archives."""
    machine = new_machine("deb", stock_debian)
    carried = machine.root / "root"
    shutil.copytree(wheels, carried / "wheels")
    shutil.copytree(image.REPOSITORY / "contrib", carried / "contrib")
    machine.start()
    machine.wait_booted()
    _build, install, configure, *_ = steps("A Python environment")
    installed = install.replace("apt-get install -y", "dpkg-query --show")
    assert installed != install
    machine.run("sh", "-ec", f"rm -rf /opt/locksmith; cd /root\n{installed}", limit=LIMIT)
    wanted = configuration(etcd, free_ports(1)[0])
    configured = re.sub(r"(?s)(<<'END'\n).*?(END\n)", lambda found: f"{found[1]}{wanted}\n{found[2]}", configure)
    assert configured != configure
    machine.run("sh", "-ec", configured, limit=LIMIT)
    return machine


def steps(heading: str) -> list[str]:
    """The blocks of shell of a section of docs/install.md."""
    text = (image.REPOSITORY / "docs/install.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def ctl(machine: Machine, *args: str) -> str:
    done = machine.run("locksmithctl", *args)
    return done.stdout + done.stderr


def says(machine: Machine, text: str) -> None:
    wait_until(lambda: text in machine.journal(LOG), limit=LIMIT, what=f"{machine.name}: {text}")


def triggers(machine: Machine) -> dict[str, dict[str, str]]:
    said = json.loads(machine.run("locksmithctl", "triggers", "--json").stdout)
    return {one["name"]: one for one in said["triggers"]}


def offer_a_newer_dbus(machine: Machine) -> str:
    """Make a repository on the node's disk as Debian's security archive is, with a newer dbus; give its version."""
    repository = machine.root / "srv/repository"
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / "dbus"
        subprocess.run(["dpkg-deb", "-R", str(machine.root / "srv/dbus.deb"), str(unpacked)], check=True)
        control = unpacked / "DEBIAN/control"
        version = f"{re.findall(r'^Version: (.*)$', control.read_text(), re.MULTILINE)[0]}+security1"
        control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
        repository.mkdir(parents=True)
        package = repository / "dbus.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-b", str(unpacked), str(package)], check=True, stdout=subprocess.DEVNULL
        )
        entry = control.read_text().strip()
    raw = package.read_bytes()
    packages = f"{entry}\nFilename: ./dbus.deb\nSize: {len(raw)}\nSHA256: {hashlib.sha256(raw).hexdigest()}\n"
    (repository / "Packages").write_text(packages)
    listed = f" {hashlib.sha256(packages.encode()).hexdigest()} {len(packages)} Packages"
    names = "Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nCodename: bookworm-security\n"
    (repository / "Release").write_text(f"{names}SHA256:\n{listed}\n")
    (machine.root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/repository ./\n")
    machine.run("apt-get", "update", "-qq", limit=LIMIT)
    return version


def test_an_update_that_unattended_upgrades_installs_is_coordinated(node: Machine) -> None:
    says(node, "idle: nothing wants a reboot")
    found = triggers(node)
    assert found["update-engine"]["text"] == "update_engine is not on the bus"
    assert (found["reboot-required"]["says"], found["kernel"]["says"]) == ("no", "unused")

    version = offer_a_newer_dbus(node)
    ctl(node, "lock", "rack", "--reason", "until the update is seen")
    node.run("unattended-upgrade", "--verbose", limit=LIMIT)
    says(node, "waiting (slot)")
    asked = node.run("cat", "/run/reboot-required", "/run/reboot-required.pkgs").stdout.splitlines()
    assert asked[0] == "*** System restart required ***", "it is written by notify-reboot-required"
    assert set(asked[1:]) == {"dbus"}
    why = ctl(node, "why")
    assert "deb needs a reboot (since " in why
    assert "packages ask for it: dbus." in why

    ctl(node, "unlock", "rack")
    node.wait_booted(boots=2, limit=LIMIT)
    says(node, "rebooted and healthy: releasing the slot")
    wait_until(lambda: triggers(node)["reboot-required"]["says"] == "no", limit=LIMIT, what="the wish is gone")
    assert triggers(node)["reboot-required"]["text"] == "there is neither /run/reboot-required nor /run/reboot-needed"
    assert node.run("dpkg-query", "-W", "-f", "${Version}", "dbus").stdout == version
    wait_until(lambda: "MACHINE ID" not in ctl(node, "status"), limit=LIMIT, what="the slot is given back")
    [held] = [event for event in json.loads(ctl(node, "history", "--json"))["events"] if event["who"] == "locksmithd"]
    assert held["reason"] == "packages ask for it: dbus"


def test_while_packages_are_installed_nobody_reboots(node: Machine) -> None:
    """apt itself blocks a shutdown meanwhile, which is a reason to wait like any other."""
    says(node, "idle: nothing wants a reboot")
    offer_a_newer_dbus(node)
    node.write("etc/apt/apt.conf.d/99slow", 'DPkg::Pre-Install-Pkgs { "while [ ! -e /go ]; do sleep 0.1; done"; };\n')
    node.run("systemd-run", "--unit=upgrade", "unattended-upgrade", "--verbose")
    wait_until(lambda: "APT" in node.run("systemd-inhibit", "--list").stdout, limit=LIMIT, what="apt blocks")
    ctl(node, "request", "--reason", "a test")
    says(node, "waiting (inhibitor): shutdown is blocked by APT")
    node.run("touch", "/go")
    node.wait_booted(boots=2, limit=LIMIT)
    assert node.run("dpkg", "--audit").stdout == ""
