"""The container image: what is in it, whether it is the same each time, and what it says without its machine."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from release import debian_root, image
from tests.harness import container_image as containers
from tests.harness.built_server import serves_and_ends, settings_of
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.ports import free_ports

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


@pytest.fixture(scope="session")
def version(container_image: Path) -> str:
    return containers.version_of(container_image)


@pytest.fixture(scope="session")
def layout(container_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(container_image, tmp_path_factory.mktemp("layout"))


@pytest.fixture(scope="session")
def server_layout(container_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(containers.server_of(container_image), tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def root(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system of a container, without anything of a machine."""
    return root_of(layout, tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="session")
def server_root(server_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system of a container of the server."""
    return root_of(server_layout, tmp_path_factory.mktemp("unpacked-server"))


def unpacked(archive: Path, folder: Path) -> Path:
    shutil.unpack_archive(archive, folder, "tar", filter="data")
    return folder


def root_of(layout: Path, folder: Path) -> Path:
    bundle = folder / "bundle"
    rootless = () if os.geteuid() == 0 else ("--rootless",)
    entry, _, _ = manifest_of(layout)
    name = f"{layout}:{entry['annotations']['org.opencontainers.image.ref.name']}"
    subprocess.run(["umoci", "unpack", *rootless, "--image", name, bundle], check=True, capture_output=True)
    return bundle / "rootfs"


def manifest_of(layout: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Give the entry of the index, the manifest and the configuration."""
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(layout, entry["digest"]))
    return entry, manifest, json.loads(blob(layout, manifest["config"]["digest"]))


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def test_the_image_starts_locksmithd_and_names_its_version(layout, version):
    entry, manifest, config = manifest_of(layout)
    assert config["config"]["Entrypoint"] == ["/usr/bin/locksmithd"]
    assert "Volumes" not in config["config"]
    said = manifest["annotations"]
    assert said == config["config"]["Labels"]
    assert said["org.opencontainers.image.version"] == version
    assert said["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == f"localhost/locksmith:{image.tag_of(version)}"


def test_an_upgrade_fetches_locksmith_alone(layout):
    _, manifest, _ = manifest_of(layout)
    base, own = (layer["size"] for layer in manifest["layers"])
    assert base < 35_000_000
    assert own < 4_000_000


def test_the_servers_image_adds_one_layer_and_runs_as_a_user_without_rights(layout, server_layout, version):
    entry, manifest, config = manifest_of(server_layout)
    layers = [layer["digest"] for layer in manifest["layers"]]
    assert layers[:-1] == [layer["digest"] for layer in manifest_of(layout)[1]["layers"]]
    assert manifest["layers"][-1]["size"] < 12_000_000
    runs = config["config"]
    assert (runs["Entrypoint"], runs["User"]) == (["/usr/bin/locksmith-server"], "65532:65532")
    assert list(runs["ExposedPorts"]) == ["3333/tcp"]
    name = f"localhost/locksmith-server:{image.tag_of(version)}"
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == name
    assert manifest["annotations"]["org.opencontainers.image.title"] == "locksmith-server"


def test_the_daemons_image_has_nothing_of_the_server_but_its_code(root, server_root):
    packages = debian_root.PYTHON_PACKAGES
    for name in ("apprise", "jinja2", "starlette", "uvicorn"):
        assert (server_root / packages / name).is_dir()
        assert not (root / packages / name).exists()
    assert not (root / "usr/bin/locksmith-server").exists()
    assert "locksmith-server:x:65532:" in (server_root / "etc/passwd").read_text()
    writable = [path for path in server_root.rglob("*") if not path.is_symlink() and path.stat().st_uid == 65532]
    assert writable == []


def test_the_server_in_its_image_serves_as_that_user(server_root, tmp_path):
    refused = in_container(server_root, "locksmith-server", "--check-config", check=False)
    assert (refused.returncode, "no group is served" in refused.stderr) == (2, True)
    in_container(
        server_root, "python3", "-c", "from locksmith.server.delivery import refuse_missing_library as do; do()"
    )
    [port] = free_ports(1)
    config = server_root / "etc/locksmith/locksmith.toml"
    command = ["unshare", "--mount", "chroot", "--userspec=65532:65532", str(server_root), "locksmith-server"]
    with Etcd(WHEEL) as etcd:
        config.write_text(settings_of(etcd, port))
        try:
            serves_and_ends(command, ENVIRONMENT, port, tmp_path / "log")
        finally:
            config.unlink()


def test_layers_of_the_same_files_are_the_same_whatever_time_and_order(tmp_path):
    for name, files in (("one", "ab"), ("two", "ba")):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text(file)
    os.utime(tmp_path / "two/a", (1, 1))
    for name in ("one", "two"):
        image._tar(tmp_path / name, tmp_path / f"{name}.tar", 7)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_no_file_in_it_can_be_changed_by_others_or_tells_when_it_was_built(root):
    changeable = [
        path
        for path in root.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o022 and not path.stat().st_mode & 0o1000
    ]
    assert changeable == []
    assert (root / "var/lib/locksmith").stat().st_mode & 0o777 == 0o700
    assert not list(root.rglob("direct_url.json"))


def test_it_has_what_a_machine_needs_of_it(root, version):
    shared = root / "usr/share/locksmith"
    assert (root / "usr/lib/locksmith/installed.d/image").read_text() == f"{version}\n"
    assert 'strategy = "off"' in (root / "usr/lib/locksmith/locksmith.toml").read_text()
    assert f"Image=localhost/locksmith:{image.tag_of(version)}\n" in (shared / "locksmithd.container").read_text()
    assert os.access(shared / "hooks/kubernetes-node", os.X_OK)
    (root / "host/etc").mkdir(parents=True)
    said = in_container(root, "/usr/share/locksmith/install", "podman")
    assert said.stdout.split() == [
        "/etc/dbus-1/system.d/com.coreos.update1.locksmith.conf",
        "/etc/dbus-1/system.d/org.locksmith1.conf",
        "/etc/containers/systemd/locksmithd.container",
        "/etc/systemd/system/locksmithd.service.d/10-locksmith-container.conf",
    ]
    shutil.rmtree(root / "host/etc")


def test_all_that_its_programs_need_is_in_it(root, version):
    assert in_container(root, "locksmithd", "--version").stdout.split()[-1] == version
    assert "strategy" in in_container(root, "locksmithd", "--check-config").stdout
    assert "Usage" in in_container(root, "locksmithctl", "--help").stdout
    imports = "import locksmith.store.etcd2, locksmith.store.etcd3, etcd, ssl, prometheus_client, dbus_fast, zoneinfo"
    in_container(root, "python3", "-c", f"{imports}; zoneinfo.ZoneInfo('Europe/Berlin')")


def test_without_its_machine_it_refuses_and_names_the_mounts(root):
    done = in_container(root, "locksmithd", check=False)
    assert done.returncode == 1
    assert "--volume=/:/host:ro,rslave" in done.stderr
    assert "Traceback" not in done.stderr
    (root / "host/run/locksmith").mkdir(parents=True)
    (root / "host/var/lib/locksmith").mkdir(parents=True)
    done = in_container(root, "locksmithd", check=False)
    assert "--volume=/var/lib/locksmith:/var/lib/locksmith" in done.stderr
    assert "--volume=/run/locksmith:/run/locksmith" in done.stderr


def in_container(root: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    if os.geteuid() != 0:
        pytest.skip("to run the programs of the image, root is needed")
    enter = ["unshare", "--mount", "--net", "chroot", str(root), *command]
    done = subprocess.run(enter, check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_no_package_that_is_left_out_is_in_it(root):
    named = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "python3.13-minimal"} <= named
    assert named.isdisjoint(debian_root.LEFT_OUT)
