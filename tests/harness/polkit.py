"""A double of polkit on a real bus: it allows, denies, or never answers, as with an agent that waits for ever.

No `from __future__ import annotations` here: the annotations are the D-Bus signatures.
"""

# ruff: noqa: N802, ARG002  # names and arguments are D-Bus' own

import asyncio
from typing import Annotated, Any, Self

from tests.harness.bus import leave_bus
from tests.harness.dbus import DBusError, DBusSignature, DBusStr, DBusUInt32, MessageBus, ServiceInterface, dbus_method

NAME = "org.freedesktop.PolicyKit1"

_Subject = Annotated[tuple[str, dict[str, Any]], DBusSignature("(sa{sv})")]
_Details = Annotated[dict[str, str], DBusSignature("a{ss}")]
_Answer = Annotated[tuple[bool, bool, dict[str, str]], DBusSignature("(bba{ss})")]


class Polkit(ServiceInterface):
    """The authority. `allows` None: it never answers, until the question is taken back."""

    def __init__(self, address: str, *, allows: bool | None = None) -> None:
        super().__init__("org.freedesktop.PolicyKit1.Authority")
        self._address = address
        self.allows = allows
        self.asked = 0
        self._waiting: dict[str, asyncio.Event] = {}

    @property
    def waiting(self) -> int:
        """How many questions wait for their answer."""
        return len(self._waiting)

    async def __aenter__(self) -> Self:
        self._bus: Any = await MessageBus(bus_address=self._address).connect()
        self._bus.export("/org/freedesktop/PolicyKit1/Authority", self)
        await self._bus.request_name(NAME)
        return self

    async def __aexit__(self, *_: object) -> None:
        # An answer on a connection that has ended would be written to whatever has its descriptor now.
        if self._bus.connected:
            self.answer_all()
            await leave_bus(self._bus, NAME)

    def answer_all(self) -> None:
        """Answer every question, as one that was called off."""
        for one in self._waiting.values():
            one.set()

    @dbus_method()
    async def CheckAuthorization(
        self, subject: _Subject, action: DBusStr, details: _Details, flags: DBusUInt32, cancellation: DBusStr
    ) -> _Answer:
        self.asked += 1
        if self.allows is not None:
            return (self.allows, False, {})
        key = cancellation or str(self.asked)
        event = self._waiting[key] = asyncio.Event()
        await event.wait()
        del self._waiting[key]
        raise DBusError("org.freedesktop.PolicyKit1.Error.Cancelled", "Operation was cancelled")

    @dbus_method()
    async def CancelCheckAuthorization(self, cancellation: DBusStr):
        if cancellation not in self._waiting:
            raise DBusError("org.freedesktop.PolicyKit1.Error.Failed", "there is no such question")
        self._waiting[cancellation].set()
