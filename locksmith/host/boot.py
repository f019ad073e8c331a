"""Who this machine is, and which run of it this is."""

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
            "`systemd-machine-id-setup` makes one"
        )
    return text


async def read_boot(paths: Paths, bus: SystemBus) -> Boot:
    """Tell which boot this is. `HostError`: the boot id can't be read, or systemd is there and doesn't answer."""
    return Boot(read_boot_id(paths), await _userspace_start(paths, bus))


def read_boot_id(paths: Paths) -> str:
    """Read the kernel's id of this boot, which a soft reboot keeps. `HostError`: it can't be read."""
    try:
        boot_id = paths.boot_id.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise HostError(f"the boot id {paths.boot_id} cannot be read: {error.strerror}") from None
    if not boot_id:
        raise HostError(f"the boot id {paths.boot_id} is empty")
    return boot_id


async def _userspace_start(paths: Paths, bus: SystemBus) -> int:
    """Tell one userspace from the next: a soft reboot keeps the boot id, and starts userspace anew.

    The start of userspace is in every systemd, unlike the count of soft reboots, which would differ after an upgrade
    and a re-execution of systemd although nothing has rebooted. Neither a re-execution nor a reload moves it.
    """
    try:
        return int(await bus.get(USERSPACE_START))
    except NobodyError:
        if paths.systemd_booted.exists():
            raise
        return 0
