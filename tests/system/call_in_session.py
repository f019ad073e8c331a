"""Runs inside a machine: runs a command in a session of its own, which logind makes as it does for pam_systemd."""

import asyncio
import os
import sys

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
SIGNATURE = "uusssssussbssa(sv)"


async def call(command: list[str]) -> int:
    """Run the command in a session, and give its exit status. The session lasts as long as this process."""
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    destination, path, interface = LOGIND
    body = [0, os.getpid(), "sshd", "tty", "user", "", "", 0, "", "", True, "", "10.0.0.9", []]
    made = await bus.call(Message(destination, path, interface, "CreateSession", signature=SIGNATURE, body=body))
    assert made is not None
    assert made.message_type is MessageType.METHOD_RETURN, made.body
    process = await asyncio.create_subprocess_exec(*command)
    return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(call(sys.argv[1:])))
