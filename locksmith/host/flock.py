"""Files that are locks between programs of this machine (flock(2)); the end of a process lets them go."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

PAUSE = 0.01

PRIVATE = 0o600
"""Whoever can open a file, even to read, can lock it: nobody but its owner may open one that we wait for."""


@contextlib.contextmanager
def locked(path: Path, *, limit: float) -> Iterator[int]:
    """Hold the lock of a private file, made where it is missing; give its descriptor.

    `BlockingIOError`: another program holds it for longer than `limit` seconds; `OSError`: it can't be opened.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    try:
        lock(fd, limit=limit)
        yield fd
    finally:
        os.close(fd)


def lock(fd: int, *, limit: float) -> None:
    """Lock an open file. `BlockingIOError`: another program holds it for longer than `limit` seconds."""
    ends = time.monotonic() + limit
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= ends:
                raise
            time.sleep(PAUSE)
        else:
            return


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock of a file now; one that can't be looked at counts as locked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
