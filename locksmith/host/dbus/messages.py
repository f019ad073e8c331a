"""The messages of the bus: calls, signals, and the rules that match signals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from locksmith.errors import LocksmithError
from locksmith.host.dbus.frames import Head

BUS_NAME = "org.freedesktop.DBus"
"""The name of the bus itself, and of its interface."""
BUS_PATH = "/org/freedesktop/DBus"


@dataclass(frozen=True, slots=True)
class Call:
    """A method call.

    `reply` is the signature that the answer must have (None: any). With `autostart` the bus may start the service.
    """

    destination: str
    path: str
    interface: str
    member: str
    signature: str = ""
    body: tuple[Any, ...] = ()
    reply: str | None = None
    autostart: bool = True

    def __str__(self) -> str:
        """Give the name for an error's sentence."""
        return f"{self.member} of {self.destination}"


@dataclass(frozen=True, slots=True)
class Property:
    """A property, and the signature of its type."""

    destination: str
    path: str
    interface: str
    name: str
    signature: str

    def __str__(self) -> str:
        """Give the name for an error's sentence."""
        return f"{self.name} of {self.destination}"

    def get(self) -> Call:
        """Give the call that reads the property."""
        body = (self.interface, self.name)
        return Call(self.destination, self.path, "org.freedesktop.DBus.Properties", "Get", "ss", body, "v")


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal. `sender` is a connection's unique name; the bus writes it, so no sender can forge it."""

    sender: str
    path: str
    interface: str
    member: str
    signature: str
    body: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A method call to this program. `sender` is a connection's unique name, which no sender can forge."""

    sender: str
    path: str
    interface: str
    member: str
    signature: str
    body: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The answer to a call."""

    signature: str = ""
    body: Sequence[Any] = ()


class RefusedError(LocksmithError):
    """Refused: this program does not do the call. Its caller gets a D-Bus error with this `name` and text."""

    component = "bus"

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that matches signals. `sender` is a well-known name: only signals of its owner match."""

    interface: str
    member: str
    path: str
    sender: str | None = None

    @property
    def rule(self) -> str:
        """The match rule for the bus. A program can still send a signal directly to us, so `fits` checks again."""
        rule = f"type='signal',interface='{self.interface}',member='{self.member}',path='{self.path}'"
        return f"{rule},sender='{self.sender}'" if self.sender else rule

    def fits(self, signal: Signal | Head) -> bool:
        """Whether a signal is of this kind, from any sender."""
        return (signal.interface, signal.member, signal.path) == (self.interface, self.member, self.path)


def owner_changed(name: str) -> str:
    """Give the match rule that tells whenever the well-known `name` changes its owner."""
    return f"{OWNER_CHANGED.rule},arg0='{name}'"


OWNER_CHANGED = Match(BUS_NAME, "NameOwnerChanged", BUS_PATH, BUS_NAME)


def to_bus(member: str, argument: str, reply: str | None = None) -> Call:
    """Give a call of the bus itself."""
    return Call(BUS_NAME, BUS_PATH, BUS_NAME, member, "s", (argument,), reply)
