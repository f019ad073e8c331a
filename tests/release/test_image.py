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


@pytest.fixture(scope="session")
def version(container_image: Path) -> str:
    return containers.version_of(container_image)


@pytest.fixture(scope="session")
def layout(container_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout")
    shutil.unpack_archive(container_image, folder, "tar", filter="data")
    return folder


@pytest.fixture(scope="session")
def root(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system of a container, without anything of a machine."""
    bundle = tmp_path_factory.mktemp("unpacked") / "bundle"
    rootless = () if os.geteuid() == 0 else ("--rootless",)
    name = f"{layout}:{containers.name_of(containers.container_image())}"
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
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    enter = ["unshare", "--mount", "--net", "chroot", str(root), *command]
    done = subprocess.run(enter, check=False, capture_output=True, text=True, env=environment, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_no_package_that_is_left_out_is_in_it(root):
    named = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "python3.13-minimal"} <= named
    assert named.isdisjoint(debian_root.LEFT_OUT)
