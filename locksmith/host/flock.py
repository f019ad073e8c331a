"""Files that are locks between programs of this machine (flock(2)); the end of a process releases its locks."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

PAUSE = 0.01

PRIVATE = 0o600
"""A user who can open a file, even to read, can lock it. So only its owner may open a file that locksmith waits for."""


@contextlib.contextmanager
def locked(path: Path, *, limit: float) -> Iterator[int]:
    """Hold the lock of a private file, which is created if it is missing; give its descriptor.

    `BlockingIOError`: another program holds it for longer than `limit` seconds. `OSError`: it cannot be opened.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    try:
        lock(fd, limit=limit)
        yield fd
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # a program that has inherited it would keep the lock
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
    """Tell whether a program holds the lock of a file now. A file that cannot be opened counts as locked."""
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


def is_locked_by_root(path: Path) -> bool:
    """Tell whether a program of root, or of this user, holds the lock of a file now.

    A lock whose holder the kernel does not name does not count: every user may lock a file that they can read.
    """
    return any(_owner(pid) in {0, os.geteuid()} for pid in _holders(path))


def is_listed(path: Path) -> bool:
    """Tell whether the kernel lists a lock of a file that only root can open. Any user may ask; nothing is locked."""
    return bool(_holders(path))


def _holders(path: Path) -> list[str]:
    """Give the pids of those that hold the lock of a file (proc_locks(5)); 0 is a process of another namespace."""
    try:
        found = path.stat()
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return []
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    holders = []
    for _, *words in map(str.split, lines):
        match words:
            case ["FLOCK", _, _, pid, place, *_] if place == wanted:
                holders.append(pid)
    return holders


LOCKS = Path("/proc/locks")


def _owner(pid: str) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
