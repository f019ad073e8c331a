"""Whether this machine is healthy after its reboot, and its state before, as systemd says.

The interface is org.freedesktop.systemd1(5)'s. Nothing here is remembered: each check asks systemd again.
"""

import shlex
from typing import Any

from locksmith.agent.journal import PreRebootState
from locksmith.errors import HostError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import AnsweredError, NobodyError
from locksmith.host.dbus.messages import Call, Property
from locksmith.host.logind import SYSTEM_STATE, SYSTEMD
from locksmith.host.paths import Paths
from locksmith.util.words import listed

FAILED_UNITS = Call(*SYSTEMD, "ListUnitsFiltered", "as", (["failed"],), reply="a(ssssssouso)")
UNIT = "org.freedesktop.systemd1.Unit"
NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
BOOT_COMPLETE = "boot-complete.target"
COMING_UP = {"initializing", "starting"}
OURS = "locksmith-"
"""The prefix of the names of hooks' units: a hook that failed has its own message."""
NAMES = ("ID", "VERSION_ID", "VERSION", "BUILD_ID", "IMAGE_ID", "IMAGE_VERSION", "OSTREE_VERSION", "VARIANT_ID")
"""The fields of os-release(5) that tell two systems apart."""


def read_system(paths: Paths) -> str:
    """Give the name of this operating system in a few words; empty: unknown."""
    for path in (paths.root / "etc/os-release", paths.root / "usr/lib/os-release"):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        fields = dict(line.partition("=")[::2] for line in lines if "=" in line and not line.startswith("#"))
        return " ".join(filter(None, (_unquoted(fields.get(name, "")) for name in NAMES)))
    return ""


class SystemdHealth:
    """The health by systemd: the boot is over, no further unit has failed, the chosen units are active."""

    def __init__(self, bus: SystemBus, paths: Paths, units: tuple[str, ...] = ()) -> None:
        self._bus = bus
        self._paths = paths
        self._units = units

    async def failed_units(self) -> tuple[str, ...]:
        """Name the units that have failed. `HostError`: systemd is there and does not say."""
        try:
            [units] = await self._bus.call(FAILED_UNITS)
        except NobodyError:
            if self._paths.systemd_booted.exists():
                raise
            return ()
        return tuple(sorted(str(unit[0]) for unit in units if not str(unit[0]).startswith(OURS)))

    async def problems(self, before: PreRebootState) -> list[str]:
        """Name what is wrong, each in a few words; empty: the machine is healthy, as far as systemd tells."""
        try:
            return [*await self._coming_up(), *await self._failed(before), *await self.inactive_units()]
        except NobodyError:
            if self._paths.systemd_booted.exists():
                return ["systemd does not answer"]
            return [f"{unit} cannot be checked, there is no systemd" for unit in self._units]
        except HostError as error:
            return [f"systemd does not say how this machine is: {error}"]

    async def _coming_up(self) -> list[str]:
        if await self._bus.get(SYSTEM_STATE) in COMING_UP:
            return ["the boot is not over yet"]
        state = await self._boot_complete()
        return [f"{BOOT_COMPLETE} is {state}"] if state not in {"active", ""} else []

    async def _boot_complete(self) -> str:
        """Give the state of boot-complete.target; empty: no unit pulls it in, as on stock Debian; it is inactive."""
        try:
            path = await self._path_of(BOOT_COMPLETE)
            pulls = [*await self._get(path, "RequiredBy", "as"), *await self._get(path, "WantedBy", "as")]
            return str(await self._get(path, "ActiveState")) if pulls else ""
        except AnsweredError as error:
            if error.name == NO_SUCH_UNIT:
                return ""
            raise

    async def _failed(self, before: PreRebootState) -> list[str]:
        anew = [unit for unit in await self.failed_units() if unit not in before.failed_units]
        return [f"{listed(anew)} {'has' if len(anew) == 1 else 'have'} failed"] if anew else []

    async def inactive_units(self) -> list[str]:
        """Name the chosen units that are not active. `HostError`: systemd does not say."""
        found = []
        for unit in self._units:
            state = await self._state_of(unit)
            if state != "active":
                found.append(f"{unit} is {state}")
        return found

    async def _state_of(self, unit: str) -> str:
        try:
            return str(await self._get(await self._path_of(unit), "ActiveState"))
        except AnsweredError as error:
            if error.name == NO_SUCH_UNIT:
                return "not loaded"
            raise

    async def _path_of(self, unit: str) -> str:
        [path] = await self._bus.call(Call(*SYSTEMD, "GetUnit", "s", (unit,), reply="o"))
        return str(path)

    async def _get(self, path: str, name: str, signature: str = "s") -> Any:
        return await self._bus.get(Property(SYSTEMD[0], path, UNIT, name, signature))


def _unquoted(text: str) -> str:
    try:
        return " ".join(shlex.split(text))
    except ValueError:
        return text
