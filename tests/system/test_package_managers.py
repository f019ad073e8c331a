"""`needs-restarting` with the real dnf and zypper of Debian, in roots of their own, each with its own RPM database.

The trigger runs a program of a folder that stands for the machine; that program runs the package manager in its root.
"""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from locksmith.agent.facts import TriggerResult
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.paths import Paths
from locksmith.host.programs import Programs
from locksmith.triggers.needs_restarting import NeedsRestarting
from locksmith.triggers.settings import TriggerSettings
from tests.harness import image
from tests.harness.machine_pool import machine_pool
from tests.system.layers import Layers

LIMIT = 60.0
PLUGIN = "usr/lib/python3/dist-packages/dnf-plugins/needs_restarting.py"
SPEC = "Name: {name}\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n%files\n"


class Manager:
    """A package manager in its root, and the machine that has it."""

    def __init__(self, root: Path, machine: Path) -> None:
        self.root = root
        self.paths = Paths(machine)

    def run(self, script: str) -> str:
        """Run a script in the root."""
        command = ["chroot", str(self.root), "sh", "-ec", script]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT).stdout

    def installs(self, *names: str) -> None:
        """Install packages with these names, now: after this boot.

        dnf takes the time of /proc/1 for that of the boot, in whole seconds. It is that of the first look at the file.
        """
        booted = int((self.root / "proc/1").stat().st_mtime)
        while int(time.time()) <= booted:
            time.sleep(0.05)
        for name in names:
            (self.root / "tmp" / f"{name}.spec").write_text(SPEC.format(name=name))
            self.run(f"cd /tmp && rpmbuild -bb --quiet --define '_rpmdir /tmp/rpms' {name}.spec")
        files = " ".join(f"/tmp/rpms/noarch/{name}-1-1.noarch.rpm" for name in names)
        self.run(f"rpm --install --force-debian --nodeps {files}")

    def program(self, name: str) -> None:
        """Give the machine the manager's program."""
        file = self.paths.root / "usr/bin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'#!/bin/sh\nexec /usr/sbin/chroot {self.root} {name} "$@"\n')
        file.chmod(0o755)

    def answer(self) -> TriggerResult:
        """Ask the trigger that a machine with this manager uses."""
        programs = Programs(self.paths, SystemBus("unix:path=/nowhere"), LIMIT)
        trigger = NeedsRestarting(TriggerSettings(), self.paths, programs)
        assert trigger.found()
        try:
            return asyncio.run(trigger.ask())
        finally:
            for child in programs._children:
                child.wait(LIMIT)


@contextmanager
def manager(bare: Layers, machine: Path, *packages: str) -> Iterator[Manager]:
    added = image.with_debian_packages(bare[0], *packages)
    with machine_pool() as folder:
        root = folder / "root"
        image.mount((added, *bare), folder / "upper", root)
        subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
        try:
            yield Manager(root, machine)
        finally:
            image.unmount(root / "proc")
            image.unmount(root)


@pytest.fixture
def dnf(bare: Layers, tmp_path: Path) -> Iterator[Manager]:
    with manager(bare, tmp_path, "dnf", "dnf-plugins-core", "rpm") as made:
        assert (made.root / PLUGIN).exists()
        # Debian's rpm has its database in the home of its user. dnf notices no change there, nor a first package.
        (made.root / "etc/rpm").mkdir(exist_ok=True)
        (made.root / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")
        marker = tmp_path / "usr/lib/python3.11/site-packages/dnf-plugins/needs_restarting.py"
        marker.parent.mkdir(parents=True)
        marker.touch()
        made.program("dnf")
        made.installs("filesystem")
        yield made


@pytest.fixture
def zypper(bare: Layers, tmp_path: Path) -> Iterator[Manager]:
    with manager(bare, tmp_path, "zypper") as made:
        made.program("zypper")
        yield made


def test_dnf_needs_a_reboot_for_its_packages_and_for_nothing_else(dnf: Manager) -> None:
    answer = dnf.answer()
    assert (answer.need, answer.error) == (None, None)
    dnf.installs("vim")
    assert dnf.answer().need is None
    dnf.installs("glibc", "systemd")
    need = dnf.answer().need
    assert need is not None
    assert need.reason == "`dnf needs-restarting -r` says that a reboot is needed: glibc and systemd"


def test_a_dnf_that_fails_is_an_error_also_if_packages_need_a_reboot(dnf: Manager) -> None:
    dnf.installs("glibc")
    dnf.run("sed -i 's/^import logging/import nothing/' /usr/lib/python3/dist-packages/dnf/cli/main.py")
    answer = dnf.answer()
    assert (answer.need, answer.error) == (
        None,
        (
            "needs-restarting: `dnf needs-restarting -r` failed with exit status 1: "
            "ModuleNotFoundError: No module named 'nothing'"
        ),
    )


def test_a_dnf_without_its_plugin_or_without_the_option_is_an_error(dnf: Manager) -> None:
    dnf.installs("glibc")
    (dnf.root / PLUGIN).write_text((dnf.root / PLUGIN).read_text().replace("'--reboothint'", "'--other'"))
    dnf.run(f"sed -i \"s/add_argument('-r', /add_argument(/\" /{PLUGIN}")
    assert "failed with exit status 2: dnf needs-restarting: error: unrecognized arguments: -r" in str(
        dnf.answer().error
    )
    (dnf.root / PLUGIN).unlink()
    assert "failed with exit status 1: " in str(dnf.answer().error)


def test_a_dnf_whose_mirrors_are_away_answers_all_the_same(dnf: Manager) -> None:
    (dnf.root / "etc/yum.repos.d").mkdir(parents=True, exist_ok=True)
    (dnf.root / "etc/yum.repos.d/away.repo").write_text("[away]\nname=away\nbaseurl=http://127.0.0.1:1/\n")
    answer = dnf.answer()
    assert (answer.need, answer.error) == (None, None)
    dnf.installs("glibc")
    assert dnf.answer().need


def test_zypper_needs_a_reboot_while_its_flag_is_there(zypper: Manager) -> None:
    answer = zypper.answer()
    assert (answer.need, answer.error) == (None, None)
    zypper.run("touch /run/reboot-needed")
    need = zypper.answer().need
    assert need is not None
    assert need.reason == "`zypper --non-interactive needs-rebooting` says that a reboot is needed"


def test_a_zypper_that_another_one_locks_is_an_error(zypper: Manager) -> None:
    zypper.run("touch /run/reboot-needed")
    holder = subprocess.Popen(["/usr/sbin/chroot", str(zypper.root), "sleep", "600"])
    try:
        (zypper.root / "run/zypp.pid").write_text(f"{holder.pid}\n")
        answer = zypper.answer()
    finally:
        holder.kill()
        holder.wait()
    assert answer.need is None
    assert "failed with exit status 7: Close this application before trying again." in str(answer.error)
