"""Calls to the daemon over the bus."""

import asyncio
import contextlib

from locksmith.daemon.bus_settings import INTERFACE, NAME, PATH
from tests.harness.dbus import Message, MessageBus


@contextlib.asynccontextmanager
async def caller(node):
    bus = await MessageBus(bus_address=node.bus.address).connect()
    try:
        yield bus
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()


async def call(bus, member, signature="", body=(), interface=INTERFACE):
    message = Message(
        destination=NAME, path=PATH, interface=interface, member=member, signature=signature, body=list(body)
    )
    return await asyncio.wait_for(bus.call(message), 10)
