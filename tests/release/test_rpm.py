"""The scriptlets of the RPM, run by sh with a systemctl that writes down what it is asked.

On a machine: tests/system/test_rpm.py.
"""

import json
import subprocess

import pytest

from release import rpm

BOOT = "5f3c1e4e-6f0e-4a53-a0c0-0d4f2f6f3b61"
STOP, START = "stop locksmithd.service", "start locksmithd.service"


@pytest.fixture
def node(tmp_path):
    for folder in ("run/systemd/system", "var/lib/locksmith", "proc/sys/kernel/random", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text(f"{BOOT}\n")
    asked(tmp_path, active=True)
    return tmp_path


def asked(node, *, active):
    """Let the daemon run, or not."""
    systemctl = node / "bin/systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ $1 != is-active ] || exit {0 if active else 3}\necho "$@" >> {node}/asked\n')
    systemctl.chmod(0o755)


def committed(node, *, boot=BOOT, phase="committed"):
    text = json.dumps({"entry": {"phase": phase, "boot_id": boot}}, indent=1)
    (node / "var/lib/locksmith/journal.json").write_text(text)


def scriptlets(node, *names, left):
    """Run them as rpm does, and give what they asked of systemd."""
    for name in names:
        script = rpm.SCRIPTS[name]
        for folder in ("/run/", "/var/", "/proc/"):
            script = script.replace(folder, f"{node}{folder}")
        path = f"{node}/bin:/usr/bin:/bin"
        subprocess.run(["sh", "-e", "-c", script, "sh", str(left)], check=True, env={"PATH": path})
    return (node / "asked").read_text().splitlines() if (node / "asked").exists() else []


def test_a_daemon_that_is_about_to_reboot_stops_for_the_upgrade_and_starts_after_it(node):
    committed(node)
    assert scriptlets(node, "preinstall", left=2) == [STOP]
    assert scriptlets(node, "posttrans", left=2) == [STOP, START]
    assert scriptlets(node, "posttrans", left=2) == [STOP, START]


@pytest.mark.parametrize(
    ("boot", "phase", "active", "left"),
    [
        ("another-boot", "committed", True, 2),
        (BOOT, "hooks", True, 2),
        (BOOT, "committed", False, 2),
        (BOOT, "committed", True, 1),
    ],
)
def test_in_every_other_state_the_daemon_runs_on(node, boot, phase, active, left):
    committed(node, boot=boot, phase=phase)
    asked(node, active=active)
    assert scriptlets(node, "preinstall", "posttrans", left=left) == []


@pytest.mark.parametrize("missing", ["proc/sys/kernel/random/boot_id", "run/systemd/system"])
def test_a_root_where_nothing_runs_is_no_hindrance(node, missing):
    (node / missing).rename(node / "elsewhere")
    committed(node)
    assert scriptlets(node, "preinstall", "posttrans", left=2) == []
