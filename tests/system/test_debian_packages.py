"""The Debian packages on real machines: installed by the commands of docs/install-debian.md, upgraded, purged."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from release import apt_repo, deb
from tests.harness import debs, image
from tests.harness.etcd import Etcd
from tests.harness.machine_pool import wait_until
from tests.system.layers import NewMachine

LIMIT = 120.0
SUITES = {image.BOOKWORM: deb.BOOKWORM, image.TRIXIE: deb.TRIXIE}
TOML = "etc/locksmith/locksmith.toml"
HOOK = "etc/locksmith/pre-reboot.d/10-wait"


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    if hindrance := debs.hindrance():
        pytest.skip(hindrance)


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(members=1) as cluster:
        yield cluster


class Node:
    """A machine of a Debian suite with the package's file in /root, and what its operator does."""

    def __init__(self, new_machine: NewMachine, suite: str, etcd: Etcd, *flavours: deb.Flavour) -> None:
        base = image.base(suite)
        layers = (image.with_debian_packages(base, *debs.NEEDS[SUITES[suite]]), base)
        self.machine = new_machine("m1", layers)
        shutil.rmtree(self.machine.root / "opt/locksmith")
        self.etcd = etcd
        self.packages = [debs.built(flavour) for flavour in flavours or (SUITES[suite],)]
        shutil.copy(self.packages[0], self.machine.root / "root")

    def add_newer(self, folder: Path) -> None:
        """Put the package of a later build into /srv."""
        self.packages.append(debs.newer(self.packages[0], folder))
        shutil.copy(self.packages[1], self.machine.root / "srv")

    def sh(self, command: str, *, check: bool = True) -> str:
        """Run a command in /root, and give its output with its errors."""
        done = self.machine.run("sh", "-c", f"exec 2>&1; cd /root; {command}", limit=LIMIT, check=False)
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def boot(self) -> None:
        self.machine.start()
        self.machine.wait_booted()

    def install(self) -> str:
        return self.sh("dpkg -i ./locksmith_*.deb")

    def configure(self, more: str = "") -> None:
        endpoints = json.dumps(self.etcd.endpoints)
        self.machine.write(
            TOML, f'strategy = "etcd-lock"\netcd.endpoints = {endpoints}\nmetrics.enabled = false\n{more}'
        )

    def other(self) -> str:
        """The file of the version that is not installed."""
        older, newer = self.packages
        return f"/srv/{newer.name}" if self.version() == debs.version_of(older) else f"/root/{older.name}"

    def upgrade(self) -> None:
        """Install the newer package, or the older one where the newer one is installed: a new daemon runs after it."""
        before, installed = self.pid(), self.version()
        self.sh(f"dpkg -i {self.other()}")
        assert self.version() != installed
        assert self.pid() not in {before, "0"}

    def upgrade_while(self, text: str) -> None:
        """Upgrade in a state of the daemon: the new daemon is in the same state, with the same claim."""
        self.wait(text)
        claim = self.nonce()
        self.upgrade()
        self.wait(text)
        assert self.nonce() == claim

    def version(self) -> str:
        return self.sh("dpkg-query -W -f '${Version}' locksmith")

    def pid(self) -> str:
        return self.shown("MainPID")

    def shown(self, name: str) -> str:
        return self.sh(f"systemctl show locksmithd --value --property={name}").strip()

    def status(self) -> str:
        return self.shown("StatusText")

    def wait(self, text: str) -> None:
        wait_until(lambda: text in self.status(), limit=LIMIT, what=f"the daemon says: {text}")

    def ctl(self, *args: str) -> str:
        done = self.machine.run("locksmithctl", *args)
        return done.stdout + done.stderr

    def entry(self) -> dict[str, Any] | None:
        """The claim in the machine's reboot journal."""
        journal = self.machine.root / "var/lib/locksmith/journal.json"
        found = json.loads(journal.read_text())["entry"] if journal.exists() else None
        return found if isinstance(found, dict) else None

    def nonce(self) -> object:
        entry = self.entry()
        return entry["claim"]["nonce"] if entry else None

    def left_over(self) -> list[str]:
        """Every file of the machine whose name has the program's."""
        places = ("/", "/run", "-xdev", "-name", "*locksmith*", "!", "-path", "/root/*", "!", "-path", "/srv/*")
        return sorted(set(self.machine.run("find", *places).stdout.split()))


