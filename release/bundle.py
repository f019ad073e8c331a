"""The self-contained build, `python -m release.bundle`: no node needs Python, or any package of it.

It writes two files to `dist/`, of the same tree below `usr/`:

- `locksmith-VERSION-x86-64.tar.xz`, to unpack at the root of a node;
- `locksmith-VERSION-x86-64.raw`, a system extension (systemd-sysext) in a squashfs.

PyInstaller packs the Python that runs this. If that needs a newer glibc than nodes may have, nothing is built.
"""

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from release import glibc, server_tree
from release.source import REPOSITORY, Build, export, stamp

ARCHITECTURE = {"x86_64": "x86-64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""As systemd names it (systemd.unit(5), ConditionArchitecture=)."""
DIST = REPOSITORY / "dist"
HOME = "usr/lib/locksmith"
LINKS = {
    "usr/bin/locksmithd": "../lib/locksmith/bundle/locksmithd",
    "usr/bin/locksmithctl": "../lib/locksmith/bundle/locksmithctl",
    f"{HOME}/locksmithd": "bundle/locksmithd",
}
"""The programs, where they are looked for. The last is where Flatcar has the daemon of CoreOS locksmith."""
START_AT_BOOT = REPOSITORY / "contrib/sysext/start-at-boot"
EXTENSION_RELEASE = """\
ID=_any
ARCHITECTURE={architecture}
EXTENSION_RELOAD_MANAGER=1
SYSEXT_ID=locksmith
SYSEXT_VERSION_ID={version}
"""
"""It brings its own libraries, so any system may have it, with a glibc that is new enough."""


@dataclass(frozen=True)
class Payload:
    """The tree of a node's files, as all packages of this build have it."""

    root: Path
    build: Build

    @property
    def server(self) -> Path:
        """The tree of what the package of the server adds."""
        return self.root.with_name("server")

    @property
    def name(self) -> str:
        """The name of the files in `dist/`, without an ending."""
        return f"locksmith-{self.build.package_version}-{ARCHITECTURE}"

    @contextmanager
    def of_kind(self, kind: str) -> Iterator[Path]:
        """Say in the tree which kind of package it is, for as long as that one is made."""
        note = self.root / HOME / "installed.d" / kind
        note.parent.mkdir()
        note.write_text(f"{self.build.package_version}\n")
        stamp(self.root, self.build.epoch)
        try:
            yield self.root
        finally:
            shutil.rmtree(note.parent)


@contextmanager
def payload(repository: Path = REPOSITORY) -> Iterator[Payload]:
    """Build the tree, in a folder that is gone at the end."""
    os.umask(0o022)  # every user runs `locksmithctl`
    with tempfile.TemporaryDirectory(prefix="locksmith-bundle-") as temporary:
        folder = Path(temporary)
        build = export(folder / "source", repository)
        _environment(folder)
        _freeze(folder, build)
        glibc.check(folder / "frozen")
        root = folder / "root"
        (root / HOME).mkdir(parents=True)
        (folder / "frozen/bundle").rename(root / HOME / "bundle")
        _run(folder, build, "release.payload", str(root))
        for link, target in LINKS.items():
            (root / link).parent.mkdir(parents=True, exist_ok=True)
            (root / link).symlink_to(target)
        server_tree.make(folder / "server", root, folder / "source", build.epoch)
        for path in root.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        yield Payload(root, build)


def archive(payload: Payload, target: Path, preset: Literal[0, 6] = 6) -> Path:
    """Write the tar.xz."""
    with (
        payload.of_kind("bundle") as root,
        tarfile.open(target, "w:xz", preset=preset, format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(root.rglob("*")):
            if path.is_dir() and not path.is_relative_to(root / HOME):
                continue  # it is the system's own, and tar would change its time
            tar.add(path, str(path.relative_to(root)), recursive=False, filter=_of_root)
    return target


def extension(payload: Payload, target: Path) -> Path:
    """Write the image of the system extension. It may have its name here, or `locksmith.raw`.

    Every kernel that reads squashfs reads gzip, and reads it fast.
    """
    with as_extension(payload, "locksmith", payload.name) as root:
        target.unlink(missing_ok=True)
        pack = ["mksquashfs", str(root), str(target), "-noappend", "-all-root", "-no-xattrs", "-comp", "gzip", "-quiet"]
        # mksquashfs refuses SOURCE_DATE_EPOCH where a flag says the same.
        environ = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        subprocess.run([*pack, "-no-progress", "-mkfs-time", str(payload.build.epoch)], check=True, env=environ)
    return target


@contextmanager
def as_extension(payload: Payload, *names: str) -> Iterator[Path]:
    """Say in the tree that it is an extension, for each name of its image: systemd-sysext looks for that name."""
    folder = payload.root / "usr/lib/extension-release.d"
    folder.mkdir()
    for name in names:
        release = EXTENSION_RELEASE.format(architecture=ARCHITECTURE, version=payload.build.package_version)
        (folder / f"extension-release.{name}").write_text(release)
    helper = Path(shutil.copy(START_AT_BOOT, payload.root / HOME))
    try:
        with payload.of_kind("sysext") as root:
            yield root
    finally:
        helper.unlink()
        shutil.rmtree(folder)


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _environment(folder: Path) -> None:
    """Make a virtual environment with what the build is made of, and with nothing else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "python")], check=True)
    _pip(folder, "--requirement", str(folder / "source/release/frozen/requirements.txt"))
    _pip(folder, "--no-deps", str(folder / "source"))


def _freeze(folder: Path, build: Build) -> None:
    places = ["--distpath", str(folder / "frozen"), "--workpath", str(folder / "work")]
    spec = folder / "source/release/frozen/locksmith.spec"
    _run(folder, build, "PyInstaller", "--log-level", "ERROR", *places, str(spec))


def _pip(folder: Path, *what: str) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(folder / "python/bin/python")]
    environ = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*pip, "install", *what], check=True, env=environ)


def _run(folder: Path, build: Build, module: str, *arguments: str) -> None:
    """Run a module in the environment of the build."""
    environ = {
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "PYINSTALLER_CONFIG_DIR": str(folder / "pyinstaller"),
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": str(build.epoch),
    }
    command = [str(folder / "python/bin/python"), "-m", module, *arguments]
    subprocess.run(command, check=True, cwd=folder / "source", env=environ, stdin=subprocess.DEVNULL)


def main() -> None:
    """Write both files."""
    DIST.mkdir(exist_ok=True)
    with payload() as tree:
        print(archive(tree, DIST / f"{tree.name}.tar.xz"))
        print(extension(tree, DIST / f"{tree.name}.raw"))


if __name__ == "__main__":
    main()
