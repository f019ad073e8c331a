"""A program of some Unix user that pretends to be update_engine: it emits StatusUpdate, and stays until told to go.

python -m tests.harness.rogue_sender ADDRESS UID DESTINATION [OPERATION [VERSION [COUNT]]]

It says `sent`, and leaves when its input ends. The operation `nonsense` sends a body of another signature, and `long`
sends megabytes.
"""

import asyncio
import fcntl
import os
import sys
import termios
from typing import Any

from tests.harness.dbus import Message, MessageBus, MessageType, Variant, written


def status_update(operation: str, version: str, destination: str) -> Message:
    """Build the signal that `operation` asks for."""
    bodies: dict[str, tuple[str, list[Any]]] = {"nonsense": ("s", ["nonsense"]), "long": ("av", _LONG)}
    signature, body = bodies.get(operation, ("xdssx", [0, 0.0, operation, version, 0]))
    return Message(
        message_type=MessageType.SIGNAL,
        destination=destination or None,
        path="/com/coreos/update1",
        interface="com.coreos.update1.Manager",
        member="StatusUpdate",
        signature=signature,
        body=body,
    )


async def emit(bus: MessageBus, message: Message) -> None:
    """Send a message, however long the bus takes to read it: the library gives up where the socket is full."""
    assert bus._sock is not None
    message.serial = bus.next_serial()
    await asyncio.get_running_loop().sock_sendall(bus._sock, written(message))
    while int.from_bytes(fcntl.ioctl(bus._sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.001)  # the bus has not read all of it yet


async def main(address: str, uid: str, destination: str, *what: str) -> None:
    """Become that user, connect, emit, wait for the end of the input."""
    if os.getuid() != int(uid):
        # Only now: other users may not even be allowed to read this interpreter.
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    operation, version, count = [*what, *_DEFAULTS[len(what) :]]
    bus = await MessageBus(bus_address=address).connect()
    for number in range(int(count), 0, -1):
        await emit(bus, status_update(operation, version, destination))
        # An answer of the bus proves that it took everything before.
        if number % 50 == 1:
            await bus.call(_ping())
    sys.stdout.write("sent\n")
    sys.stdout.flush()
    sys.stdin.read()
    bus.disconnect()
    await bus.wait_for_disconnect()


_LONG = [[Variant("u", 1)] * 1_000_000]
_DEFAULTS = ["UPDATE_STATUS_UPDATED_NEED_REBOOT", "", "1"]


def _ping() -> Message:
    """Ask the bus for something, anew each time: a message is numbered when it is sent."""
    name, path = "org.freedesktop.DBus", "/org/freedesktop/DBus"
    return Message(destination=name, path=path, interface=name, member="GetId")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
