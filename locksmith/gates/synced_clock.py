"""The gate on a synchronised clock, by systemd (`NTPSynchronized` of org.freedesktop.timedate1(5)).

A clock that is wrong after a boot, or was never set, would open windows at the wrong time.
"""

from collections.abc import Sequence

from locksmith.agent.facts import Blocker
from locksmith.agent.journal import JournalEntry
from locksmith.errors import HostError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.messages import Property

_TIMEDATED = ("org.freedesktop.timedate1", "/org/freedesktop/timedate1", "org.freedesktop.timedate1")
NTP_SYNCHRONIZED = Property(*_TIMEDATED, "NTPSynchronized", "b")


class SyncedClock:
    """Blocks while the clock is not known to be synchronised."""

    name = "clock"

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus

    async def check(self, entry: JournalEntry | None) -> Sequence[Blocker]:  # noqa: ARG002 - part of the interface
        """Ask systemd; a missing answer is a blocker too."""
        try:
            synced = await self._bus.get(NTP_SYNCHRONIZED)
        except HostError as error:
            return [Blocker(self.name, f"systemd does not say whether the clock is synchronised: {error}")]
        if synced:
            return []
        return [Blocker(self.name, "the clock is not synchronised (`timedatectl` says so), and that is required")]
