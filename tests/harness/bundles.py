"""The self-contained build of this working tree: built once, and kept in the cache for as long as nothing changes.

`LOCKSMITH_BUNDLE` may name a folder with the trees of a build: `root`, and `server`.
"""

import hashlib
import importlib.util
import marshal
import os
import shutil
import sysconfig
from ctypes.util import find_library
from pathlib import Path

from release import bundle
from release.source import Build, stamp
from tests.harness import image

PARTS = ("locksmith", "strategies", "release", "contrib", "pyproject.toml")
"""What the build is made of."""
TOOLS = {"strip": "binutils", "mksquashfs": "squashfs-tools"}


def hindrance() -> str:
    """Why nothing can be built here, in a sentence; empty when it can."""
    missing = sorted(package for tool, package in TOOLS.items() if shutil.which(tool) is None)
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") and not find_library(f"python{sysconfig.get_python_version()}"):
        missing.append("libpython3-dev")
    return f"the self-contained build needs the Debian packages {', '.join(missing)}" if missing else ""


def built(folder: Path) -> bundle.Payload:
    """Give a copy of the tree, in a folder of the caller's own."""
    kept, root = _kept(), folder / "root"
    for name in (root.name, "server"):
        shutil.copytree(kept / name, folder / name, symlinks=True)
    found = next((root / bundle.HOME / "bundle/_internal").glob("locksmith-*.dist-info"))
    version = found.name.removeprefix("locksmith-").removesuffix(".dist-info")
    return bundle.Payload(root, Build(version, int((root / bundle.HOME).stat().st_mtime)))


def newer(payload: bundle.Payload, folder: Path) -> bundle.Payload:
    """Give the same as a build of another version."""
    root, version = folder / "newer", "99.0"
    shutil.copytree(payload.root, root, symlinks=True)
    internal = root / bundle.HOME / "bundle/_internal"
    code = compile(f'__version__ = "{version}"\n', "locksmith/__init__.py", "exec", dont_inherit=True)
    (internal / "locksmith/__init__.pyc").write_bytes(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
    found = next(internal.glob("locksmith-*.dist-info"))
    found.rename(internal / f"locksmith-{version}.dist-info")
    return bundle.Payload(root, Build(version, payload.build.epoch))


def _kept() -> Path:
    if chosen := os.environ.get("LOCKSMITH_BUNDLE"):
        return Path(chosen)
    place = _cache() / f"bundle-{_digest()}"
    with image.alone(_cache()):
        if not place.exists():
            for old in _cache().glob("bundle-*"):
                shutil.rmtree(old)
            with bundle.payload() as payload:
                stamp(payload.root, payload.build.epoch)
                making = _cache() / "bundle-making"
                shutil.rmtree(making, ignore_errors=True)
                for tree, name in ((payload.root, "root"), (payload.server, "server")):
                    shutil.copytree(tree, making / name, symlinks=True)
                making.rename(place)
    return place


def _cache() -> Path:
    return image.cache() if os.geteuid() == 0 else image.REPOSITORY / ".cache"


def _digest() -> str:
    digest = hashlib.sha256()
    for part in PARTS:
        top = image.REPOSITORY / part
        for path in sorted([top, *top.rglob("*")]):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(image.REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
