"""A port that any machine may reach: its socket, and the connections that come to it."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any, Final

BACKLOG: Final = 4096
"""Connections that wait in the kernel, which drops any more. 900 silent connections leave the queue in a second."""
NO_DESCRIPTOR_PAUSE: Final = 1.0
"""Seconds before the next try, if this machine has no descriptor or memory for a connection."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def listen(address: str, port: int) -> socket.socket:
    """Give a socket that listens on an address. `OSError`, `OverflowError`, `ValueError`: it is not possible."""
    infos = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, where = infos[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def accept(listener: socket.socket, exhausted: Callable[[str], None]) -> tuple[socket.socket, Any] | None:
    """Give a connection that has come, and its address; None: call it again.

    None comes after a wait, and after an error of a connection. `exhausted` is told why this machine can take none.
    """
    # Not the loop's own `sock_accept`: if it is cancelled, it may lose a connection, with a traceback.
    try:
        connection, address = listener.accept()
    except BlockingIOError:
        await _incoming(listener)
    except OSError as error:
        if error.errno in _EXHAUSTED:
            exhausted(str(error.strerror))
            await asyncio.sleep(NO_DESCRIPTOR_PAUSE)
        else:
            await asyncio.sleep(0)  # an error that repeats must not keep the loop from its other work
    else:
        connection.setblocking(False)
        return connection, address
    return None


async def _incoming(listener: socket.socket) -> None:
    loop, incoming = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(listener, incoming.set)
    try:
        await incoming.wait()
    finally:
        loop.remove_reader(listener)
