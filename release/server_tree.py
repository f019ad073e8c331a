"""What the package `locksmith-server` adds to the tree of the self-contained build: `release/bundle.py` has both.

The server is for three machines, and the tree for every node. So its libraries, its program, its pages and its unit are
in a tree of their own, whose package needs that of the node.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from release import glibc
from release.source import stamp

PROGRAM = "locksmith-server"
HOME = Path("usr/lib/locksmith")
LIBRARIES = HOME / "server"
"""Where `release/frozen/program.py` looks for them."""
PAGES = Path("locksmith/server/web")
UNIT = Path("contrib/systemd/locksmith-server.service")


def make(root: Path, node: Path, source: Path, epoch: int) -> None:
    """Make the tree below a root, and take the server's program out of the tree of a node."""
    program = root / HOME / "bundle" / PROGRAM
    program.parent.mkdir(parents=True)
    (node / HOME / "bundle" / PROGRAM).rename(program)
    for name in ("static", "templates"):
        shutil.copytree(source / PAGES / name, root / HOME / "bundle/_internal" / PAGES / name)
    unit = root / "usr/lib/systemd/system" / UNIT.name
    unit.parent.mkdir(parents=True)
    shutil.copy(source / UNIT, unit)
    link = root / "usr/bin" / PROGRAM
    link.parent.mkdir()
    link.symlink_to(f"../lib/locksmith/bundle/{PROGRAM}")
    _install(root / LIBRARIES, source / "release/frozen/server.txt")
    glibc.check(root / LIBRARIES)
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    stamp(root, epoch)


def _install(folder: Path, requirements: Path) -> None:
    """Install the libraries, and compile them so that a start need not. The result depends on no time."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-compile")
    what = ("--no-deps", "--only-binary=:all:", "--target", str(folder), "--requirement", str(requirements))
    subprocess.run([*pip, *what], check=True, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})
    shutil.rmtree(folder / "bin", ignore_errors=True)  # their own programs
    for note in folder.glob("*.dist-info/*"):
        if note.name in {"direct_url.json", "INSTALLER", "RECORD", "REQUESTED"}:
            note.unlink()
    compiled = ("-q", "-j1", "--invalidation-mode=unchecked-hash", "-s", str(folder), "-p", f"/{LIBRARIES}")
    environ = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    subprocess.run([sys.executable, "-m", "compileall", *compiled, str(folder)], check=True, env=environ)
