"""The Debian packages: `python -m release.deb` builds one for Debian 12 and one for Debian 13 and later into dist/.

Both come from `debian/` and the same sources. Debian 13 has every Python package that locksmith needs. Debian 12 has
some of them too old: those of debian/vendor.txt are in its package, below /usr/lib/locksmith/vendor.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from release.source import REPOSITORY, Build, export, stamp

DIST = REPOSITORY / "dist"
NAMES = {
    "click": "python3-click",
    "dbus-fast": "python3-dbus-fast",
    "h11": "python3-h11",
    "prometheus-client": "python3-prometheus-client",
    "python-etcd": "python3-etcd",
    "urllib3": "python3-urllib3",
}
"""Each dependency, and what Debian calls it."""


@dataclass(frozen=True)
class Flavour:
    """For which Debian a package is."""

    suite: str
    suffix: str
    """Ends the version, so that an upgrade of Debian upgrades the package. A `~` would sort before `~dev`."""
    zones: tuple[str, ...]
    """The packages of time zones. Debian 13 has old names like CET, which a window may have, in a package apart."""
    vendors: bool = False


BOOKWORM = Flavour("bookworm", "+deb12u1", ("tzdata",), vendors=True)
TRIXIE = Flavour("trixie", "+deb13u1", ("tzdata", "tzdata-legacy"))
FLAVOURS = (BOOKWORM, TRIXIE)


def build(dist: Path = DIST, repository: Path = REPOSITORY, flavours: Sequence[Flavour] = FLAVOURS) -> list[Path]:
    """Build the packages into a folder, all of the same sources, and name them."""
    dist.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="locksmith-deb-") as folder:
        exported = Path(folder) / "exported"
        exported.mkdir()
        made = export(exported, repository)
        return [_build(flavour, made, exported, dist) for flavour in flavours]


def dependencies(flavour: Flavour, repository: Path = REPOSITORY) -> list[str]:
    """Give the packages of Debian that locksmith needs there, with the lowest versions of pyproject.toml."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    found = {}
    for requirement in project["dependencies"]:
        name, version = re.split(r"[>=]=", requirement.split(",")[0])
        found[name] = version
    within = vendored(repository) if flavour.vendors else set()
    wanted = sorted(set(found) - within)
    python = project["requires-python"].removeprefix(">=")
    return [f"python3 (>= {python}~)", *(f"{NAMES[name]} (>= {found[name]})" for name in wanted), *flavour.zones]


def vendored(repository: Path = REPOSITORY) -> set[str]:
    """Name the packages of debian/vendor.txt."""
    return set(re.findall(r"(?m)^([a-z0-9-]+)==", (repository / "debian/vendor.txt").read_text()))


def _build(flavour: Flavour, made: Build, exported: Path, dist: Path) -> Path:
    work = exported.with_name(flavour.suite)
    sources = work / "locksmith"
    shutil.copytree(exported, sources, symlinks=True)
    version = made.package_version + flavour.suffix
    architecture = _run("dpkg", "--print-architecture").strip() if flavour.vendors else "all"
    _write_control(sources, flavour, architecture)
    _write_changelog(sources, made, version, flavour)
    if flavour.vendors:
        _vendor(sources)
    stamp(sources, made.epoch)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DEB_")},
        "SOURCE_DATE_EPOCH": str(made.epoch),
        "DEB_BUILD_OPTIONS": "nocheck noautodbgsym",
        "PAYLOAD_PYTHON": sys.executable,
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",  # not the Python of a virtual environment
    }
    _run("dpkg-buildpackage", "--build=binary", "--no-sign", cwd=sources, env=environment)
    return Path(shutil.copy(work / f"locksmith_{version}_{architecture}.deb", dist))


def _write_control(sources: Path, flavour: Flavour, architecture: str) -> None:
    text = (sources / "debian/control.in").read_text()
    needs = ",\n ".join(dependencies(flavour, sources))
    (sources / "debian/control").write_text(text.replace("@ARCHITECTURE@", architecture).replace("@DEPENDS@", needs))


def _write_changelog(sources: Path, made: Build, version: str, flavour: Flavour) -> None:
    when = format_datetime(datetime.fromtimestamp(made.epoch, UTC))
    [maintainer] = re.findall(r"(?m)^Maintainer: (.*)$", (sources / "debian/control").read_text())
    (sources / "debian/changelog").write_text(
        f"locksmith ({version}) {flavour.suite}; urgency=medium\n\n"
        f"  * Version {made.version}: see CHANGELOG.md.\n\n"
        f" -- {maintainer}  {when}\n"
    )


def _vendor(sources: Path) -> None:
    """Unpack the wheels of debian/vendor.txt. pip compares the hashes. Debian 12 has Python 3.11."""
    folder = sources / "debian/vendor"
    machine = os.uname().machine
    _run(
        *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-compile"),
        *("--target", folder, "--require-hashes", "--no-deps", "--only-binary=:all:", "--implementation=cp"),
        *("--python-version=3.11", f"--platform=manylinux2014_{machine}"),
        *("--requirement", sources / "debian/vendor.txt"),
    )
    shutil.rmtree(folder / "bin", ignore_errors=True)


def _run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], check=False, capture_output=True, text=True, cwd=cwd, env=env
    )
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    for path in build():
        print(path.relative_to(REPOSITORY))
