"""update_engine's wish, over D-Bus: name, path, interface and operations as its own source has them.

Its signals only wake the loop; what counts is `GetStatus`, asked for at each look, because `ResetStatus` sends no
signal. A signal is believed from the owner of the name alone: a stock bus policy lets every local user send one. From
another sender it is an operator's wish (`send-need-reboot`) when that sender is root.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from locksmith.errors import HostError
from locksmith.host.bus import SystemBus
from locksmith.host.bus_errors import BusGoneError, NobodyError
from locksmith.host.bus_messages import Call, Match, Signal
from locksmith.snapshot import Boot, Sighting, Wish

NAME = "com.coreos.update1"
PATH = "/com/coreos/update1"
INTERFACE = "com.coreos.update1.Manager"
STATUS = "xdssx"
"""Last checked (epoch s), progress (0 to 1), operation, new version, new size (bytes)."""

GET_STATUS = Call(NAME, PATH, INTERFACE, "GetStatus", reply=STATUS, autostart=False)
STATUS_UPDATE = Match(INTERFACE, "StatusUpdate", PATH)

NEED_REBOOT = "UPDATE_STATUS_UPDATED_NEED_REBOOT"
OPERATIONS = {
    NEED_REBOOT,
    "UPDATE_STATUS_IDLE",
    "UPDATE_STATUS_CHECKING_FOR_UPDATE",
    "UPDATE_STATUS_UPDATE_AVAILABLE",
    "UPDATE_STATUS_DOWNLOADING",
    "UPDATE_STATUS_VERIFYING",
    "UPDATE_STATUS_FINALIZING",
    "UPDATE_STATUS_REPORTING_ERROR_EVENT",
}

MOST_STRANGERS = 16
"""Senders that are asked for their user at the same time: a local user cannot make this daemon busy."""

OnOperator = Callable[[str], Awaitable[None]]
"""Takes note of root's wish for a reboot to a version (`""`: unknown); `HostError`: it could not."""

log = logging.getLogger(__name__)


class UpdateEngine:
    """The engine on the bus: absent, late, restarted or silent, as it comes."""

    name = "update-engine"

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus
        self._wish: Wish | None = None
        self._strangers: set[asyncio.Task[None]] = set()
        self._warned = False

    def listen(self, wake: Callable[[], None], on_operator: OnOperator) -> None:
        """Have `wake` called when it is worth looking again, and `on_operator` with the version root asks for.

        Call it before the bus is started.
        """
        bus = self._bus
        bus.watch_name(NAME, wake)
        bus.on_change(lambda _connected: wake())
        bus.subscribe(STATUS_UPDATE, lambda signal: self._hear(signal, wake, on_operator))

    async def look(self, now: datetime, boot: Boot) -> Sighting:  # noqa: ARG002 - part of the interface
        """Ask the engine. An engine, or a bus, that isn't there wishes nothing; one that doesn't answer is a doubt."""
        try:
            _, _, operation, version, _ = await self._bus.call(GET_STATUS)
        except (NobodyError, BusGoneError):
            return Sighting()
        except HostError as error:
            return Sighting(doubt=f"update_engine: {error}")
        if operation not in OPERATIONS:
            return Sighting(doubt=f"update_engine is in a state that is unknown here: {operation!r}")
        self._wish = self._wished(version, now) if operation == NEED_REBOOT else None
        return Sighting(self._wish)

    def _wished(self, version: str, now: datetime) -> Wish:
        """Keep the beginning of a wish: the engine repeats it every 45 minutes, and a restart loses the version."""
        if self._wish is not None and (self._wish.version == version or version in {"", "0.0.0"}):
            return self._wish
        return Wish(self.name, version, now)

    def _hear(self, signal: Signal, wake: Callable[[], None], on_operator: OnOperator) -> None:
        if signal.sender == self._bus.owner(NAME):
            wake()
        elif signal.signature != STATUS:
            self._warn(f"ignored a StatusUpdate of {signal.sender} with the signature {signal.signature!r}")
        elif signal.body[2] == NEED_REBOOT and len(self._strangers) < MOST_STRANGERS:
            task = asyncio.ensure_future(self._hear_stranger(signal, on_operator))
            self._strangers.add(task)
            task.add_done_callback(self._strangers.discard)

    async def _hear_stranger(self, signal: Signal, on_operator: OnOperator) -> None:
        """Believe root. Whoever sends this stays on the bus until the wish is noted, so that the bus knows its user."""
        try:
            user = await self._bus.unix_user(signal.sender)
            if user == 0:
                await on_operator(signal.body[3])
            else:
                self._warn(f"ignored a StatusUpdate of {signal.sender}: user {user} is neither update_engine nor root")
        except HostError as error:
            self._warn(f"ignored a StatusUpdate of {signal.sender}: {error}")

    def _warn(self, text: str) -> None:
        """Say it once as a warning: a local user must not be able to flood the log."""
        log.log(logging.DEBUG if self._warned else logging.WARNING, "%s", text)
        self._warned = True
