"""The RPMs, `python -m release.rpm`: the self-contained build, and what the server adds, packed by nfpm, not signed.

Its scriptlets do what the macros of systemd's own packages do: the preset at the first installation, a restart after an
upgrade, a stop before the removal. Before an upgrade, a daemon that is about to reboot the machine is stopped.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from release.bundle import ARCHITECTURE as SYSTEMD_NAME
from release.bundle import DIST, HOME, Payload, payload
from release.glibc import required

ARCHITECTURE = {"x86-64": "amd64"}.get(SYSTEMD_NAME, SYSTEMD_NAME)
"""As Go names it."""
RUNS = "[ -d /run/systemd/system ]"
JOURNAL = "/var/lib/locksmith/journal.json"
STOPPED = "/run/locksmith-stopped-for-upgrade"
SCRIPTS = {
    # Between the commit and the order of the reboot are ten seconds. The order would end rpm in its work. After the
    # transaction the new daemon resumes from the commit. In every other state the daemon runs on until then.
    "preinstall": f"""\
this_boot="\\"boot_id\\": *\\"$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || :)\\""
if [ "$1" -ge 2 ] && {RUNS} && grep -qs '"phase": *"committed"' {JOURNAL} && grep -qs "$this_boot" {JOURNAL}; then
  if systemctl is-active --quiet locksmithd.service; then
    touch {STOPPED} && systemctl stop locksmithd.service || :
  fi
fi
""",
    "postinstall": f"""\
if [ "$1" -eq 1 ] && command -v systemctl >/dev/null; then
  systemctl --no-reload preset locksmithd.service >/dev/null 2>&1 || :
fi
if {RUNS}; then
  systemctl daemon-reload || :
  systemctl reload dbus.service || :
fi
""",
    "preremove": """\
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null; then
  systemctl --no-reload disable --now locksmithd.service >/dev/null 2>&1 || :
fi
""",
    "postremove": f"""\
if {RUNS}; then
  systemctl daemon-reload || :
  if [ "$1" -ge 1 ]; then
    systemctl try-restart locksmithd.service || :
  fi
fi
""",
    "posttrans": f"""\
if [ -e {STOPPED} ]; then
  rm -f {STOPPED}
  systemctl start locksmithd.service || :
fi
""",
}
"""What rpm runs; "$1" is how many versions of the package are there afterwards."""
SERVER_UNIT = "locksmith-server.service"
SERVER_SCRIPTS = {
    "postinstall": f"""\
if [ "$1" -eq 1 ] && command -v systemctl >/dev/null; then
  systemctl --no-reload preset {SERVER_UNIT} >/dev/null 2>&1 || :
fi
if {RUNS}; then
  systemctl daemon-reload || :
fi
""",
    "preremove": f"""\
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null; then
  systemctl --no-reload disable --now {SERVER_UNIT} >/dev/null 2>&1 || :
fi
""",
    "postremove": f"""\
if {RUNS}; then
  systemctl daemon-reload || :
  if [ "$1" -ge 1 ]; then
    systemctl try-restart {SERVER_UNIT} || :
  fi
fi
""",
}
"""The same for the server. It runs as a user that exists while the unit runs (`DynamicUser=`), so none is made."""
ELSEWHERE = {"usr/share/zsh/vendor-completions/": "usr/share/zsh/site-functions/"}
"""What Fedora has in another folder than Debian."""


@dataclass(frozen=True)
class Package:
    """One of the two packages."""

    name: str
    description: str
    scripts: Mapping[str, str]
    depends: tuple[str, ...]
    folders: tuple[str, ...] = ()
    """Folders that it owns and that are in no tree."""
    compression: str = "zstd"


NODE = Package(
    "locksmith",
    "A reboot coordinator for fleets of Linux machines",
    SCRIPTS,
    ("systemd", "dbus", "libz.so.1()(64bit)"),
    ("/etc/locksmith",),
)
SERVER = Package(
    "locksmith-server",
    "locksmith's server for machines without etcd, FleetLock's clients, and people",
    SERVER_SCRIPTS,
    (),
    compression="gzip",  # `contents.py` reads what is in it
)


def write(tree: Payload, folder: Path = DIST) -> Path:
    """Write the RPM of a node."""
    with tree.of_kind("rpm") as root:
        return _write(NODE, tree, root, folder)


def write_server(tree: Payload, folder: Path = DIST) -> Path:
    """Write the RPM of the server, which needs that of a node, of the same version."""
    return _write(SERVER, tree, tree.server, folder)


def _write(package: Package, tree: Payload, root: Path, folder: Path) -> Path:
    target = folder / f"{package.name}-{tree.build.package_version}-1.{os.uname().machine}.rpm"
    with tempfile.TemporaryDirectory() as scripts:
        for name, text in package.scripts.items():
            (Path(scripts) / name).write_text(text)
        config = Path(scripts) / "nfpm.yaml"
        config.write_text(json.dumps(_config(package, tree, root, Path(scripts))))
        nfpm = str(Path(sys.executable).with_name("nfpm"))
        environ = {**os.environ, "SOURCE_DATE_EPOCH": str(tree.build.epoch)}
        command = [nfpm, "package", "--packager", "rpm", "--config", str(config), "--target", str(target)]
        subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)
    return target


def _config(package: Package, tree: Payload, root: Path, scripts: Path) -> dict[str, Any]:
    when = datetime.fromtimestamp(tree.build.epoch, UTC).isoformat().replace("+00:00", "Z")
    major, minor = required(root / HOME)
    own = [f"libc.so.6(GLIBC_{major}.{minor})(64bit)"]
    if package is SERVER:
        own.append(f"locksmith = {tree.build.package_version}-1")
    late = {name: str(scripts / name) for name in package.scripts if name == "posttrans"}
    return {
        "name": package.name,
        "arch": ARCHITECTURE,
        "version": tree.build.package_version,
        "version_schema": "none",
        "release": "1",
        "description": package.description,
        "maintainer": "The locksmith project",
        "license": "Apache-2.0",
        "mtime": when,
        "depends": [*package.depends, *own],
        "contents": [*(_folder(name, when) for name in package.folders), *_contents(root, when)],
        "scripts": {name: str(scripts / name) for name in package.scripts if name not in late},
        "rpm": {"buildhost": "locksmith", "compression": package.compression, "scripts": late},
    }


def _folder(name: str, when: str) -> dict[str, Any]:
    return {"dst": name, "type": "dir", "file_info": {"mode": 0o755, "mtime": when}}


def _contents(root: Path, when: str) -> Iterator[dict[str, Any]]:
    for path in sorted(root.rglob("*")):
        place = str(path.relative_to(root))
        for debian, other in ELSEWHERE.items():
            place = place.replace(debian, other)
        entry: dict[str, Any] = {"dst": f"/{place}", "file_info": {"mtime": when}}
        if path.is_symlink():
            yield {**entry, "src": str(path.readlink()), "type": "symlink"}
        elif path.is_file():
            yield {**entry, "src": str(path), "file_info": {"mode": path.stat().st_mode & 0o777, "mtime": when}}
        elif place.startswith(HOME):
            yield _folder(f"/{place}", when)


def main() -> None:
    """Write both."""
    DIST.mkdir(exist_ok=True)
    with payload() as tree:
        print(write(tree))
        print(write_server(tree))


if __name__ == "__main__":
    main()
