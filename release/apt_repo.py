"""An apt repository of the packages in dist/: `python -m release.apt_repo KEY` makes dist/apt, signed with that key.

KEY is a fingerprint or a user id of one secret key in the caller's GnuPG keyring (`GNUPGHOME` names another). dist/apt
can be served by any web server, or be a folder of the node. Each suite of Debian has its own list of packages: a node
of Debian 12 never sees the package for Debian 13.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

from release import deb
from release.source import build_of, stamp

COMPONENT = "main"
KEYRING = "locksmith-archive-keyring.asc"


class RepositoryError(Exception):
    """The repository could not be made; the text says why, and what to do."""


def make(repository: Path, packages: Sequence[Path], key: str, epoch: int) -> None:
    """Make the repository of these packages, all files of one time. An error leaves an earlier one as it was."""
    key = _fingerprint(key)
    with tempfile.TemporaryDirectory(prefix="making-", dir=repository.parent) as folder:
        made = Path(folder) / "apt"
        for flavour in deb.FLAVOURS:
            pool = made / "pool" / flavour.suite
            pool.mkdir(parents=True)
            for package in packages:
                if f"{flavour.suffix}_" in package.name:
                    shutil.copy(package, pool)
            _index(made, flavour.suite, epoch)
            _sign(made / "dists" / flavour.suite, key, epoch)
        (made / KEYRING).write_text(_run("gpg", "--batch", "--armor", "--export", key))
        stamp(made, epoch)
        shutil.rmtree(repository, ignore_errors=True)
        made.rename(repository)


def _index(repository: Path, suite: str, epoch: int) -> None:
    """Write the lists of packages of a suite, and the Release file that has their digests."""
    home = repository / "dists" / suite
    entries = _run("dpkg-scanpackages", "--multiversion", f"pool/{suite}", cwd=repository).strip().split("\n\n")
    architectures = sorted({_architecture(entry) for entry in entries if entry} | {"all"})
    for architecture in architectures:
        folder = home / COMPONENT / f"binary-{architecture}"
        folder.mkdir(parents=True)
        text = "".join(f"{entry}\n\n" for entry in entries if entry and _architecture(entry) in {architecture, "all"})
        (folder / "Packages").write_text(text)
        (folder / "Packages.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    lists = sorted(path for path in home.rglob("Packages*"))
    digests = [
        f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.relative_to(home)}"
        for path in lists
    ]
    fields = {
        "Origin": "locksmith",
        "Label": "locksmith",
        "Suite": suite,
        "Codename": suite,
        "Date": format_datetime(datetime.fromtimestamp(epoch, UTC), usegmt=True),
        "Architectures": " ".join(architectures),
        "Components": COMPONENT,
        "SHA256": "\n" + "\n".join(digests),
    }
    (home / "Release").write_text(
        "".join(f"{name}: {value}\n" for name, value in fields.items()).replace(": \n", ":\n")
    )


def _architecture(entry: str) -> str:
    return next(line for line in entry.splitlines() if line.startswith("Architecture: ")).removeprefix("Architecture: ")


def _sign(home: Path, key: str, epoch: int) -> None:
    """Sign a Release file, as of the build or of the key if that is younger: two builds have the same signature."""
    gpg = ("gpg", "--batch", "--yes", "--local-user", key, f"--faked-system-time={max(epoch, _made(key))}!")
    _run(*gpg, "--clearsign", "--output", home / "InRelease", home / "Release")
    _run(*gpg, "--armor", "--detach-sign", "--output", home / "Release.gpg", home / "Release")


def _fingerprint(key: str) -> str:
    """Give the fingerprint of the one secret key of this name: apt would trust each key that is exported."""
    told = _run("gpg", "--batch", "--with-colons", "--list-secret-keys", key)
    fields = [line.split(":") for line in told.splitlines()]
    found = [after[9] for field, after in pairwise(fields) if field[0] == "sec"]
    if len(found) != 1:
        raise RepositoryError(f"{key} names {len(found)} secret keys ({', '.join(found)}): give the fingerprint of one")
    return found[0]


def _made(key: str) -> int:
    """When the youngest part of a key was made, seconds since 1970."""
    fields = [line.split(":") for line in _run("gpg", "--batch", "--with-colons", "--list-keys", key).splitlines()]
    return max(int(field[5]) for field in fields if field[0] in {"pub", "sub"})


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode != 0:
        raise RepositoryError(f"{' '.join(map(str, command))} failed: {done.stderr.strip()}")
    return done.stdout


def main(arguments: Sequence[str]) -> int:
    """Make dist/apt; 1: that failed, 2: no key was given."""
    if len(arguments) != 1 or not arguments[0]:
        print("name the key that signs the repository: make apt-repo KEY=FINGERPRINT", file=sys.stderr)
        return 2
    build = build_of()
    packages = sorted(deb.DIST.glob(f"locksmith_{build.package_version}+deb*.deb"))
    if len(packages) != len(deb.FLAVOURS):
        print("dist/ has not both packages of these sources: run make deb", file=sys.stderr)
        return 1
    try:
        make(deb.DIST / "apt", packages, arguments[0], build.epoch)
    except RepositoryError as error:
        print(f"dist/apt was not made: {error}", file=sys.stderr)
        return 1
    print("dist/apt: serve this folder; docs/install-debian.md says how a node uses it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
