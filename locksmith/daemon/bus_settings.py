"""What the tool reads of the daemon at each call: its settings, on the bus. It loads no more than that needs."""

from locksmith.config.shown import read_shown
from locksmith.config.sources import Settings
from locksmith.errors import UsageError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import StrangeAnswerError
from locksmith.host.dbus.messages import Call

NAME = "org.locksmith1"
PATH = "/org/locksmith1"
INTERFACE = "org.locksmith1.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"

GET_ALL = Call(NAME, PATH, PROPERTIES, "GetAll", "s", (INTERFACE,), "a{sv}", autostart=False)


async def read_settings(bus: SystemBus) -> Settings:
    """Give what the daemon shows of its configuration.

    `NobodyError`: no daemon is on the bus. `HostError`: the daemon does not answer, or its settings cannot be read.
    """
    [properties] = await bus.call(GET_ALL)
    found = properties.get("Settings")
    if found is None or found.signature != "a{ss}":
        raise StrangeAnswerError(
            f"{GET_ALL} was answered without its settings, as by another version: `systemctl restart locksmithd`"
        )
    try:
        return read_shown(found.value)
    except UsageError as error:
        raise StrangeAnswerError(f"{GET_ALL} was answered with settings that cannot be read: {error}") from None
