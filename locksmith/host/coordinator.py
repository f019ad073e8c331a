"""coordinator.conf: tells update_engine and login profiles who coordinates reboots, and what it is about to do.

Whoever writes it holds an exclusive flock on it all the time: a login profile that can get the lock knows that nobody
reboots this machine by itself. So that the lock never lapses, each new file is locked before it takes the name.
"""

import os
import shlex
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.flock import lock

NAME = "locksmithd"

LOCK_LIMIT = 0.2
"""Seconds to wait for a lock: a login profile tries it only for a moment, another coordinator keeps it."""


class CoordinatorState(StrEnum):
    """What the coordinator is about to do."""

    STARTING = "starting"
    DISABLED = "disabled"
    RUNNING = "running"
    REBOOT_PLANNED = "reboot-planned"
    REBOOTING = "rebooting"


class Coordinator:
    """The file at `path`. Its lock is taken by the first `set` and let go by `close`, or by the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def set(self, strategy: str, state: CoordinatorState) -> None:
        """Write the file anew. `HostError`: another program holds its lock, or it cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._is_ours():
                self._take_over()
            self._replace(f"NAME={NAME}\nSTRATEGY={shlex.quote(strategy)}\nSTATE={state}\n")
        except BlockingIOError:
            raise HostError(f"{self._path} is locked by another program: two reboot coordinators are running") from None
        except OSError as error:
            raise HostError(f"{self._path} cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Let go of the lock; the file stays."""
        self._hold(None)

    def _is_ours(self) -> bool:
        """Whether the file that has the name is the one locked here."""
        with suppress(FileNotFoundError):
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), self._path.stat())
        return False

    def _take_over(self) -> None:
        """Lock the file that is there. Another writer may put a new one in its place meanwhile: then that one."""
        self._hold(None)
        while not self._is_ours():
            try:
                fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
            try:
                lock(fd, limit=LOCK_LIMIT)
            except BaseException:
                os.close(fd)
                raise
            self._hold(fd)

    def _replace(self, text: str) -> None:
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            lock(fd, limit=LOCK_LIMIT)
            os.write(fd, text.encode())
            new.rename(self._path)
        except BaseException:
            os.close(fd)
            raise
        self._hold(fd)

    def _hold(self, fd: int | None) -> None:
        """Keep this lock from now on, and let go of the one before."""
        before, self._fd = self._fd, fd
        if before is not None:
            os.close(before)
