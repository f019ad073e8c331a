"""The operator's request for a reboot: sent over the bus as update_engine's own signal, and removed from its file."""

import asyncio
from datetime import UTC, datetime

from locksmith.agent.facts import Boot
from locksmith.cli.daemon_bus import daemon_bus
from locksmith.daemon.bus_service import CANCEL, RECHECK, Local, read_local, request
from locksmith.errors import HostError
from locksmith.host.boot import read_boot, read_boot_id
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.link import Ears, Link
from locksmith.host.dbus.messages import Signal
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.host.polkit import ASK_LIMIT
from locksmith.triggers.operator_request import OperatorRequest
from locksmith.triggers.update_engine import GET_STATUS, INTERFACE, NEED_REBOOT, PATH, STATUS

NOTED_LIMIT = 3.0
"""Seconds to wait for the daemon."""
CHECK_EVERY = 0.02

SIGNAL = Signal("", PATH, INTERFACE, "StatusUpdate", STATUS, (0, 0.0, NEED_REBOOT, "", 0))
"""What CoreOS locksmith sends. The bus writes the sender."""


async def send_request(paths: Paths) -> bool:
    """Emit the signal, and tell whether a daemon has noted the request, now or before. `HostError`: there is no bus.

    The daemon asks the bus which user the sender is: so that it can, this stays connected meanwhile.
    """
    link = await Link.open(None, Ears())
    try:
        await link.emit(SIGNAL)
        return await _noted(OperatorRequest(paths))
    finally:
        await link.close()


async def _noted(need: OperatorRequest) -> bool:
    clock = asyncio.get_running_loop()
    ends = clock.time() + NOTED_LIMIT
    while not need.path.exists():
        if clock.time() >= ends:
            return False
        await asyncio.sleep(CHECK_EVERY)
    return True


def cancel_request(paths: Paths, machine_id: str) -> bool:
    """Remove the request; False where there is none. `HostError`: the machine is past the point of no return."""
    return JournalFile(paths, machine_id).unless_committed(read_boot_id(paths), OperatorRequest(paths).cancel)


async def engine_wants() -> str | None:
    """Give the version that update_engine needs a reboot for (empty: unknown); None: it needs none, or is silent."""
    async with SystemBus() as bus:
        try:
            _, _, operation, version, _ = await bus.call(GET_STATUS)
        except HostError:
            return None
    return str(version) if operation == NEED_REBOOT else None


async def request_over_bus(paths: Paths, reason: str) -> None:
    """Ask the daemon itself, which asks polkit. `HostError`: it does not run, or says no."""
    async with daemon_bus(paths) as bus:
        await bus.call(request(reason), limit=ASK_LIMIT)


async def keep_request(paths: Paths, reason: str) -> None:
    """Keep the request in its file, whether or not a daemon runs. `HostError`: it cannot be kept."""
    async with SystemBus() as bus:
        boot = await read_boot(paths, bus)
    # Without the boot id: in a container the daemon's own /proc may have the host's, and a reboot empties /run anyway.
    OperatorRequest(paths).note("", datetime.now(UTC), Boot("", boot.userspace), reason)


async def cancel_over_bus(paths: Paths) -> bool:
    """Let the daemon remove the request; False where there is none. `HostError`: as above, or it is too late."""
    async with daemon_bus(paths) as bus:
        [cancelled] = await bus.call(CANCEL, limit=ASK_LIMIT)
    return bool(cancelled)


async def recheck_over_bus(paths: Paths) -> Local:
    """Have the daemon check everything now, and say what it did before. `HostError`: it does not run, or says no."""
    async with daemon_bus(paths) as bus:
        local = await read_local(bus)
        await bus.call(RECHECK, limit=ASK_LIMIT)
    return local
