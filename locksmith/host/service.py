"""The service of locksmithd, as systemd knows it: why it does not run, and since when."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from locksmith.errors import HostError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.messages import Call, Property
from locksmith.host.logind import SYSTEMD

UNIT = "locksmithd.service"
INTERFACE = "org.freedesktop.systemd1.Unit"


@dataclass(frozen=True, slots=True)
class Service:
    """A unit of systemd. `since` is when it last ended in this boot (None: it did not, or that is not known).

    `load` is `loaded`, `not-found` or `masked`, `active` is `active`, `inactive`, `failed` or a word of the way to one
    of them, `file` is `enabled`, `disabled` and the like; each is empty if systemd does not say it.
    """

    load: str = ""
    active: str = ""
    file: str = ""
    since: datetime | None = None

    @property
    def remedy(self) -> str:
        """Say what starts it."""
        if self.load == "masked" or self.file.startswith("masked"):
            return f"{UNIT} is masked; `systemctl unmask {UNIT}`, then `systemctl enable --now {UNIT}` starts it"
        if self.load == "not-found":
            return f"systemd has no {UNIT}: see `systemctl list-unit-files 'locksmithd*'`"
        if self.active == "failed":
            return f"it has failed: see `journalctl -u {UNIT}`"
        if self.file == "disabled":
            return f"{UNIT} is disabled; `systemctl enable --now {UNIT}` starts it"
        return f"`systemctl start {UNIT}` starts it"


async def read_service(bus: SystemBus) -> Service:
    """Ask systemd for the service. What systemd does not say stays empty."""
    try:
        [path] = await bus.call(Call(*SYSTEMD, "LoadUnit", "s", (UNIT,), reply="o"))

        async def get(name: str, signature: str = "s") -> Any:
            return await bus.get(Property(SYSTEMD[0], str(path), INTERFACE, name, signature))

        load, active, file = [str(await get(name)) for name in ("LoadState", "ActiveState", "UnitFileState")]
        ended = int(await get("InactiveEnterTimestamp", "t"))
        return Service(load, active, file, datetime.fromtimestamp(ended / 1e6, UTC) if ended else None)
    except (HostError, ValueError, OverflowError, OSError):
        return Service()
