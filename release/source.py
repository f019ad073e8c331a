"""The sources that a package is built from: a copy of the working tree, with a version of its own and one time.

The version in `locksmith/__init__.py` is the only one in the repository. A copy that is not the tagged commit of that
version gets the time and the name of its commit too, so that an upgrade to another build is never the same version.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
_VERSION_FILE = "locksmith/__init__.py"
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Build:
    """Which build it is."""

    version: str
    """As PEP 440 has it: `0.1.0`, or `0.1.0.dev20261129134423+g5d09f5c` between releases."""
    epoch: int
    """Seconds since 1970: the time of every file in a package (`SOURCE_DATE_EPOCH`)."""

    @property
    def package_version(self) -> str:
        """The version as dpkg and rpm order it: `0.1.0~dev20261129134423+g5d09f5c` is older than `0.1.0`."""
        return self.version.replace(".dev", "~dev")


def export(folder: Path, repository: Path = REPOSITORY) -> Build:
    """Copy the sources to a new folder, with their version in them, all files of one time."""
    build = build_of(repository)
    for name in _files(repository):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / name, target, follow_symlinks=False)
        if not target.is_symlink():
            target.chmod(0o755 if os.access(target, os.X_OK) else 0o644)
    version_file = folder / _VERSION_FILE
    version_file.write_text(_VERSION.sub(f'__version__ = "{build.version}"', version_file.read_text()))
    stamp(folder, build.epoch)
    return build


def build_of(repository: Path = REPOSITORY) -> Build:
    """Tell which build these sources make. Sources without git are a copy that `export` made."""
    version = _declared(repository)
    if not (repository / ".git").exists():
        return Build(version, int((repository / _VERSION_FILE).stat().st_mtime))
    epoch, commit = _git(repository, "log", "-1", "--format=%ct %h", "--abbrev=10").split()
    local = f"g{commit}"
    if changed := _changed(repository):
        local += f".d{changed}"
    elif f"v{version}" in _git(repository, "tag", "--points-at", "HEAD").split():
        return Build(version, int(epoch))
    when = datetime.fromtimestamp(int(epoch), UTC)
    return Build(f"{version}.dev{when:%Y%m%d%H%M%S}+{local}", int(epoch))


def stamp(folder: Path, epoch: int) -> None:
    """Give everything in a folder one time of change, as two equal builds need it."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _declared(repository: Path) -> str:
    found = _VERSION.search((repository / _VERSION_FILE).read_text())
    if found is None:
        raise ValueError(f"{repository}/{_VERSION_FILE} has no line __version__ = ...")
    return found[1]


def _changed(repository: Path) -> str:
    """Give a digest of what differs from the commit; empty when nothing does."""
    if not _git(repository, "status", "--porcelain", "--untracked-files=all"):
        return ""
    digest = hashlib.sha256()
    for name in _files(repository):
        path = repository / name
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:8]


def _files(repository: Path) -> list[str]:
    """Name the files of the sources: those that git has or would take, or all where there is no git."""
    if not (repository / ".git").exists():
        return sorted(str(path.relative_to(repository)) for path in repository.rglob("*") if not path.is_dir())
    listed = _git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted({name for name in listed if name and os.path.lexists(repository / name)})


def _git(repository: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", f"safe.directory={repository}", "-C", str(repository), *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
