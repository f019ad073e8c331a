"""The system bus for a command that asks this machine's daemon: if none runs, the error says what starts it."""

import contextlib
from typing import TYPE_CHECKING

from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.host.runfiles import daemon_runs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locksmith.host.dbus.bus import SystemBus


@contextlib.asynccontextmanager
async def daemon_bus(paths: Paths) -> "AsyncIterator[SystemBus]":
    """Connect to the bus. `HostError`: there is no bus, or inside the block: no daemon runs, or it is not there."""
    from locksmith.host.dbus.bus import SystemBus
    from locksmith.host.dbus.errors import NobodyError

    async with SystemBus() as bus:
        try:
            yield bus
        except NobodyError:
            if daemon_runs(paths):
                raise
            raise HostError(await no_daemon(bus)) from None


async def no_daemon(bus: "SystemBus") -> str:
    """Say that no daemon runs, and what starts it."""
    from locksmith.host.service import read_service

    return f"locksmithd does not run on this machine: {(await read_service(bus)).remedy}"
