"""The system bus for a command that asks this machine's daemon: if none runs, the error says what starts it."""

import contextlib
from typing import TYPE_CHECKING

from locksmith.errors import HostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locksmith.host.dbus.bus import SystemBus


@contextlib.asynccontextmanager
async def daemon_bus() -> "AsyncIterator[SystemBus]":
    """Connect to the bus. `HostError`: there is no bus, or inside the block: no daemon runs."""
    from locksmith.host.dbus.bus import SystemBus
    from locksmith.host.dbus.errors import NobodyError
    from locksmith.host.service import read_service

    async with SystemBus() as bus:
        try:
            yield bus
        except NobodyError:
            remedy = (await read_service(bus)).remedy
            raise HostError(f"locksmithd does not run on this machine: {remedy}") from None


async def warn_of_no_daemon(bus: "SystemBus") -> str:
    """Say what a reboot without a daemon leaves undone, and the remedy; empty: a daemon answers, or is silent."""
    from locksmith.daemon.bus_service import read_local
    from locksmith.host.dbus.errors import NobodyError
    from locksmith.host.service import read_service

    try:
        await read_local(bus)
    except NobodyError:
        remedy = (await read_service(bus)).remedy
        return f"locksmithd does not run on this machine, so after a reboot its slot stays taken: {remedy}"
    except HostError:
        return ""
    return ""
