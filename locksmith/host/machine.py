"""This machine, as the agent observes it."""

from locksmith.agent.facts import Boot, RebootNeed
from locksmith.agent.journal import PreRebootState
from locksmith.host.boot import read_boot
from locksmith.host.container import ContainerCheck
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.health import SystemdHealth, read_system
from locksmith.host.logind import Logind
from locksmith.host.paths import Paths


class RealMachine(Logind):
    """This machine's boot, its health, and its reboot."""

    def __init__(self, bus: SystemBus, paths: Paths) -> None:
        super().__init__(bus)
        self._paths = paths
        self._health = SystemdHealth(bus, paths)
        self._container = ContainerCheck(paths, bus)
        self.last_boot: Boot | None = None
        self._system: str | None = None

    async def boot(self) -> Boot:
        """Give this boot. `HostError`: it cannot be told now, or this container sees another machine."""
        await self._container.check()
        self.last_boot = await read_boot(self._paths, self._bus)
        return self.last_boot

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        """Give this machine's state before its reboot. `HostError`: systemd is there and does not say."""
        return PreRebootState(need.trigger if need else "", self.system(), await self._health.failed_units())

    def system(self) -> str:
        """Give the name of the operating system that runs: only a reboot replaces it."""
        if self._system is None:
            self._system = read_system(self._paths)
        return self._system
