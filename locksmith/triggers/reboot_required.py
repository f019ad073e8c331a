"""The trigger `reboot-required`: the files /run/reboot-required and /run/reboot-needed.

Packages of Debian and Ubuntu write the first, and their names into its `.pkgs`. SUSE's transactional-update writes
either of them, and systemd-sysupdate on Flatcar the first. So both are watched on every machine.

A reboot empties /run. A soft reboot keeps /run and renews userspace: then a file is fulfilled, unless a package wants
another kernel or new microcode. So this trigger remembers which file it saw in which boot.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.host.paths import Paths
from locksmith.util import jsonread, limits
from locksmith.util.words import listed

if TYPE_CHECKING:
    from locksmith.host.inotify import FolderWatch
    from locksmith.triggers.plugin import TriggerContext

NAME = "reboot-required"
MOST_READ = 65536
"""Bytes of the list of packages that are read."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _File:
    """The identity of a file: when it was written (nanoseconds since 1970), and its inode."""

    written: int
    inode: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """The file of a boot, and the file that an earlier boot had left in /run."""

    boot: Boot
    file: _File | None
    left: _File | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that is there; `is_left`: since before this boot."""

    path: Path
    written: datetime
    is_left: bool


class _Requested:
    """One of the files. It remembers, in `run`, which file it saw in which boot."""

    def __init__(self, path: Path, run: Path) -> None:
        self.path = path
        self._mark = run / f"{path.name}.json"

    def is_there(self) -> bool:
        """Whether the file is there now."""
        return self._identity() is not None

    def check(self, boot: Boot) -> _Found | None:
        """Give the file, if it is there. `OSError`: that cannot be read, or not be remembered."""
        file = self._identity()
        left = self._left_by_an_earlier_boot(boot, file)
        if file is None:
            return None
        return _Found(self.path, datetime.fromtimestamp(file.written / 1e9, UTC).replace(microsecond=0), file == left)

    def _identity(self) -> _File | None:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        return _File(stat.st_mtime_ns, stat.st_ino)

    def _left_by_an_earlier_boot(self, boot: Boot, file: _File | None) -> _File | None:
        """Give the file that an earlier userspace had left, and remember the present file."""
        seen = self._read_mark()
        if seen is None:
            left = None
        elif seen.boot == boot:
            left = seen.left
        else:
            left = seen.file
        now = _Seen(boot, file, left)
        if now != seen:
            self._write_mark(now)
        return left

    def _read_mark(self) -> _Seen | None:
        try:
            fields = jsonread.load_record(self._mark.read_bytes(), limits.LOCAL)
            boot = Boot(jsonread.read(fields, "boot_id", str), jsonread.read(fields, "userspace", int))
            return _Seen(boot, _read_file(fields, "file"), _read_file(fields, "left"))
        except (OSError, jsonread.BadJsonError):
            return None

    def _write_mark(self, seen: _Seen) -> None:
        fields = {
            "boot_id": seen.boot.boot_id,
            "userspace": seen.boot.userspace,
            "file": [seen.file.written, seen.file.inode] if seen.file else [],
            "left": [seen.left.written, seen.left.inode] if seen.left else [],
        }
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        new = self._mark.with_suffix(".new")
        new.write_text(json.dumps(fields))
        new.rename(self._mark)


class RebootRequired:
    """Reads the files at each check; inotify only wakes the loop."""

    name = NAME

    def __init__(self, paths: Paths) -> None:
        self._packages = paths.reboot_required.with_name(f"{NAME}.pkgs")
        self._files = tuple(_Requested(path, paths.run) for path in (paths.reboot_required, paths.reboot_needed))
        self._watch: FolderWatch | None = None

    @classmethod
    def make(cls, context: "TriggerContext") -> "RebootRequired":
        """Give the trigger of this machine."""
        return cls(context.paths)

    def found(self) -> bool:
        """Say yes: a program of any distribution may write the files at any time."""
        return True

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a file comes, goes, changes, or is replaced."""
        from locksmith.host.inotify import FolderWatch  # noqa: PLC0415 - ctypes takes memory: only if it is used

        folder, names = self._packages.parent, {self._packages.name, *(file.path.name for file in self._files)}
        try:
            self._watch = FolderWatch(folder, names, wake)
        except OSError as error:  # the loop's heartbeat checks the files
            log.info("%s is not watched (%s): it is checked every half minute", self._files[0].path, error)

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Read the files and the packages."""
        try:
            packages = self._read_packages() if self._files[0].is_there() else []
            found = [one for file in self._files if (one := file.check(boot)) is not None]
        except OSError as error:
            return TriggerResult(error=f"{NAME}: {error.filename} cannot be read or written: {error.strerror}")
        needed = [one for one in found if not one.is_left or any(map(_wants_another_kernel, packages))]
        if not found:
            return TriggerResult(says=f"there is neither {self._files[0].path} nor {self._files[1].path}")
        if not needed:
            return TriggerResult(says=f"{found[0].path} is from before this boot, which did what it asked for")
        return TriggerResult(_need(needed, packages))

    async def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.close()

    def _read_packages(self) -> list[str]:
        try:
            with self._packages.open("rb") as file:
                lines = file.read(MOST_READ).decode(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _need(needed: list[_Found], packages: list[str]) -> RebootNeed:
    """Give the need. The named packages are its version: the same packages after a reboot are no new reason.

    Only a file that an earlier boot had left proves that a reboot failed. Any other file was written since.
    """
    digest = hashlib.sha256("\n".join(sorted(packages)).encode()).hexdigest()[:12]
    reason = f"packages ask for it: {listed(packages)}" if packages else f"/run/{needed[0].path.name} asks for it"
    return RebootNeed(
        NAME,
        f"{NAME}-{digest}" if packages else NAME,
        min(one.written for one in needed),
        reason,
        judges=all(one.is_left for one in needed),
    )


def _read_file(fields: dict[str, object], name: str) -> _File | None:
    values = jsonread.read(fields, name, list)
    if not values:
        return None
    if len(values) != 2 or not all(isinstance(value, int) for value in values):  # noqa: PLR2004 - time and inode
        raise jsonread.BadJsonError(f"the field {name!r} is no file")
    return _File(*values)


def _wants_another_kernel(package: str) -> bool:
    return package.startswith("linux-") or package.endswith("-microcode")
