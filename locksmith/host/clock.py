"""Local time, with the zone's rules, so that the next window is right across a change of the clock, and of the zone."""

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from locksmith.host.paths import Paths

log = logging.getLogger(__name__)

LOCALTIME = Path("/etc/localtime")
SETTLED = 1.0
"""Seconds for which a new /etc/localtime must stand: `ln -sf` and `cp` leave no file, or half a file, for a moment."""

_Stamp = tuple[object, ...]


def local_zone() -> tzinfo:
    """Give this machine's zone: `TZ`, else /etc/localtime, else UTC (localtime(5))."""
    return _zone_of_environment() or _zone_of_file() or UTC


def _zone_of_environment() -> tzinfo | None:
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


def _zone_of_file() -> tzinfo | None:
    """Read /etc/localtime; None: it is no zone."""
    path = _localtime()
    try:
        with path.open("rb") as file:
            return ZoneInfo.from_file(file, key=_name(path))
    except (ValueError, OSError):
        return None


def _localtime() -> Path:
    """Give the file of this machine, or of the folder that stands for a machine if it has one."""
    paths = Paths.from_environment()
    own = paths.root / "etc/localtime"
    return own if paths != Paths() and own.is_symlink() else LOCALTIME


def _name(localtime: Path) -> str:
    """Give the zone by the name in its link, which other machines know too (localtime(5)); else by the file."""
    _, found, name = str(localtime.resolve()).partition("/zoneinfo/")
    return name if found else localtime.name


def local_clock() -> Callable[[], datetime]:
    """Give a clock of aware local time, which follows a change of the machine's zone."""
    return _Clock()


class _Clock:
    """The clock. A zone that stays the same is the same object: what was computed with it is kept."""

    def __init__(self) -> None:
        self._fixed = _zone_of_environment() is not None
        self._stamp = self._seen = _stamp()
        self._since = time.monotonic()
        self._zone = local_zone()

    def __call__(self) -> datetime:
        """Give the time."""
        if not self._fixed:
            self._follow()
        return datetime.now(self._zone)

    def _follow(self) -> None:
        stamp, now = _stamp(), time.monotonic()
        if stamp != self._seen:
            self._seen, self._since = stamp, now
        if stamp == self._stamp or now - self._since < SETTLED:
            return
        self._stamp = stamp
        # Without a file the zone is UTC; a file that is no zone says nothing.
        zone = _zone_of_file() or (UTC if stamp == _MISSING else None)
        if zone is None:
            log.warning("%s is no time zone, so %s stays in use: `timedatectl set-timezone`", _localtime(), self._zone)
            return
        self._zone = zone
        time.tzset()  # for the times in sentences and in the log
        log.info("the time zone of this machine is %s now: windows without a zone follow it", zone)


_MISSING: _Stamp = ()


def _stamp() -> _Stamp:
    """Tell one /etc/localtime from another: by the link, and by the file that it leads to."""
    path = _localtime()
    try:
        link, file = path.lstat(), path.stat()
    except OSError:
        return _MISSING
    return link.st_ino, link.st_mtime_ns, file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size
