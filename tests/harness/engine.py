"""A double of update_engine on a real bus: its names, methods, signal and manners.

No `from __future__ import annotations` here: the annotations are the D-Bus signatures.
"""

# ruff: noqa: N802, ARG002  # names and arguments are D-Bus' own

import asyncio
from typing import Annotated, Self

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusSignature
from dbus_fast.service import ServiceInterface, dbus_method, dbus_signal

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
        self._engine.asked += 1
        await self._engine.talks.wait()
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

    `nonsense`: answers GetStatus with another signature. `asked` counts the calls of GetStatus.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._bus: MessageBus | None = None
        self.status: tuple[int, float, str, str, int] = (0, 0.0, IDLE, "", 0)
        self.talks = asyncio.Event()
        self.talks.set()
        self.asked = 0
        self.nonsense = False

    async def __aenter__(self) -> Self:
        await self.appear()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def appear(self) -> None:
        """Come onto the bus."""
        self._bus = await MessageBus(bus_address=self._address).connect()
        self._bus.add_message_handler(self._talk_nonsense)
        self._manager = _Manager(self)
        self._bus.export(PATH, self._manager)
        await self._bus.request_name(NAME)

    async def leave(self) -> None:
        """Leave the bus."""
        self.talks.set()
        if self._bus is not None:
            self._bus.disconnect()
            await self._bus.wait_for_disconnect()
            self._bus = None

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

    def _talk_nonsense(self, message: Message) -> Message | None:
        if self.nonsense and message.message_type is MessageType.METHOD_CALL and message.member == "GetStatus":
            return Message.new_method_return(message, "s", ["nonsense"])
        return None
