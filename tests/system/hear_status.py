"""Runs inside a machine: lets users say, one after another, that a reboot is needed, and prints who was heard.

Ends with the last one's signal: the bus keeps the order, so whoever was not heard by then never will be.
"""

import asyncio
import sys

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

LIMIT = 10.0
PATH, INTERFACE = "/com/coreos/update1", "com.coreos.update1.Manager"


async def say(user: str) -> None:
    """Emit a StatusUpdate as `user`, with the user's name in the place of the new version."""
    body = ("xdssx", "0", "0.0", "UPDATE_STATUS_UPDATED_NEED_REBOOT", user, "0")
    emit = ("busctl", "emit", PATH, INTERFACE, "StatusUpdate", *body)
    process = await asyncio.create_subprocess_exec("setpriv", f"--reuid={user}", "--clear-groups", *emit)
    await process.wait()


async def hear(users: list[str]) -> list[str]:
    """Give the users that a subscriber hears."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    heard: asyncio.Queue[str] = asyncio.Queue()

    def note(message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.interface == INTERFACE:
            heard.put_nowait(message.body[3])

    bus.add_message_handler(note)
    rule = f"type='signal',interface='{INTERFACE}'"
    await bus.call(
        Message(
            destination="org.freedesktop.DBus",
            path="/org/freedesktop/DBus",
            interface="org.freedesktop.DBus",
            member="AddMatch",
            signature="s",
            body=[rule],
        )
    )
    for user in users:
        await say(user)
    names = [await heard.get()]
    while names[-1] != users[-1]:
        names.append(await heard.get())
    bus.disconnect()
    return names


if __name__ == "__main__":
    print(*asyncio.run(asyncio.wait_for(hear(sys.argv[1:]), LIMIT)))  # noqa: T201 - its answer to the test
