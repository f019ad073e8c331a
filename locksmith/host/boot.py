"""The id of this machine, and the id of its present boot."""

import re

from locksmith.agent.facts import Boot
from locksmith.errors import HostError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import NobodyError
from locksmith.host.dbus.messages import Property
from locksmith.host.logind import SYSTEMD
from locksmith.host.paths import Paths

USERSPACE_START = Property(*SYSTEMD, "UserspaceTimestampMonotonic", "t")
"""In microseconds; an unsigned 64-bit number."""


def read_machine_id(paths: Paths) -> str:
    """Read this machine's id (machine-id(5)): 32 hexadecimal digits. `HostError` says what is wrong with the file."""
    try:
        text = paths.machine_id.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise HostError(f"this machine has no id: {paths.machine_id}: {error.strerror}") from None
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        found = repr(text[:40]) if text else "nothing"
        raise HostError(
            f"this machine has no id: {paths.machine_id} must hold 32 hexadecimal digits and holds {found}; "
            "`systemd-machine-id-setup` makes it"
        )
    return text


async def read_boot(paths: Paths, bus: SystemBus) -> Boot:
    """Give this boot's id. `HostError`: the id cannot be read, or systemd is there and does not answer."""
    return Boot(read_boot_id(paths), await _userspace_start(paths, bus))


def read_boot_id(paths: Paths) -> str:
    """Give the kernel's id of this boot, which a soft reboot keeps. `HostError`: it cannot be read."""
    try:
        boot_id = paths.boot_id.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise HostError(f"the boot id {paths.boot_id} cannot be read: {error.strerror}") from None
    if not boot_id:
        raise HostError(f"the boot id {paths.boot_id} is empty")
    return boot_id


async def _userspace_start(paths: Paths, bus: SystemBus) -> int:
    """Give the start of userspace: a soft reboot keeps the boot id, and starts userspace again.

    Every systemd tells the start of userspace, and neither a re-execution nor a reload moves it. The count of soft
    reboots is not used: after an upgrade of systemd and a re-execution it would differ without a reboot.
    """
    try:
        return int(await bus.get(USERSPACE_START))
    except NobodyError:
        if paths.systemd_booted.exists():
            raise
        return 0
