"""The D-Bus library of the doubles and tests: the one that the product uses here, dbus-fast or dbus-next.

A double's annotations are `Annotated` types. The libraries disagree on those; all of them know a plain signature as the
annotation, so that is what the decorators make of each. They disagree on what a struct is, too: see `STRUCT`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self, get_args

try:
    from dbus_fast import BusType, DBusError, Message, MessageFlag, MessageType, PropertyAccess, Variant, aio, service
    from dbus_fast.introspection import Node
    from dbus_fast.service import ServiceInterface
    from dbus_fast.signature import SignatureTree, SignatureType
except ModuleNotFoundError:
    from dbus_next import BusType, DBusError, Message, MessageFlag, MessageType, PropertyAccess, Variant, aio, service
    from dbus_next.introspection import Node
    from dbus_next.service import ServiceInterface
    from dbus_next.signature import SignatureTree, SignatureType

from locksmith.host.dbus.library import read, written

__all__ = [
    "STRUCT",
    "BusType",
    "DBusBool",
    "DBusError",
    "DBusObjectPath",
    "DBusSignature",
    "DBusStr",
    "DBusUInt32",
    "DBusUInt64",
    "Message",
    "MessageBus",
    "MessageFlag",
    "MessageType",
    "Node",
    "PropertyAccess",
    "ServiceInterface",
    "SignatureType",
    "Variant",
    "as_read",
    "dbus_method",
    "dbus_property",
    "dbus_signal",
    "read",
    "types_of",
    "written",
]


class MessageBus(aio.MessageBus):
    """The library's. Its end closes the socket, which some versions leave open, and is no error that nothing awaits."""

    async def connect(self) -> Self:
        """Connect, and be greeted."""
        await super().connect()
        return self

    def _finalize(self, err: Exception | None = None) -> None:
        super()._finalize(err)
        for held in (self._stream, self._sock):
            if held is not None:
                held.close()
        if self._disconnect_future.done() and not self._disconnect_future.cancelled():
            self._disconnect_future.exception()


@dataclass(frozen=True)
class DBusSignature:
    """The signature of an annotated type."""

    text: str


DBusBool = Annotated[bool, DBusSignature("b")]
DBusObjectPath = Annotated[str, DBusSignature("o")]
DBusStr = Annotated[str, DBusSignature("s")]
DBusUInt32 = Annotated[int, DBusSignature("u")]
DBusUInt64 = Annotated[int, DBusSignature("t")]


def _struct() -> type[tuple[Any, ...]] | type[list[Any]]:
    sent = Message(path="/a", member="B", serial=1, signature="(s)", body=[["x"]])
    found = read(written(sent))
    assert found is not None
    return type(found.body[0])


STRUCT = _struct()
"""What the library makes of a struct: a tuple (dbus-fast from 5 on), or a list."""


def as_read(value: Any) -> Any:
    """Give a value as the library reads it, which may have tuples for structs."""
    if isinstance(value, tuple):
        return STRUCT(map(as_read, value))
    if isinstance(value, list):
        return [*map(as_read, value)]
    return {key: as_read(held) for key, held in value.items()} if isinstance(value, dict) else value


def types_of(signature: str) -> list[SignatureType]:
    """Give the types that a signature names."""
    return list(SignatureTree(signature).types)


def dbus_method() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a method one that is called over the bus."""
    return lambda function: service.method()(_for_any_library(function))


def dbus_signal() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a method a signal: what it returns is emitted."""
    return lambda function: service.signal()(_for_any_library(function))


def dbus_property(access: PropertyAccess = PropertyAccess.READWRITE) -> Callable[[Callable[..., Any]], Any]:
    """Make a method a property of the bus."""
    return lambda function: service.dbus_property(access)(_for_any_library(function))


def _for_any_library(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, hint in function.__annotations__.items():
        for found in get_args(hint)[1:]:
            function.__annotations__[name] = found.text
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any) -> Any:
            return as_read(await function(*args))

        return later

    @functools.wraps(function)
    def now(*args: Any) -> Any:
        return as_read(function(*args))

    return now
