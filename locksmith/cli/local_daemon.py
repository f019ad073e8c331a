"""What this machine's locksmithd has for its configuration: the tool acts on the same lock.

The daemon may have its group from its environment, or from a file that was changed since. So the tool asks the daemon,
over the bus. Credentials are not on the bus: the tool reads those of the files, its own environment and its flags.
"""

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.host.runfiles import daemon_runs, pid_file

if TYPE_CHECKING:
    from locksmith.config.sources import Settings
    from locksmith.host.dbus.bus import SystemBus

START_LIMIT = 3.0
"""Seconds for a daemon that starts to come to the bus."""
ASK_AGAIN = 0.1

UNKNOWN = "locksmithd runs on this machine, and its group is not known, as its settings cannot be read"


@dataclass(frozen=True, slots=True)
class LocalDaemon:
    """This machine's daemon: nothing, if none runs; else what it shows, or the `problem` why that is unknown."""

    settings: "Settings | None" = None
    problem: str = ""


def was_started(paths: Paths) -> bool:
    """Whether a daemon has run on this machine since its boot, and may still run: else the bus need not be asked."""
    return os.path.lexists(pid_file(paths))


async def ask_daemon(paths: Paths) -> LocalDaemon:
    """Ask this machine's daemon for its settings, if one runs. A daemon that starts gets time to come to the bus."""
    from locksmith.host.dbus.bus import SystemBus

    async with SystemBus() as bus:
        return await ask_daemon_over(bus, paths)


async def ask_daemon_over(bus: "SystemBus", paths: Paths) -> LocalDaemon:
    """Do the same over a bus that is connected already."""
    from locksmith.daemon.bus_settings import read_settings
    from locksmith.host.dbus.errors import BusGoneError, NobodyError

    clock = asyncio.get_running_loop().time
    ends = clock() + START_LIMIT
    while True:
        try:
            return LocalDaemon(await read_settings(bus))
        except (NobodyError, BusGoneError) as error:
            if not daemon_runs(paths):
                return LocalDaemon()
            if isinstance(error, BusGoneError):
                return LocalDaemon(problem=f"{UNKNOWN}: {error}")
            if clock() >= ends:
                return LocalDaemon(problem=f"{UNKNOWN}: it is not on the bus, and `journalctl -u locksmithd` says why")
        except HostError as error:
            return LocalDaemon(problem=f"{UNKNOWN}: {error}")
        await asyncio.sleep(ASK_AGAIN)
