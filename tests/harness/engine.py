"""A double of update_engine on a real bus: its names, methods, signal and manners.

No `from __future__ import annotations` here: the annotations are the D-Bus signatures.
"""

# ruff: noqa: N802  # names are D-Bus' own

from typing import Annotated, Self

from tests.harness.bus import leave_bus
from tests.harness.dbus import (
    DBusSignature,
    Message,
    MessageBus,
    MessageType,
    ServiceInterface,
    dbus_method,
    dbus_signal,
)

NAME = "com.coreos.update1"
PATH = "/com/coreos/update1"

IDLE = "UPDATE_STATUS_IDLE"
DOWNLOADING = "UPDATE_STATUS_DOWNLOADING"
NEED_REBOOT = "UPDATE_STATUS_UPDATED_NEED_REBOOT"

Status = Annotated[tuple[int, float, str, str, int], DBusSignature("xdssx")]
"""Last checked (epoch s), progress 0..1, operation, new version, new size (bytes)."""


class _Manager(ServiceInterface):
    def __init__(self, engine: "Engine") -> None:
        super().__init__("com.coreos.update1.Manager")
        self._engine = engine

    @dbus_method()
    async def GetStatus(self) -> Status:
        return self._engine.status

    @dbus_method()
    async def ResetStatus(self):
        """Go back to idle; as the real one, without a signal."""
        self._engine.status = (0, 0.0, IDLE, "", 0)

    @dbus_method()
    async def AttemptUpdate(self):
        self._engine.set(DOWNLOADING)

    @dbus_signal()
    def StatusUpdate(self) -> Status:
        return self._engine.status


class Engine:
    """update_engine. It is on the bus between `appear` and `leave`, and remembers its status while it's away.

    `silent`: GetStatus gets no answer until `speak`. `nonsense`: its answer has another signature. `asked` counts its
    calls.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._bus: MessageBus | None = None
        self.status: tuple[int, float, str, str, int] = (0, 0.0, IDLE, "", 0)
        self.asked = 0
        self.silent = False
        self.nonsense = False
        self._unanswered: list[Message] = []

    async def __aenter__(self) -> Self:
        await self.appear()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def appear(self) -> None:
        """Come onto the bus."""
        self._bus = await MessageBus(bus_address=self._address).connect()
        self._bus.add_message_handler(self._instead)
        self._manager = _Manager(self)
        self._bus.export(PATH, self._manager)
        await self._bus.request_name(NAME)

    async def leave(self) -> None:
        """Leave the bus."""
        self._unanswered.clear()
        if self._bus is not None:
            await leave_bus(self._bus, NAME)
            self._bus = None

    def speak(self) -> None:
        """Answer, also what was asked meanwhile."""
        assert self._bus is not None
        self.silent = False
        while self._unanswered:
            self._bus.send(Message.new_method_return(self._unanswered.pop(), "xdssx", list(self.status)))

    async def restart(self) -> None:
        """Leave and come back. A needed reboot survives, its version does not."""
        await self.leave()
        if self.status[2] == NEED_REBOOT:
            self.status = (0, 0.0, NEED_REBOOT, "0.0.0", 0)
        await self.appear()

    def set(self, operation: str, version: str = "") -> None:
        """Change the status and say so."""
        self.status = (1_700_000_000, 0.0, operation, version, 1 if version else 0)
        self.emit()

    def emit(self) -> None:
        """Say the status again, as the real one does every 45 minutes while a reboot is needed."""
        self._manager.StatusUpdate()

    def emit_nonsense(self) -> None:
        """Emit a StatusUpdate of another signature."""
        assert self._bus is not None
        self._bus.send(Message.new_signal(PATH, self._manager.name, "StatusUpdate", "s", ["nonsense"]))

    def _instead(self, message: Message) -> Message | bool:
        """Do something else than answer GetStatus as the protocol says."""
        if message.message_type is not MessageType.METHOD_CALL or message.member != "GetStatus":
            return False
        self.asked += 1
        if self.silent:
            self._unanswered.append(message)
        return Message.new_method_return(message, "s", ["nonsense"]) if self.nonsense else self.silent
