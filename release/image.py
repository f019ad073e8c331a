"""The container images: `python -m release.image` writes two archives of the OCI layout to `dist/`.

`locksmith-VERSION.oci.tar` is for the daemon, `locksmith-server-VERSION.oci.tar` for the server. Both have two layers:
Debian's packages with our dependencies, and locksmith itself, so that an upgrade fetches little. The server's has a
third one, with its libraries and its program. All times, owners and orders are fixed: two builds of the same sources
and packages have the same digests. A build needs no root, and no registry: apt's and pip's own sources are enough.
docs/containers.md says how the images are used.
"""

import json
import shutil
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from release import debian_root, payload
from release.debian_root import PYTHON, PYTHON_PACKAGES
from release.source import REPOSITORY, Build, export

DIST = REPOSITORY / "dist"
NAME = "localhost/locksmith"
"""Its name where it is loaded from the archive; in a registry it gets another. That of the server ends in `-server`."""
SERVER = "locksmith-server"
SERVER_UID = 65532
"""The server's user in its image, who owns no file there."""
MACHINE = "/host"
"""Where the machine's root is mounted."""
FROM_THE_MACHINE = (
    "boot", "etc/localtime", "etc/machine-id", "etc/os-release", "run/dbus", "run/reboot-needed",
    "run/reboot-required", "run/reboot-required.pkgs", "run/systemd", "usr/lib/modules",
)  # fmt: skip
"""What locksmith reads of its machine: links into MACHINE. A file that the machine lacks is missing here too."""
OWN_FOLDERS = {"etc/locksmith": 0o755, "run/locksmith": 0o755, "run/update-engine": 0o755, "var/lib/locksmith": 0o700}
"""The folders that are mounted one by one. The daemon writes to all but the first."""
LEFT_OUT = ("usr/lib/systemd/", "usr/share/bash-completion/", "usr/share/zsh/", "usr/share/fish/", "usr/share/man/")
"""Files of every package that have no use in a container."""
SHARED = {
    "contrib/hooks/kubernetes-node": 0o755,
    "contrib/hooks/load-balancer": 0o755,
    "contrib/podman/install": 0o755,
    "contrib/podman/locksmithd.container": 0o644,
    "contrib/podman/10-locksmith-container.conf": 0o644,
}
"""Files in /usr/share/locksmith, and their modes: hooks to choose from, and what the machine itself gets."""
PROGRAMS = {"locksmithd": "locksmith.cli.daemon", "locksmithctl": "locksmith.cli.main"}
SDISTS = {"python-etcd": ("dnspython",)}
"""Dependencies that come as sources alone, which any Python makes a wheel of, and what they depend on themselves."""
BASE_TIME = 0
"""The time of every file in the layers of dependencies: they do not change when only locksmith does."""


@dataclass(frozen=True)
class Kind:
    """One of the images: what it is, its layers, and how it runs."""

    name: str
    description: str
    layers: tuple[str, ...]
    config: tuple[str, ...]


DAEMON = Kind(
    "locksmith",
    "A reboot coordinator for fleets of Linux machines",
    ("base", "own"),
    ("--config.entrypoint", "/usr/bin/locksmithd"),
)
KINDS = (
    DAEMON,
    Kind(
        SERVER,
        "locksmith's server for machines without etcd, FleetLock's clients, and people",
        ("base", "own", "server"),
        (
            *("--config.entrypoint", f"/usr/bin/{SERVER}", "--config.user", f"{SERVER_UID}:{SERVER_UID}"),
            *("--config.exposedports", "3333/tcp"),
        ),
    ),
)
COMMENTS = {"base": "Debian's packages and Python's", "own": "locksmith", "server": "what the server needs"}


def main() -> None:
    """Build both images."""
    DIST.mkdir(exist_ok=True)
    for archive, digest in build(DIST):
        print(f"{archive} ({archive.stat().st_size / 1e6:.1f} MB) {digest}")


