"""Local time, with the zone's rules, so that the next window is right across a change of the clock."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

LOCALTIME = Path("/etc/localtime")


def local_zone() -> tzinfo:
    """Give this machine's zone: `TZ`, else /etc/localtime, else UTC (localtime(5))."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if name:
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            return UTC
    try:
        with LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key=_name(LOCALTIME))
    except (ValueError, OSError):
        return UTC


def _name(localtime: Path) -> str:
    """Give the zone by the name in its link, which other machines know too (localtime(5)); else by the file."""
    _, found, name = str(localtime.resolve()).partition("/zoneinfo/")
    return name if found else localtime.name


def local_clock() -> Callable[[], datetime]:
    """Give a clock of aware local time."""
    zone = local_zone()
    return lambda: datetime.now(zone)