def steps(heading: str) -> list[str]:
    """The blocks of shell of a section of docs/install-debian.md."""
    text = (image.REPOSITORY / "docs/install-debian.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize("suite", SUITES)
def test_three_commands_make_a_node_and_a_purge_leaves_nothing(new_machine: NewMachine, suite: str, etcd: Etcd) -> None:
    node = Node(new_machine, suite, etcd)
    node.boot()
    [commands] = steps("A node")
    install, configure, restart = commands.strip().splitlines()

    said = node.sh(install)
    assert "this machine reboots nothing until it is configured" in said
    assert "of an older installation" not in said
    assert "nothing to do: this strategy never reboots" in node.machine.journal("_SYSTEMD_UNIT=locksmithd.service")
    assert 'strategy = "off"  (from /usr/lib/locksmith/locksmith.toml)' in node.sh("locksmithd --check-config")
    node.sh(configure.replace('"http://10.0.0.1:2379"', json.dumps(etcd.endpoints)[1:-1]))
    node.sh("printf '%s\\n' '[window]' 'open = [\"00:00 for 24h\"]' 'zone = \"CET\"' >> /etc/locksmith/locksmith.toml")
    node.sh(restart)
    node.wait("idle: nothing wants a reboot")
    assert "org.locksmith1 " in node.sh("busctl list --acquired --no-legend")
    wait_until(lambda: "m1" in node.ctl("nodes"), limit=LIMIT, what="its group sees it")
    assert "update_engine is not on the bus" in node.ctl("triggers")

    node.ctl("request", "--reason", "a test")
    node.machine.wait_booted(boots=2, limit=LIMIT)
    node.wait("idle")
    assert "MACHINE ID" not in node.ctl("status")

    node.machine.write("etc/locksmith/check.d/10-mine", "#!/bin/sh\n")
    node.sh("dpkg -r locksmith")
    assert {"/etc/locksmith", f"/{TOML}", "/var/lib/locksmith"} <= set(node.left_over())
    node.sh("dpkg -P locksmith")
    assert node.left_over() == ["/etc/locksmith"]
    assert node.machine.run("find", "/etc/locksmith", "-type", "f").stdout == "/etc/locksmith/check.d/10-mine\n"
    assert node.machine.run("systemctl", "--failed", "--no-legend").stdout == ""

    node.sh("rm -r /etc/locksmith; dpkg -i ./locksmith_*.deb; dpkg -P locksmith")
    assert node.left_over() == []

    node.configure()
    node.sh("dpkg -i ./locksmith_*.deb; dpkg -r locksmith; ln -s /usr/lib/locksmith/bundle/locksmithd /usr/bin")
    assert "/usr/bin/locksmithd is of another installation" in node.sh("dpkg -P locksmith")
    assert {f"/{TOML}", "/var/lib/locksmith"} <= set(node.left_over())


def test_an_upgrade_keeps_the_claim_in_every_state(new_machine: NewMachine, etcd: Etcd, tmp_path: Path) -> None:
    """Idle, queued, holding, committed, verifying, halted: one machine's way through two reboots."""
    node = Node(new_machine, image.BOOKWORM, etcd)
    node.add_newer(tmp_path)
    node.configure('health.units = ["proof.service"]\nhealth.limit = "1h"\n')
    node.machine.write("etc/systemd/system/proof.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    node.machine.write(HOOK, "#!/bin/sh\nwhile [ ! -e /run/go ]; do sleep 0.1; done\n")
    (node.machine.root / HOOK).chmod(0o755)
    node.boot()
    node.install()
    node.sh("systemctl start proof.service")
    node.upgrade_while("idle")

    node.ctl("lock", "rack", "--reason", "takes the only slot")
    node.ctl("send-need-reboot")
    node.upgrade_while("waiting (slot)")
    node.ctl("unlock", "rack")
    node.upgrade_while("waiting (hooks)")
    assert node.machine.id in node.ctl("status")

    claim = node.nonce()
    node.sh("touch /run/go")
    wait_until(lambda: (node.entry() or {}).get("phase") == "committed", limit=LIMIT, what="it commits")
    node.sh(f"dpkg -i {node.other()}", check=False)  # on a busy host the order may come before it
    node.machine.wait_booted(boots=2, limit=LIMIT)
    node.sh(f'[ -z "$(dpkg --audit)" ] || dpkg -i {node.other()}')
    node.upgrade_while("waiting (verifying)")
    assert node.nonce() == claim
    assert node.machine.id in node.ctl("status")

    node.configure('health.units = ["proof.service"]\nhealth.limit = "1s"\n')
    node.sh("systemctl restart locksmithd")
    node.upgrade_while("unhealthy")
    node.sh("systemctl start proof.service")
    node.ctl("resume", "--reason", "it was only this unit")
    node.wait("idle")
    assert node.entry() is None
    assert "MACHINE ID" not in node.ctl("status")
    assert len(node.machine.boots) == 2


def test_a_full_disk_during_an_upgrade_leaves_the_old_daemon(
    new_machine: NewMachine, etcd: Etcd, tmp_path: Path
) -> None:
    node = Node(new_machine, image.BOOKWORM, etcd)
    node.add_newer(tmp_path)
    node.configure()
    node.boot()
    node.install()
    node.wait("idle")
    before, old = node.pid(), node.version()
    code = "/usr/lib/python3/dist-packages/locksmith"
    node.sh(f"cp -a {code} /srv/code; mount -t tmpfs -o size=32m tmpfs {code}; cp -a /srv/code/. {code}")
    node.sh(f"find {code} -name __pycache__ -prune -exec rm -r {{}} +")  # an upgrade removes these first
    node.sh(f"cat /dev/zero > {code}/ballast", check=False)

    said = node.sh("dpkg -i /srv/*.deb", check=False)
    assert "No space left on device" in said
    assert (node.pid(), node.version()) == (before, old)
    assert node.ctl("--version").strip().endswith(old.partition("+deb")[0].replace("~dev", ".dev"))

    node.sh(f"rm {code}/ballast; dpkg -i /srv/*.deb")
    assert node.pid() not in {before, "0"}
    node.wait("idle")
    assert node.sh("dpkg --audit") == ""


def test_an_image_without_a_bus_then_an_older_unit_then_a_repository_and_a_mask(
    new_machine: NewMachine, etcd: Etcd
) -> None:
    """In a root where nothing runs: the daemon starts with the first boot."""
    node = Node(new_machine, image.BOOKWORM, etcd)
    root = node.machine.root
    node.configure()
    made = image._tool("chroot", root, "sh", "-ec", "dpkg -i /root/locksmith_*.deb 2>&1")
    assert "of an older installation" not in made
    assert "this machine reboots nothing" not in made
    image._tool("chroot", root, "sh", "-ec", "[ ! -e /proc/sys ]; dpkg -i /root/locksmith_*.deb")
    node.boot()
    node.wait("idle: nothing wants a reboot")

    shutil.copy(root / "usr/lib/systemd/system/locksmithd.service", root / "etc/systemd/system")
    said = node.sh("dpkg -i ./locksmith_*.deb")
    assert "/etc/systemd/system/locksmithd.service, of an older installation, is used instead" in said
    for command in re.findall(r"(?m)^  (.*)$", said):
        node.sh(command)
    assert node.shown("FragmentPath").endswith("/lib/systemd/system/locksmithd.service")
    node.wait("idle: nothing wants a reboot")

    node.sh("dpkg -r locksmith; rm /etc/apt/sources.list")
    with debs.signing_key() as key:
        apt_repo.make(root / "srv/apt", node.packages, key, 0)
    [commands] = steps("From a repository")
    node.sh(commands.replace("https://packages.example", "file:/srv"))
    node.wait("idle: nothing wants a reboot")

    node.sh("systemctl mask --now locksmithd")
    assert "is a mask" in node.sh("dpkg -i ./locksmith_*.deb")
    assert node.shown("ActiveState") == "inactive"


def test_after_an_upgrade_to_debian_13_the_claim_lives_on(new_machine: NewMachine, etcd: Etcd) -> None:
    """The package for Debian 12 works there, with Python 3.13, until the one for Debian 13 replaces it."""
    node = Node(new_machine, image.TRIXIE, etcd, deb.BOOKWORM, deb.TRIXIE)
    shutil.copy(node.packages[1], node.machine.root / "srv")
    node.configure()
    node.machine.write(HOOK, "#!/bin/sh\nwhile [ ! -e /run/go ]; do sleep 0.1; done\n")
    (node.machine.root / HOOK).chmod(0o755)
    node.boot()
    assert "+deb12u1" in node.install() + node.version()
    node.wait("idle")
    node.ctl("send-need-reboot")
    node.upgrade_while("waiting (hooks)")
    assert "+deb13u1" in node.version()
    assert not (node.machine.root / "usr/lib/locksmith/vendor").exists()
    assert node.machine.id in node.ctl("status")
    node.sh("touch /run/go", check=False)
    node.machine.wait_booted(boots=2, limit=LIMIT)
    node.wait("idle")
    assert "MACHINE ID" not in node.ctl("status")


@pytest.mark.skipif("LOCKSMITH_FULL_UPGRADE" not in os.environ, reason="takes minutes: set LOCKSMITH_FULL_UPGRADE=1")
def test_apt_upgrades_debian_12_to_13_and_the_claim_is_kept(new_machine: NewMachine, etcd: Etcd) -> None:
    """From Debian's own archive, while the machine verifies after a reboot."""
    node = Node(new_machine, image.BOOKWORM, etcd)
    node.configure('health.units = ["proof.service"]\nhealth.limit = "10h"\n')
    node.machine.write("etc/systemd/system/proof.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    node.boot()
    node.sh("systemctl start proof.service")
    node.install()
    node.wait("idle")
    node.ctl("send-need-reboot")
    node.machine.wait_booted(boots=2, limit=LIMIT)
    node.wait("waiting (verifying)")
    claim = node.nonce()

    apt = "DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Options::=--force-confold"
    node.sh("sed -i s/bookworm/trixie/ /etc/apt/sources.list; apt-get -qq update")
    node.machine.run("sh", "-c", f"{apt} full-upgrade >/root/log 2>&1", limit=540)
    assert node.sh("dpkg --audit") == ""
    assert "Python 3.13" in node.sh("python3 --version")
    node.sh("systemctl restart locksmithd")
    node.wait("waiting (verifying)")
    assert node.nonce() == claim
    shutil.copy(debs.built(deb.TRIXIE), node.machine.root / "srv")
    node.sh(f"{apt} install /srv/locksmith_*.deb")
    node.wait("waiting (verifying)")
    assert node.nonce() == claim

    node.sh("systemctl start proof.service")
    node.wait("idle")
    assert node.entry() is None
    assert "MACHINE ID" not in node.ctl("status")
