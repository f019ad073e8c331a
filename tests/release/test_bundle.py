"""The self-contained build: what it is made of, that it runs alone, and that an image of it can be merged."""

import os
import platform
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from release import bundle, glibc

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def image(payload, tmp_path_factory):
    return bundle.extension(payload, tmp_path_factory.mktemp("image") / f"{payload.name}.raw")


def run(payload, program, *arguments, root, **environ):
    command = [payload.root / "usr/bin" / program, *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env={"LOCKSMITH_ROOT": str(root), **environ}
    )


def test_the_programs_run_without_any_environment(payload, tmp_path):
    for program in ("locksmithd", "locksmithctl"):
        assert (
            run(payload, program, "--version", root=tmp_path).stdout == f"{program} version {payload.build.version}\n"
        )
    assert run(payload, "locksmithd", "--check-config", root=tmp_path).returncode == 0


def test_strategies_and_triggers_are_found_by_their_entry_points(payload, tmp_path):
    wrong = 'strategy = "no-such"\n[triggers]\nuse = ["no-such"]\n'
    (tmp_path / "etc/locksmith").mkdir(parents=True)
    (tmp_path / "etc/locksmith/locksmith.toml").write_text(wrong)
    said = run(payload, "locksmithd", "--check-config", root=tmp_path).stderr
    assert "etcd-lock, fleet-lock, off, reboot" in said
    assert "kernel, max-uptime, needs-restarting, reboot-required, update-engine" in said


def test_a_program_of_the_operator_gets_the_callers_environment(payload, tmp_path):
    supervise = payload.root / "usr/lib/locksmith/bundle/locksmith-supervise"
    for given, expected in (("", None), ("/opt/own", "/opt/own")):
        environ = {"LD_LIBRARY_PATH": given} if given else {}
        done = subprocess.run(
            [supervise, tmp_path / "place", "10", "/usr/bin/env"],
            check=True,
            capture_output=True,
            text=True,
            env=environ,
        )
        seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
        assert seen.get("LD_LIBRARY_PATH") == expected
        assert not [name for name in seen if name.startswith(("_PYI", "SSL_"))]


def test_nothing_in_it_names_the_folders_of_the_build(payload):
    named = subprocess.run(["grep", "-rl", "locksmith-bundle-", payload.root], check=False, capture_output=True).stdout
    assert named == b""


def test_the_archive_has_the_tree_of_a_node_and_two_are_identical(payload, tmp_path):
    first, second = (bundle.archive(payload, tmp_path / name, preset=0) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        entries = {entry.name: entry for entry in tar}
    assert all(name.startswith("usr/") for name in entries)
    assert not {"usr/bin", "usr/lib/systemd/system"} & set(entries)
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, payload.build.epoch)}
    assert entries["usr/bin/locksmithd"].linkname == "../lib/locksmith/bundle/locksmithd"
    assert "usr/lib/locksmith/installed.d/bundle" in entries
    assert not [name for name in entries if "extension-release" in name]


def test_the_image_says_which_system_may_have_it_and_two_are_identical(payload, image, tmp_path):
    assert bundle.extension(payload, tmp_path / "again.raw").read_bytes() == image.read_bytes()
    subprocess.run(["unsquashfs", "-quiet", "-no-progress", "-d", tmp_path / "root", image], check=True)
    root = tmp_path / "root"
    assert (root / "usr/lib/locksmith/installed.d/sysext").read_text().strip() == payload.build.package_version
    assert os.access(root / "usr/lib/locksmith/start-at-boot", os.X_OK)
    for name in ("locksmith", payload.name):
        release = (root / f"usr/lib/extension-release.d/extension-release.{name}").read_text().splitlines()
        assert release[:3] == ["ID=_any", f"ARCHITECTURE={bundle.ARCHITECTURE}", "EXTENSION_RELOAD_MANAGER=1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts an image")
def test_systemd_sysext_merges_the_image_by_its_own_name_and_by_a_short_one(payload, image, tmp_path):
    (tmp_path / "mounted").mkdir()
    tried = in_own_mounts(f"mount -o loop,ro {image} {tmp_path}/mounted")
    if tried.returncode != 0:
        pytest.skip(f"an image cannot be mounted here: {tried.stderr.strip()}")
    root, extensions = tmp_path / "root", tmp_path / "root/var/lib/extensions"
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/os-release").write_text("ID=flatcar\nVERSION_ID=9999.0\nSYSEXT_LEVEL=1.0\n")
    extensions.mkdir(parents=True)
    show = f"cat {root}/usr/lib/locksmith/installed.d/sysext"
    for name in (payload.name, "locksmith", "other"):
        (extensions / f"{name}.raw").hardlink_to(image)
        done = in_own_mounts(f"systemd-sysext --root={root} merge >&2 && {show}")
        (extensions / f"{name}.raw").unlink()
        expected = "" if name == "other" else f"{payload.build.package_version}\n"
        assert done.stdout == expected, done.stderr


def in_own_mounts(script):
    """Run a script in a namespace of its own: what it mounts is gone with it.

    systemd-sysext mounts below /run, in a namespace that must share its mounts with this one.
    """
    shared = "mount --make-rshared /\nmount -t tmpfs run /run\nmount --make-shared /run"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"{shared}\n{script}"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_docs_name_the_glibc_that_is_needed(payload):
    measured = glibc.required(payload.root / bundle.HOME)
    for page in ("install-flatcar.md", "install-rpm.md"):
        [stated] = re.findall(r"glibc (\d+)\.(\d+) or newer", (ROOT / "docs" / page).read_text())
        assert measured <= (int(stated[0]), int(stated[1])) == glibc.OLDEST <= _here()


def test_a_build_that_needs_a_newer_glibc_is_refused(monkeypatch, tmp_path):
    shutil.copy("/bin/sh", tmp_path)
    needs = glibc.required(tmp_path)
    glibc.check(tmp_path)
    monkeypatch.setattr(glibc, "OLDEST", (needs[0], needs[1] - 1))
    with pytest.raises(SystemExit, match=rf"need glibc {needs[0]}\.{needs[1]}, and nodes may have"):
        glibc.check(tmp_path)


def _here() -> tuple[int, int]:
    major, minor = platform.libc_ver()[1].split(".")[:2]
    return int(major), int(minor)
