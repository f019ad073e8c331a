"""The gate `inhibitors`: logind's `block` inhibitors of a shutdown (org.freedesktop.login1(5)) block the reboot.

logind handles `delay` itself: it accepts the reboot, and gives each holder of a delay its time.
"""

import os
from collections.abc import Callable, Sequence

from locksmith.agent.facts import Blocker
from locksmith.agent.journal import JournalEntry
from locksmith.errors import HostError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.messages import Call, Match, Signal
from locksmith.host.logind import LOGIND

LIST_INHIBITORS = Call(*LOGIND, "ListInhibitors", reply="a(ssssuu)")
CAN_REBOOT = Call(*LOGIND, "CanReboot", reply="s")
SHUTDOWN = "shutdown"
BLOCKS = {"block", "block-weak"}
YES = {"yes"}


class Inhibitors:
    """The programs, except this one, that block a shutdown, and whether logind accepts a reboot."""

    name = "inhibitor"

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a lock comes or goes. Call it before the bus is started."""
        changed = Match("org.freedesktop.DBus.Properties", "PropertiesChanged", LOGIND[1], LOGIND[0])

        def hear(signal: Signal) -> None:
            if _is_inhibitors(signal.body):
                wake()

        self._bus.subscribe(changed, hear)

    async def check(self, entry: JournalEntry | None) -> Sequence[Blocker]:  # noqa: ARG002 - part of the interface
        """Name the programs that block, and why; a missing answer is a blocker too."""
        try:
            [locks] = await self._bus.call(LIST_INHIBITORS)
            blocks = [lock for lock in locks if _blocks(lock)]
            if blocks:
                return [Blocker(self.name, f"shutdown is blocked by {_words(lock)}") for lock in blocks]
            [can] = await self._bus.call(CAN_REBOOT)
        except HostError as error:
            return [Blocker(self.name, f"logind does not say whether a shutdown is blocked: {error}")]
        return [] if can in YES else [Blocker(self.name, f"logind would not take a reboot (CanReboot says {can!r})")]


def _is_inhibitors(body: tuple[object, ...]) -> bool:
    return any(isinstance(part, dict) and {"BlockInhibited", "DelayInhibited"} & part.keys() for part in body)


def _blocks(lock: list[object]) -> bool:
    what, _who, _why, mode, _uid, pid = lock
    return SHUTDOWN in str(what).split(":") and mode in BLOCKS and pid != os.getpid()


def _words(lock: list[object]) -> str:
    _what, who, why, _mode, uid, pid = lock
    return f"{who or 'a program'} (pid {pid}, uid {uid}){f': {why}' if why else ''}"
