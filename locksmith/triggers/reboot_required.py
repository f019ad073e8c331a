"""The trigger `reboot-required`: Debian's and Ubuntu's /run/reboot-required, which packages write, and its `.pkgs`.

A reboot empties /run. A soft reboot keeps /run and renews userspace: then the file is fulfilled, unless a package wants
another kernel or new microcode. So this trigger remembers, next to the file, which file it saw in which boot.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.host.paths import Paths
from locksmith.util import jsonread, limits
from locksmith.util.words import listed

if TYPE_CHECKING:
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


class RebootRequired:
    """Reads the file at each check; inotify only wakes the loop."""

    name = NAME

    def __init__(self, paths: Paths) -> None:
        self._file = paths.reboot_required
        self._packages = self._file.with_name(f"{NAME}.pkgs")
        self._dpkg = paths.root / "var/lib/dpkg/status"
        self._mark = paths.run / "reboot-required.json"
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    def make(cls, context: "TriggerContext") -> "RebootRequired":
        """Give the trigger of this machine."""
        return cls(context.paths)

    def found(self) -> bool:
        """Whether this machine has packages of dpkg."""
        return self._dpkg.exists() or self._file.exists()

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when the file comes, goes, changes, or is replaced."""
        self._watching = asyncio.ensure_future(self._watch(wake))

    async def look(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Read the file and its packages."""
        try:
            file = self._identity()
            left = self._left_by_an_earlier_boot(boot, file)
            packages = self._read_packages() if file else []
        except OSError as error:
            return TriggerResult(error=f"{NAME}: {error.filename} cannot be read or written: {error.strerror}")
        if file is None:
            return TriggerResult(says=f"there is no {self._file}")
        if file == left and not any(map(_wants_another_kernel, packages)):
            return TriggerResult(says=f"{self._file} is from before this boot, which did what it asked for")
        written = datetime.fromtimestamp(file.written / 1e9, UTC).replace(microsecond=0)
        reason = f"packages ask for it: {listed(packages)}" if packages else "a package asks for it"
        return TriggerResult(RebootNeed(NAME, f"{NAME}-{written:%Y-%m-%dT%H:%M:%SZ}", written, reason))

    async def close(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def _identity(self) -> _File | None:
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            return None
        return _File(stat.st_mtime_ns, stat.st_ino)

    def _read_packages(self) -> list[str]:
        try:
            with self._packages.open("rb") as file:
                lines = file.read(MOST_READ).decode(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return list(dict.fromkeys(line.strip() for line in lines if line.strip()))

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

    async def _watch(self, wake: Callable[[], None]) -> None:
        """Wake the loop when one of the two files changes; without inotify the loop's heartbeat checks them."""
        from asyncinotify import Inotify, Mask  # noqa: PLC0415 - loaded only if it is used: it takes memory

        names = {self._file.name, self._packages.name}
        changes = Mask.CREATE | Mask.CLOSE_WRITE | Mask.ATTRIB | Mask.DELETE | Mask.MOVED_TO | Mask.MOVED_FROM
        try:
            with Inotify() as inotify:
                inotify.add_watch(self._file.parent, changes | Mask.ONLYDIR)
                async for event in inotify:
                    if event.name is not None and event.name.name in names:
                        wake()
        except OSError as error:
            log.info("%s is not watched (%s): it is checked every half minute", self._file, error)


def _read_file(fields: dict[str, object], name: str) -> _File | None:
    values = jsonread.read(fields, name, list)
    if not values:
        return None
    if len(values) != 2 or not all(isinstance(value, int) for value in values):  # noqa: PLR2004 - time and inode
        raise jsonread.BadJsonError(f"the field {name!r} is no file")
    return _File(*values)


def _wants_another_kernel(package: str) -> bool:
    return package.startswith("linux-") or package.endswith("-microcode")
