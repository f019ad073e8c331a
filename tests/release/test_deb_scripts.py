"""What the maintainer scripts of the Debian package do, in roots of their own. On machines: test_debian_packages.py."""

import re
import subprocess

import pytest

from release.source import REPOSITORY

BOOT = "7c0f0a5e-0f4c-4c9d-9b1e-1d3f6a3b8c11"
COMMITTED = f'{{"entry": {{"phase": "committed", "boot_id": "{BOOT}"}}}}'
TOML = "etc/locksmith/locksmith.toml"
JOURNAL = "var/lib/locksmith/journal.json"
REBOOTS_NOTHING = "this machine reboots nothing until it is configured"


@pytest.fixture
def root(tmp_path):
    """A root without /proc, with a configuration and a journal."""
    for name in (TOML, JOURNAL):
        write(tmp_path, name, COMMITTED)
    return tmp_path


def write(root, name, text=""):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(root, name, *arguments):
    """Run a script in this root: each place that it names is there. Give what it says."""
    text = (REPOSITORY / f"debian/{name}").read_text()
    text = re.sub(r"(?<=[ =(])/(?=(?:etc|proc|run|usr|var)/)", f"{root}/", text)
    text = text.replace("deb-systemd-invoke", "echo invoked")
    text = text.replace("stop locksmithd.service >/dev/null", "stop locksmithd.service")
    done = subprocess.run(["sh", "-c", text, name, *arguments], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_purge_removes_the_configuration_and_the_journal(root):
    assert run(root, "postrm", "purge") == ""
    assert not list(root.rglob("*locksmith*"))


@pytest.mark.parametrize(
    "other",
    [
        "usr/bin/locksmithd",
        "etc/systemd/system/locksmithd.service",
        "etc/containers/systemd/locksmithd.container",
        "etc/dbus-1/system.d/org.locksmith1.conf",
    ],
)
@pytest.mark.parametrize("dangling", [False, True])
def test_a_late_purge_keeps_what_another_installation_uses(root, other, dangling):
    write(root, other)
    if dangling:
        (root / other).unlink()
        (root / other).symlink_to("/usr/lib/locksmith/absent/locksmithd")
    assert f"/{other} is of another installation" in run(root, "postrm", "purge")
    assert (root / TOML).exists()
    assert (root / JOURNAL).exists()


def test_a_mask_is_no_other_installation(root):
    unit = root / "etc/systemd/system/locksmithd.service"
    unit.parent.mkdir(parents=True)
    unit.symlink_to("/dev/null")
    assert run(root, "postrm", "purge") == ""
    assert not (root / TOML).exists()


def test_a_purge_of_a_folder_that_is_a_link(root):
    (root / "etc/locksmith").rename(root / "etc/elsewhere")
    (root / "etc/locksmith").symlink_to("elsewhere")
    assert run(root, "postrm", "purge") == ""
    assert not (root / TOML).exists()


@pytest.mark.parametrize(("boot", "stopped"), [(None, False), (BOOT, True), ("another", False)])
def test_an_upgrade_stops_a_daemon_that_has_committed_in_this_boot(root, boot, stopped):
    """In a chroot there may be no /proc: the upgrade goes on."""
    (root / "run/systemd/system").mkdir(parents=True)
    if boot:
        write(root, "proc/sys/kernel/random/boot_id", f"{boot}\n")
    assert ("invoked stop locksmithd.service" in run(root, "prerm", "upgrade", "2")) == stopped


@pytest.mark.parametrize(
    ("name", "text", "configured"),
    [
        ("etc/flatcar/update.conf", "REBOOT_STRATEGY=etcd-lock\n", True),
        ("etc/coreos/update.conf", "GROUP=stable\n", False),
        (
            "etc/systemd/system/locksmithd.service.d/10-lock.conf",
            "[Service]\nEnvironment=REBOOT_STRATEGY=reboot\n",
            True,
        ),
        ("etc/systemd/system/locksmithd.service.d/10-lock.conf", "#Environment=REBOOT_STRATEGY=reboot\n", False),
        (TOML, "", True),
        ("etc/locksmith/locksmith.toml.d/10-group.toml", "", True),
    ],
)
def test_the_installation_says_that_nothing_is_configured_only_where_that_is_true(tmp_path, name, text, configured):
    write(tmp_path, name, text)
    assert (REBOOTS_NOTHING in run(tmp_path, "postinst", "configure")) != configured
