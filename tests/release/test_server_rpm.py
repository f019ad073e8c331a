"""What the package `locksmith-server` adds to the self-contained build: it serves from both trees."""

import shutil
import subprocess

import pytest

from release import contents, rpm, sbom
from tests.harness import image
from tests.harness.built_server import serves_and_ends, settings_of
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.ports import free_ports

LIBRARIES = {"apprise", "jinja2", "starlette", "uvicorn"}


@pytest.fixture(scope="module")
def package(payload, tmp_path_factory):
    return rpm.write_server(payload, tmp_path_factory.mktemp("rpm"))


@pytest.fixture
def installed(payload, tmp_path):
    """A machine's root with both trees, as rpm lays them."""
    root = tmp_path / "root"
    shutil.copytree(payload.root, root, symlinks=True)
    shutil.copytree(payload.server, root, symlinks=True, dirs_exist_ok=True)
    return root


def test_no_file_of_the_server_is_on_every_node_and_none_is_in_both(payload):
    node, server = ({path.relative_to(root) for path in files(root)} for root in (payload.root, payload.server))
    assert node & server == set()
    named = {str(path) for path in node}
    assert "usr/bin/locksmith-server" not in named
    assert not [name for name in named if any(f"/{one}/" in name or one == name for one in LIBRARIES)]
    assert not [name for name in named if name.endswith("base.html")]


def files(root):
    return [path for path in root.rglob("*") if not path.is_dir() or path.is_symlink()]


def test_the_server_serves_its_pages_and_knows_services_to_notify(installed, tmp_path):
    root, [port] = tmp_path / "machine", free_ports(1)
    program = installed / "usr/bin/locksmith-server"
    (root / "etc/locksmith").mkdir(parents=True)
    target = tmp_path / "target"
    target.write_text("json://127.0.0.1:9/\n")
    target.chmod(0o600)
    environ = {"LOCKSMITH_ROOT": str(root)}
    with Etcd(WHEEL) as etcd:
        (root / "etc/locksmith/locksmith.toml").write_text(
            f'{settings_of(etcd, port)}[notify.targets.ops]\nurl-file = "{target}"\nevents = ["lost"]\n'
        )
        checked = subprocess.run(
            [program, "--check-config", "--online"], env=environ, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr
        tested = subprocess.run(
            [installed / "usr/bin/locksmithctl", "notify", "--test", "ops"],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "it refused the connection" in tested.stderr, "the tool finds the library too, and tries to send"
        serves_and_ends([program], environ, port, tmp_path / "log")


def test_the_unit_runs_the_program_that_is_there(payload):
    unit = (payload.server / "usr/lib/systemd/system/locksmith-server.service").read_text()
    [program] = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert (payload.server / program.lstrip("/")).is_symlink()
    assert "DynamicUser=yes" in unit


def test_the_package_says_what_is_in_it_and_two_are_identical(payload, package, tmp_path):
    assert rpm.write_server(payload, tmp_path).read_bytes() == package.read_bytes()
    found = {part.name: part for part in contents.python_packages(package)}
    pinned = {
        line.partition("==")[0].lower().replace("_", "-"): line.partition("==")[2]
        for line in (image.REPOSITORY / "release/frozen/server.txt").read_text().splitlines()
        if "==" in line
    }
    assert {name: part.version for name, part in found.items()} == pinned
    assert all(part.licence for part in found.values())
    parts = sbom.parts_of([package])
    assert {name for names in parts.values() for name in names} == {package.name}


def test_no_library_is_in_both_trees():
    frozen = image.REPOSITORY / "release/frozen"
    node, server = (
        {line.partition("==")[0].lower().replace("_", "-") for line in (frozen / name).read_text().splitlines()}
        for name in ("requirements.txt", "server.txt")
    )
    assert server >= LIBRARIES
    assert {name for name in node & server if not name.startswith("#")} == set()


def test_the_scriptlets_preset_restart_after_an_upgrade_and_stop_before_a_removal(tmp_path):
    said = tmp_path / "asked"
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    (tmp_path / "systemctl").chmod(0o755)
    for name, left in (("postinstall", 1), ("postremove", 1), ("preremove", 1), ("preremove", 0)):
        script = rpm.SERVER_SCRIPTS[name].replace("/run/systemd/system", str(tmp_path))
        environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(["sh", "-e", "-c", script, "sh", str(left)], check=True, env=environ)
    assert said.read_text().splitlines() == [
        "--no-reload preset locksmith-server.service",
        "daemon-reload",
        "daemon-reload",
        "try-restart locksmith-server.service",
        "--no-reload disable --now locksmith-server.service",
    ]
