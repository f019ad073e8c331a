"""Free loopback ports for the servers of tests, which no other process of tests on this machine is given."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import TextIO

_BELOW_EPHEMERAL = range(20_000, 32_000)
"""No outgoing connection takes a port from here, so that a server that was stopped gets its own port again."""
_BLOCK = 100

_blocks: dict[int, TextIO] = {}
"""The blocks of this process by their first port, each with its locked file: the kernel unlocks it when that ends."""
_left: list[int] = []


def free_ports(count: int) -> list[int]:
    """Give ports that nobody listens on, and that no process of tests has given out before.

    A port stays its test's own where nobody listens on it: a server is stopped, not started yet, or meant to be away.
    If all blocks are taken, ports of this process are given out again.
    """
    ports: list[int] = []
    while len(ports) < count:
        if not _left:
            _left.extend(_another_block() or [port for start in _blocks for port in _ports(start)])
        port = _left.pop(0)
        if _is_free(port):
            ports.append(port)
    return ports


def _another_block() -> list[int]:
    folder = Path(tempfile.gettempdir()) / f"locksmith-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    starts = [start for start in _BELOW_EPHEMERAL[::_BLOCK] if start not in _blocks]
    random.shuffle(starts)
    for start in starts:
        file = (folder / str(start)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _blocks[start] = file
        return list(_ports(start))
    return []


def _ports(start: int) -> range:
    return range(start, start + _BLOCK)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
