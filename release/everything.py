"""A whole release in dist/: `python -m release.everything [--check]`.

It runs every builder of BUILDERS in a copy of the sources, writes a list of what is inside (SBOM) and SHA256SUMS, and
puts all of it into dist/ at once. If one of them fails, dist/ stays as it was. `--check` builds twice, in other
surroundings the second time, and compares: the two must be identical. docs/releasing.md says when to run it.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from release import sbom
from release.contents import python_packages
from release.source import REPOSITORY, Build, export

BUILDERS: Mapping[str, Sequence[str]] = {
    "release.wheel": ("locksmith-*.whl", "locksmith-*.tar.gz"),
    "release.deb": ("locksmith_*deb12u1_*.deb", "locksmith_*deb13u1_*.deb"),
    "release.bundle": ("locksmith-*.tar.xz", "locksmith-*.raw"),
    "release.rpm": ("locksmith-[0-9]*.rpm", "locksmith-server-*.rpm"),
    "release.image": ("locksmith-[0-9]*.oci.tar", "locksmith-server-*.oci.tar"),
}
"""Each builder, and the files that it writes to dist/: one for each pattern, and no other."""
SUMS = "SHA256SUMS"
LIMIT = 1800.0
"""Seconds for one builder."""


class ReleaseError(Exception):
    """The release was not built; the text says why."""


@dataclass(frozen=True)
class Surroundings:
    """What a build must not depend on."""

    folder: str = "locksmith"
    umask: int = 0o022
    environ: Mapping[str, str] = field(default_factory=dict)


USUAL = Surroundings()
OTHER = Surroundings("another-place", 0o027, {"TZ": "Pacific/Chatham", "LC_ALL": "C", "LANG": "C"})


def build(target: Path, repository: Path, builders: Mapping[str, Sequence[str]], surroundings: Surroundings) -> Build:
    """Build everything into a new folder."""
    with tempfile.TemporaryDirectory(prefix="locksmith-release-") as temporary:
        sources = Path(temporary) / surroundings.folder
        made = export(sources, repository)
        if missing := [module for module in builders if not (sources / f"{module.replace('.', '/')}.py").exists()]:
            raise ReleaseError(f"these sources lack {', '.join(missing)}, so they make no whole release")
        for module, patterns in builders.items():
            _run(module, sources, surroundings)
            _take(module, patterns, sources / "dist", target)
    files = sorted(target.iterdir())
    for path in files:
        _check_version(path, made)
    parts = sbom.parts_of(files)
    sbom.write(target / f"locksmith-{made.version}.cdx.json", made, parts)
    listed = sorted(target.iterdir())
    (target / SUMS).write_text("".join(f"{_digest(path)}  {path.name}\n" for path in listed))
    return made


def _run(module: str, sources: Path, surroundings: Surroundings) -> None:
    """Run a builder in the copy of the sources, where it finds the version and the time of this build."""
    began = time.monotonic()
    (sources / "dist").mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            check=False,
            cwd=sources,
            # No byte code in the copy: a builder that copies the sources again would take it for a source.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **surroundings.environ},
            umask=surroundings.umask,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(f"{module} did not end within {LIMIT:g} s, and was ended") from error
    if done.returncode != 0:
        raise ReleaseError(
            f"{module} failed with exit status {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
        )
    print(f"{module}: {time.monotonic() - began:.0f} s", flush=True)


def _take(module: str, patterns: Sequence[str], dist: Path, target: Path) -> None:
    """Move what a builder wrote; it must be what the table says."""
    names = sorted(path.name for path in dist.iterdir())
    for pattern in patterns:
        if len([name for name in names if fnmatch(name, pattern)]) != 1:
            raise ReleaseError(f"{module} has to write one file {pattern}, and wrote: {', '.join(names) or 'nothing'}")
    if more := [name for name in names if not any(fnmatch(name, pattern) for pattern in patterns)]:
        raise ReleaseError(f"{module} wrote what BUILDERS in release/everything.py does not name: {', '.join(more)}")
    for name in names:
        shutil.move(dist / name, target / name)
    dist.rmdir()


def _check_version(path: Path, made: Build) -> None:
    """Compare the version in a file's name, and that of the package inside, with the one of this build."""
    if not any(version in path.name for version in _spellings(made)):
        raise ReleaseError(f"{path.name} does not have the version {made.version} in its name")
    for part in python_packages(path):
        if part.name == "locksmith" and part.version != made.version:
            raise ReleaseError(f"{path.name} has locksmith {part.version} inside, and not {made.version}")


def _spellings(made: Build) -> set[str]:
    """Give the ways in which a version is written in names: dpkg's, rpm's and that of a tag."""
    plain = {made.version, made.package_version}
    return plain | {one.replace("+", "-") for one in plain} | {one.replace("+", "_") for one in plain}


def differences(one: Path, other: Path) -> list[str]:
    """Say how two builds differ; empty if they are identical."""
    digests = [{path.name: _digest(path) for path in folder.iterdir()} for folder in (one, other)]
    return [
        f"{name} differs" if name in digests[0] and name in digests[1] else f"{name} is in one build only"
        for name in sorted(digests[0].keys() | digests[1].keys())
        if digests[0].get(name) != digests[1].get(name)
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _begun(dist: Path, cache: Path) -> Iterator[Path]:
    """Give a folder that becomes dist/ if all goes well, and is removed if not. git ignores the cache."""
    cache.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="release-", dir=cache))
    try:
        yield folder
        folder.chmod(0o755)
        old = folder.with_name(f"{folder.name}.old")
        if dist.exists():
            dist.rename(old)
        folder.rename(dist)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def release(
    dist: Path,
    repository: Path = REPOSITORY,
    builders: Mapping[str, Sequence[str]] = BUILDERS,
    *,
    twice: bool = False,
) -> Build:
    """Build a release into dist/, which has nothing else afterwards."""
    cache = repository / ".cache"
    with _begun(dist, cache) as folder:
        made = build(folder, repository, builders, USUAL)
        if twice:
            kept = cache / "release-check"
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            build(kept, repository, builders, OTHER)
            if found := differences(folder, kept):
                first = kept.with_name("release-check-first")
                shutil.rmtree(first, ignore_errors=True)
                shutil.copytree(folder, first)
                raise ReleaseError(f"two builds are not identical: {'; '.join(found)}. Compare {first} and {kept}")
            shutil.rmtree(kept)
            print("two builds are identical")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, and say what is in dist/."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="build twice, and compare")
    parser.add_argument(
        "--only", nargs="+", metavar="MODULE", choices=BUILDERS, help="only these builders: that is no whole release"
    )
    options = parser.parse_args(arguments)
    chosen = {module: BUILDERS[module] for module in options.only or BUILDERS}
    try:
        made = release(REPOSITORY / "dist", builders=chosen, twice=options.check)
    except ReleaseError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"dist/ has locksmith {made.version}:")
    print((REPOSITORY / "dist" / SUMS).read_text(), end="")
    if left_out := [module for module in BUILDERS if module not in chosen]:
        print(f"This is no whole release. Left out: {', '.join(left_out)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
