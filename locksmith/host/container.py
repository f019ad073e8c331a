"""The machine as a daemon in locksmith's container image sees it: all that it must share with its machine.

The daemon speaks of the machine's reboots, so it must see that machine: its id, its boot, its processes, its memory. A
container that has its own would still run. Then a slot might be released for a machine that has not rebooted, or an
inhibitor taken for the daemon's own. So the daemon refuses, and says which option of the container is missing.
"""

import os
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.boot import read_boot_id, read_machine_id
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.messages import Call, to_bus
from locksmith.host.durable import write_durably
from locksmith.host.logind import SYSTEMD
from locksmith.host.paths import Paths

GUIDE = "docs/containers.md lists what the container needs"
MACHINE_ID = Call(SYSTEMD[0], SYSTEMD[1], "org.freedesktop.DBus.Peer", "GetMachineId", reply="s")


def in_image(paths: Paths) -> bool:
    """Tell whether this program is that of the container image."""
    return paths.image_mark.exists()


def missing_mounts(paths: Paths) -> list[str]:
    """Say which folders of the machine the container lacks; empty outside of the image too."""
    if not in_image(paths):
        return []
    if not (paths.machine_root / "run").is_dir():
        return [f"the machine's root is not mounted: run the container with --volume=/:{paths.machine_root}:ro,rslave"]
    return [_not_shared(folder) for folder in (paths.state, paths.run) if not _is_of_machine(folder, paths)]


def refuse_missing_mounts(paths: Paths) -> None:
    """Raise `HostError` if the container lacks a folder of its machine."""
    if found := missing_mounts(paths):
        raise HostError(f"this container cannot coordinate its machine's reboots: {'; '.join(found)}; {GUIDE}")


class ContainerCheck:
    """What the container shares with its machine, checked before each observation of the machine."""

    def __init__(self, paths: Paths, bus: SystemBus) -> None:
        self._paths = paths
        self._bus = bus
        self._in_image = in_image(paths)
        self._checked = False
        bus.on_change(self._forget)

    async def check(self) -> None:
        """Raise `HostError` if the container does not see its own machine; outside of the image nothing is checked."""
        if not self._in_image:
            return
        refuse_missing_mounts(self._paths)
        _refuse_other_boot_id(self._paths)
        if not self._checked:
            await self._refuse_other_machine()
            await self._refuse_other_processes()
            self._checked = self._bus.connected

    def _forget(self, _connected: bool) -> None:
        """Check again: another connection may be to another bus."""
        self._checked = False

    async def _refuse_other_machine(self) -> None:
        [there] = await self._bus.call(MACHINE_ID)
        if there != (here := read_machine_id(self._paths)):
            raise HostError(
                f"this container has the machine id {here}, and the systemd on its bus has {there}: "
                f"{self._paths.machine_id} must be the machine's own; {GUIDE}"
            )

    async def _refuse_other_processes(self) -> None:
        """Compare the pids: logind names the owners of inhibitors by the machine's, and the daemon knows its own so."""
        [there] = await self._bus.call(to_bus("GetConnectionUnixProcessID", self._bus.unique_name, "u"))
        if there != (here := os.getpid()):
            raise HostError(
                f"this container has pids of its own (this process is {here}, and {there} for the bus): "
                f"run the container with --pid=host (Kubernetes: hostPID: true); {GUIDE}"
            )


def _refuse_other_boot_id(paths: Paths) -> None:
    """Compare the boot id with the first one of this boot: some kinds of containers get another at each start.

    The machine's /run is empty after each boot. So a second id in it is no second boot.
    """
    here, mark = read_boot_id(paths), paths.run / "boot-id"
    try:
        there = mark.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        there = ""
    except OSError as error:
        raise HostError(f"{mark} cannot be read: {error.strerror}") from None
    if not there:
        try:
            write_durably(mark, f"{here}\n".encode())
        except OSError as error:
            raise HostError(f"{mark} cannot be written: {error.strerror}") from None
    elif there != here:
        raise HostError(
            f"this container has the boot id {here}, and {mark} has {there} from earlier in the same boot: "
            f"{paths.boot_id} must be the machine's own; {GUIDE}"
        )


def _is_of_machine(folder: Path, paths: Paths) -> bool:
    try:
        return folder.samefile(paths.on_machine(folder))
    except OSError:
        return False


def _not_shared(folder: Path) -> str:
    return f"{folder} is not the machine's: run the container with --volume={folder}:{folder}"
