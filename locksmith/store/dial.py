"""A connected socket to a host: its name is looked up, and slow addresses do not hold up the others."""

import asyncio
import contextlib
import encodings.idna  # noqa: F401 - `getaddrinfo` loads it at its first call: then the disk may be gone
import socket
from collections.abc import Sequence
from typing import Any

from locksmith.util.threads import in_thread

HEAD_START = 0.25
"""Seconds that an address has before the next address is tried too (RFC 8305)."""
LOOK_UP_LIMIT = 30.0
"""Seconds for the look-up of a name; each call ends earlier."""

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


async def dial(host: str, port: int) -> socket.socket:
    """Give a connection to the first address of a host that accepts it; `OSError`: none does."""
    addresses = await _addresses(host, port)
    if len(addresses) == 1:
        return await _connect(addresses[0])
    return await _first(addresses)


async def _addresses(host: str, port: int) -> Sequence[Address]:
    """Give the addresses of a name. The look-up has a daemon thread, so that the process can end without it."""

    def look_up(flags: int = 0) -> Sequence[Address]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)

    with contextlib.suppress(socket.gaierror):
        return look_up(socket.AI_NUMERICHOST)
    return await in_thread(look_up, limit=LOOK_UP_LIMIT)


async def _first(addresses: Sequence[Address]) -> socket.socket:
    attempts: list[asyncio.Task[socket.socket]] = []
    for address in addresses:
        attempts.append(asyncio.create_task(_after(attempts[-1:], len(attempts) * HEAD_START, address)))
    won: socket.socket | None = None

    def spare(attempt: asyncio.Task[socket.socket]) -> None:
        if not attempt.cancelled() and attempt.exception() is None and attempt.result() is not won:
            attempt.result().close()

    try:
        for attempt in asyncio.as_completed(attempts):
            try:
                won = await attempt
            except OSError as error:
                failure = error
            else:
                return won
        raise failure
    finally:
        for task in attempts:
            task.cancel()
            task.add_done_callback(spare)


async def _after(before: Sequence[asyncio.Task[socket.socket]], longest: float, address: Address) -> socket.socket:
    """Connect after the earlier attempt has failed, or takes too long."""
    if before:
        await asyncio.wait(before, timeout=longest)
    return await _connect(address)


async def _connect(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    new = socket.socket(family, kind, protocol)
    try:
        new.setblocking(False)
        await asyncio.get_running_loop().sock_connect(new, where)
    except BaseException:
        new.close()
        raise
    return new
