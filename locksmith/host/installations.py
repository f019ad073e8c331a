"""The installations of locksmith on this machine: two of different kinds disagree about which daemon runs.

Each package writes its version to /usr/lib/locksmith/installed.d/KIND. A program that is not below /usr/lib is of a
Python environment. A unit of an administrator covers the unit of every package.
"""

import os.path
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import locksmith
from locksmith.host.paths import Paths
from locksmith.host.trust import read_regular
from locksmith.util.words import quoted

UNIT = "locksmithd.service"
UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system")
"""Where a unit covers that of a package, which is in usr/lib/systemd/system."""
QUADLET = "etc/containers/systemd/locksmithd.container"
"""podman makes a unit of it, which covers that of a package."""
ENVIRONMENT = "Python environment"
PODMAN = "podman"
"""The container as podman runs it, which keeps an older unit from starting by a condition of its own."""
_STOP = "systemctl stop locksmithd; "
REMOVE = {
    "deb": "apt-get remove locksmith",
    "rpm": "rpm --erase locksmith",
    "sysext": f"{_STOP}rm -rf /etc/extensions/locksmith* /var/lib/extensions/locksmith* "
    "/etc/systemd/system/systemd-sysext.service.d/10-locksmith.conf && systemd-sysext refresh",
    "image": f"{_STOP}rm -f /{QUADLET} /etc/systemd/system/locksmithd.service.d/10-locksmith-container.conf "
    "&& systemctl daemon-reload",
    "bundle": f"{_STOP}rm -r /usr/lib/locksmith/bundle /usr/lib/locksmith/installed.d/bundle",
}
"""How an installation of each kind is removed. A daemon runs on without its files, so it is stopped first."""
UNIT_FREE = "rm -f /etc/systemd/system/locksmithd.service.d/10-locksmith.conf"
"""Without the extension, that drop-in lets no unit of this name start: neither a package's, nor CoreOS locksmith's."""
REINSTALL = {"deb": "apt-get install --reinstall locksmith", "rpm": "dnf reinstall locksmith"}
"""How a package gets back the files that the archive has replaced."""
UNPACK = "tar -xJf ARCHIVE -C / --keep-directory-symlink"
"""How the archive gets back the files that a package took along."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~:-]{0,80}")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Installation:
    """One of them: its kind, and its version or its Python."""

    kind: str
    what: str

    def __str__(self) -> str:
        """Name it in a sentence."""
        return f"{self.kind} {self.what}"

    @property
    def removal(self) -> str:
        """The command that removes it."""
        return (
            f"{quoted(Path(self.what))} -m pip uninstall locksmith" if self.kind == ENVIRONMENT else REMOVE[self.kind]
        )


def installations(paths: Paths, program: Path = Path(locksmith.__file__)) -> list[Installation]:
    """Give what is installed, the packages first. `program` is a file of the program that asks.

    The program of the container image sees its own mark, and those of its machine.
    """
    found = list(_packages(paths))
    if paths.image_mark.exists():
        return [*found, *_packages(replace(paths, root=paths.machine_root))]
    if _has_quadlet(paths):
        found.append(Installation("image", "by podman"))
    if not program.is_relative_to(paths.root / "usr/lib"):
        found.append(Installation(ENVIRONMENT, sys.executable))
    return found


def warnings(paths: Paths, program: Path = Path(locksmith.__file__)) -> list[str]:
    """Say in a sentence each that there are several installations, and that a unit covers that of a package."""
    found = installations(paths, program)
    said = []
    if len(found) > 1:
        kinds = {one.kind for one in found} | ({PODMAN} if _has_quadlet(paths) else set())
        ways = [f"`{_removal(one, kinds)}`" for one in found]
        said.append(
            f"locksmith is installed {len(found)} times on this machine: {', '.join(map(str, found))}. "
            f"This program is in {program.parents[1]}. Remove all but one: {' or '.join(ways)}"
        )
    packages = ", ".join(str(one) for one in found if one.kind != ENVIRONMENT)
    if packages:
        said += [
            f"systemd starts locksmithd by the unit {unit}, which covers the unit of {packages}: "
            f"`rm {quoted(unit)} && systemctl daemon-reload`"
            for unit in _covering(paths)
        ]
    return said


def _removal(one: Installation, kinds: set[str]) -> str:
    """Give the command that removes it, and leaves the others whole: the archive has the paths of a package."""
    commands = [one.removal]
    if one.kind == "bundle":
        commands += [REINSTALL[kind] for kind in sorted(kinds & REINSTALL.keys())]
    elif one.kind == "sysext":
        commands += [UNIT_FREE] * bool(kinds & {"bundle", PODMAN, *REINSTALL}) + ["systemctl daemon-reload"]
    elif one.kind in REINSTALL and "bundle" in kinds:
        commands.append(UNPACK)
    return " && ".join(commands)


def _has_quadlet(paths: Paths) -> bool:
    machine = paths.machine_root if paths.image_mark.exists() else paths.root
    return os.path.isfile(machine / QUADLET)  # noqa: PTH113 - raises nothing where a folder is closed


def _packages(paths: Paths) -> Iterator[Installation]:
    try:
        files = sorted((paths.root / "usr/lib/locksmith/installed.d").iterdir())
    except OSError:
        return
    for file in files:
        if file.name not in REMOVE:
            continue
        try:
            version = read_regular(file, _LONGEST).decode("utf-8", "replace").strip()
        except OSError:
            version = ""
        yield Installation(file.name, version if _VERSION.fullmatch(version) else "of an unknown version")


def _covering(paths: Paths) -> Iterator[Path]:
    """Give the units that systemd takes instead of a package's: no link to that, and no mask, which is an order."""
    for folder in UNIT_FOLDERS:
        unit = paths.root / folder / UNIT
        own = paths.root / "usr/lib/systemd/system" / UNIT
        if os.path.isfile(unit) and unit.resolve() != own.resolve():  # noqa: PTH113 - as above
            yield unit