def build(target: Path) -> list[tuple[Path, str]]:
    """Build the images into a folder; give the archive of each, that of the daemon first, and the image's digest."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "base").mkdir()
        debian_root.make(work / "base")
        build = export(work / "source")
        _dependencies(work / "base", work / "source", work)
        _links(work / "base")
        debian_root.compile_python(work / "base", f"usr/lib/python{PYTHON}", PYTHON_PACKAGES)
        _locksmith(work / "own", work / "source", build, work)
        _server(work / "server", work / "source", work)
        for name in ("own", "server"):
            debian_root.compile_python(work / "base", PYTHON_PACKAGES, root=work / name)
        for name in COMMENTS:
            _settle_modes(work / name)
            _tar(work / name, work / f"{name}.tar", build.epoch if name == "own" else BASE_TIME)
        made = []
        for kind in KINDS:
            digest = _image(work / f"{kind.name}-image", kind, work, build)
            archive = target / f"{kind.name}-{build.version}.oci.tar"
            _tar(work / f"{kind.name}-image", archive, build.epoch, "--mode=a+rX")
            made.append((archive, digest))
        return made


def tag_of(version: str) -> str:
    """Give the version as a tag, in which no `+` may be."""
    return version.replace("+", "-")


def _dependencies(root: Path, source: Path, work: Path) -> None:
    """Unpack the wheels that locksmith depends on."""
    wanted = _project(source)["dependencies"]
    sources = [one for one in wanted if one.startswith(tuple(SDISTS))]
    ready = [one for one in wanted if one not in sources] + [name for names in SDISTS.values() for name in names]
    _download(work / "wheels", *ready)
    # Made now and by the newest setuptools: a wheel in pip's cache may be of an older one, and differ.
    _pip("wheel", "--use-pep517", "--no-cache-dir", "--wheel-dir", work / "wheels", "--no-deps", *sources)
    for wheel in sorted((work / "wheels").glob("*.whl")):
        shutil.unpack_archive(wheel, root / PYTHON_PACKAGES, "zip")


def _server(root: Path, source: Path, work: Path) -> None:
    """Unpack what the server needs in addition, and make its program and its user."""
    there = {wheel.name for wheel in (work / "wheels").glob("*.whl")}
    pinned = work / "there.txt"
    pinned.write_text("".join(f"{name.split('-')[0]}=={name.split('-')[1]}\n" for name in sorted(there)))
    _download(work / "more", "--constraint", pinned, *_project(source)["optional-dependencies"]["server"])
    for wheel in sorted((work / "more").glob("*.whl")):
        if wheel.name not in there:
            shutil.unpack_archive(wheel, root / PYTHON_PACKAGES, "zip")
    _program(root, SERVER, "locksmith.cli.server")
    for name, line in {
        "etc/passwd": f"{SERVER}:x:{SERVER_UID}:{SERVER_UID}::/nonexistent:/usr/sbin/nologin\n",
        "etc/group": f"{SERVER}:x:{SERVER_UID}:\n",
    }.items():
        _write(root / name, debian_root.USERS[name] + line)


def _project(source: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    return project


def _download(folder: Path, *what: str | Path) -> None:
    """Fetch wheels for the image's Python, with what they depend on."""
    machine = debian_root.run("uname", "-m").strip()
    platforms = [f"--platform={kind}_{machine}" for kind in ("manylinux2014", "manylinux_2_28", "linux")]
    _pip("download", "--dest", folder, "--only-binary=:all:", f"--python-version={PYTHON}", *platforms, *what)


