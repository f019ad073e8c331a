"""The Debian packages of this working tree, for the tests: built once, and a newer build of each."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from release import deb
from tests.harness import image

CACHE = image.REPOSITORY / ".cache/debs"
PARTS = ("locksmith", "strategies", "contrib", "debian", "release", "docs", "pyproject.toml")
"""What a package is made of: it is built again when one of these has changed."""
TOOLS = ("dpkg-buildpackage", "dh", "dh_python3", "pybuild")
NEEDS = {
    deb.BOOKWORM: ("python3-click", "python3-h11", "python3-etcd"),
    deb.TRIXIE: (*deb.NAMES.values(), "tzdata-legacy"),
}
"""What each package needs of Debian; test_deb.py compares this with the packages."""


def hindrance() -> str:
    """Why no package can be built here, in a sentence; empty when one can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return (
        f"Debian packages are built with {', '.join(missing)}: apt-get install debhelper dh-python" if missing else ""
    )


def built(flavour: deb.Flavour) -> Path:
    """Give the package, built where no earlier session has built it from the same sources."""
    folder = CACHE / f"{_digest()}{flavour.suffix}"
    with image.alone(CACHE):
        if not list(folder.glob("*.deb")):
            for old in CACHE.glob(f"*{flavour.suffix}"):
                shutil.rmtree(old)
            deb.build(folder, flavours=(flavour,))
    [package] = folder.glob("*.deb")
    return package


def _digest() -> str:
    """Tell the sources from others."""
    digest = hashlib.sha256()
    for part in PARTS:
        path = image.REPOSITORY / part
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        for file in sorted(file for file in files if file.suffix != ".pyc"):
            digest.update(f"{file.relative_to(image.REPOSITORY)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def newer(package: Path, folder: Path) -> Path:
    """Make the package of a later build of the same sources."""
    with tempfile.TemporaryDirectory() as work:
        root = Path(work) / "root"
        subprocess.run(["dpkg-deb", "-R", package, root], check=True)
        control = root / "DEBIAN/control"
        old = re.findall(r"(?m)^Version: (.*)$", control.read_text())[0]
        version = f"9.{old}"
        control.write_text(control.read_text().replace(f"Version: {old}", f"Version: {version}"))
        [module] = root.glob("usr/lib/python3/dist-packages/locksmith/__init__.py")
        module.write_text(re.sub(r'(?m)^__version__ = "(.*)"$', r'__version__ = "9.\1"', module.read_text()))
        (root / "usr/lib/locksmith/installed.d/deb").write_text(f"{version}\n")
        made = folder / package.name.replace(old, version)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", root, made], check=True, stdout=subprocess.DEVNULL
        )
    return made


def version_of(package: Path) -> str:
    """Give the version in a package."""
    return subprocess.run(
        ["dpkg-deb", "-f", package, "Version"], check=True, capture_output=True, text=True
    ).stdout.strip()


@contextmanager
def signing_key() -> Iterator[str]:
    """Give the name of a key in a GnuPG keyring of the tests' own."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as home:
        os.environ["GNUPGHOME"] = home
        options = ("--batch", "--quiet", "--passphrase", "", "--quick-generate-key")
        try:
            subprocess.run(["gpg", *options, "tests <tests@example>", "ed25519", "sign", "never"], check=True)
            yield "tests@example"
        finally:
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=False)
            os.environ.clear()
            os.environ.update(before)
