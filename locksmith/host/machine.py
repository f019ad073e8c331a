"""This machine, as the loop sees it."""

from locksmith.host.boot import read_boot
from locksmith.host.bus import SystemBus
from locksmith.host.logind import Logind
from locksmith.host.paths import Paths
from locksmith.snapshot import Boot


class RealMachine(Logind):
    """Which boot this is, and its reboot."""

    def __init__(self, bus: SystemBus, paths: Paths) -> None:
        super().__init__(bus)
        self._paths = paths

    async def boot(self) -> Boot:
        """Say which boot this is. `HostError`: that cannot be told now."""
        return await read_boot(self._paths, self._bus)