def _locksmith(root: Path, source: Path, build: Build, work: Path) -> None:
    """Unpack locksmith's own wheel, and make what an installer makes of it: its two programs."""
    _pip("wheel", "--wheel-dir", work / "own-wheel", "--no-deps", source)
    [wheel] = (work / "own-wheel").glob("*.whl")
    shutil.unpack_archive(wheel, root / PYTHON_PACKAGES, "zip")
    for program, module in PROGRAMS.items():
        _program(root, program, module)
    for name, folder in payload.FILES.items():
        if not folder.startswith(LEFT_OUT):
            _write(root / folder / Path(name).name, (source / name).read_text())
    for name, mode in SHARED.items():
        text = (source / name).read_text().replace(f"{NAME}:latest", f"{NAME}:{tag_of(build.version)}")
        folder = "hooks" if "hooks" in name else "."
        _write(root / "usr/share/locksmith" / folder / Path(name).name, text, mode)
    _write(root / "usr/lib/locksmith/installed.d/image", f"{build.version}\n")
    for folder in OWN_FOLDERS:
        (root / folder).mkdir(parents=True)


def _program(root: Path, name: str, module: str) -> None:
    _write(root / "usr/bin" / name, f"#!/usr/bin/python3 -P\nfrom {module} import main\n\nmain()\n", 0o755)


def _links(root: Path) -> None:
    for name in FROM_THE_MACHINE:
        link = root / name
        debian_root.remove(link)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"{MACHINE}/{name}")
    (root / MACHINE.lstrip("/")).mkdir()


def _settle_modes(root: Path) -> None:
    """Give everything the mode that it has for a user whose umask is 022, whatever the umask of this build."""
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink() or path.stat().st_mode & 0o7000 or name == "root":
            continue
        if path.is_dir():
            path.chmod(OWN_FOLDERS.get(name, 0o755))
        else:
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    root.chmod(0o755)


def _tar(folder: Path, archive: Path, epoch: int, *more: str) -> None:
    """Write an archive that depends on nothing but the files, their modes and the time given."""
    settled = ("--sort=name", f"--mtime=@{epoch}", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu")
    debian_root.run("tar", "--create", "--file", archive, "--directory", folder, *settled, *more, ".")


def _image(layout: Path, kind: Kind, work: Path, build: Build) -> str:
    """Make an image of its layers; give its digest."""
    created = datetime.fromtimestamp(build.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    tag = tag_of(build.version)
    image = ("--image", f"{layout}:{tag}")
    debian_root.run("umoci", "init", "--layout", layout)
    debian_root.run("umoci", "new", *image)
    for name in kind.layers:
        comment = f"{COMMENTS[name]} {build.version}" if name == "own" else COMMENTS[name]
        debian_root.run(
            "umoci", "raw", "add-layer", *image, "--history.created", created,
            "--history.created_by", "release/image.py", "--history.comment", comment, work / f"{name}.tar",
        )  # fmt: skip
    texts = {f"org.opencontainers.image.{key}": value for key, value in _labels(kind, build, created).items()}
    labels = [word for pair in sorted(texts.items()) for word in ("--config.label", "=".join(pair))]
    notes = [word for pair in sorted(texts.items()) for word in ("--manifest.annotation", "=".join(pair))]
    debian_root.run(
        "umoci", "config", *image, "--no-history", "--created", created, "--author", "locksmith",
        *kind.config, "--config.stopsignal", "SIGTERM", "--config.workingdir", "/",
        "--config.env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "--config.env", "LANG=C.UTF-8", *labels, *notes,
    )  # fmt: skip
    debian_root.run("umoci", "gc", "--layout", layout)
    return _name(layout / "index.json", f"localhost/{kind.name}:{tag}")


def _name(index: Path, name: str) -> str:
    """Give the image its whole name, under which podman and containerd load it; give its digest."""
    content = json.loads(index.read_text())
    [manifest] = content["manifests"]
    manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index.write_text(json.dumps(content))
    return str(manifest["digest"])


def _labels(kind: Kind, build: Build, created: str) -> dict[str, str]:
    """Give the annotations that the OCI specification defines, without its prefix."""
    commit = build.version.partition("+g")[2].partition(".")[0]
    return {
        "title": kind.name,
        "description": kind.description,
        "licenses": "Apache-2.0",
        "version": build.version,
        "created": created,
        **({"revision": commit} if commit else {}),
    }


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _pip(command: str, *arguments: str | Path) -> None:
    debian_root.run(sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *arguments)


if __name__ == "__main__":
    main()
