"""This machine, as the loop sees it."""

from locksmith.agent.facts import Boot, RebootNeed
from locksmith.agent.journal import PreRebootState
from locksmith.host.boot import read_boot
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.health import SystemdHealth, read_system
from locksmith.host.logind import Logind
from locksmith.host.paths import Paths


class RealMachine(Logind):
    """Which boot this is, how it is, and its reboot."""

    def __init__(self, bus: SystemBus, paths: Paths) -> None:
        super().__init__(bus)
        self._paths = paths
        self._health = SystemdHealth(bus, paths)
        self.last_boot: Boot | None = None
        self._system: str | None = None

    async def boot(self) -> Boot:
        """Say which boot this is. `HostError`: that cannot be told now."""
        self.last_boot = await read_boot(self._paths, self._bus)
        return self.last_boot

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        """Say how this machine is before its reboot. `HostError`: systemd is there and does not say."""
        return PreRebootState(need.trigger if need else "", self.system(), await self._health.failed_units())

    def system(self) -> str:
        """Say what operating system runs, as long as this program does: it is replaced by a reboot alone."""
        if self._system is None:
            self._system = read_system(self._paths)
        return self._system
