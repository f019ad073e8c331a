"""inotify(7): a callback for changes of files in a folder. The standard library has none, so this calls libc."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_CLOSE_WRITE, _ATTRIB, _CREATE, _DELETE = 0x008, 0x004, 0x100, 0x200
_MOVED_FROM, _MOVED_TO, _ONLYDIR = 0x040, 0x080, 0x0100_0000
_Q_OVERFLOW = 0x4000
_CHANGES = _CLOSE_WRITE | _ATTRIB | _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO | _ONLYDIR
_HEAD = struct.Struct("iIII")
"""An event's head: watch, mask, cookie, and the length of the name that follows, with its padding."""
_MOST_READ = 65536


class FolderWatch:
    """Calls `wake` when one of some files in a folder comes, goes, changes, or is replaced.

    `OSError`: the kernel gives no watch, or there is no such folder. It needs a running event loop.
    """

    def __init__(self, folder: Path, names: Collection[str], wake: Callable[[], None]) -> None:
        self._names = frozenset(map(os.fsencode, names))
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._fd = _opened(folder)
        self._loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        """Stop watching; a second call does nothing."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            raw = os.read(self._fd, _MOST_READ)
        except BlockingIOError:
            return
        # After an overflow the kernel has dropped events: any of the files may have changed.
        if any(mask & _Q_OVERFLOW or name in self._names for mask, name in _events(raw)):
            self._wake()


def _opened(folder: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise _error(folder)
    if libc.inotify_add_watch(fd, os.fsencode(folder), _CHANGES) < 0:
        error = _error(folder)
        os.close(fd)
        raise error
    return fd


def _error(folder: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(folder))


def _events(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(raw):
        _, mask, _, length = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        yield mask, raw[at : at + length].rstrip(b"\0")
        at += length
