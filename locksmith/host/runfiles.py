"""Small files below /run/locksmith, which a reboot forgets."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.flock import is_listed, is_locked, locked
from locksmith.host.paths import Paths

PROBED = 0.5
"""Seconds that a starting daemon waits for its lock: `daemon_runs` may hold the lock for a moment."""


class AdoptMark:
    """Remembers that this boot has searched for a slot from before the reboot journal (`adopt = true`)."""

    def __init__(self, paths: Paths, *, wanted: bool) -> None:
        self._path = paths.run / "adopted"
        self._wanted = wanted

    def missing(self) -> bool:
        """Whether the search is still to be done."""
        return self._wanted and not self._path.exists()

    def leave(self) -> None:
        """Remember the search; if the write fails, at least until this daemon ends."""
        self._wanted = False
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()


@contextlib.contextmanager
def only_daemon(paths: Paths) -> Iterator[None]:
    """Be the only daemon of this machine, and write its pid, by which `locksmithctl` wakes it.

    `HostError`: another daemon runs. Each of two daemons would take the other's claim for its own leftover, and release
    it.
    """
    path = pid_file(paths)
    with contextlib.ExitStack() as stack:
        try:
            fd = stack.enter_context(locked(path, limit=PROBED))
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            raise HostError(f"another locksmithd runs on this machine: it holds {path}") from None
        except OSError as error:
            raise HostError(f"{path} cannot be written: {error.strerror}") from None
        yield


def pid_file(paths: Paths) -> Path:
    """Name the file with the pid of the daemon, which holds its lock while it runs."""
    return paths.run / "locksmithd.pid"


def daemon_runs(paths: Paths) -> bool:
    """Tell whether a daemon runs on this machine. A user who cannot open its file asks the kernel's list of locks."""
    path = pid_file(paths)
    return is_locked(path) if os.access(path, os.R_OK) else is_listed(path)
