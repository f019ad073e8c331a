"""coordinator.conf: tells update_engine and login profiles which program coordinates reboots, and its state.

The coordinator holds an exclusive flock on the file all the time. If a login profile can get the lock, no program
reboots this machine by itself. Each new file is locked before it takes the name, so the lock never lapses.

Every user can lock a file that they can read. So locksmith never waits for the lock of the old file. Only root's lock,
which is that of another coordinator, keeps the file from being replaced.
"""

import os
import shlex
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.flock import PRIVATE, is_locked_by_root, lock

NAME = "locksmithd"

PUBLIC = 0o644
"""The file's mode: login profiles of all users read it."""


class CoordinatorState(StrEnum):
    """The state of the coordinator."""

    STARTING = "starting"
    DISABLED = "disabled"
    RUNNING = "running"
    REBOOT_PLANNED = "reboot-planned"
    REBOOTING = "rebooting"


class Coordinator:
    """The file at `path`. The first `set` takes its lock; `close`, or the end of the process, lets go of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def set(self, strategy: str, state: CoordinatorState) -> None:
        """Write the file again. `HostError`: another program of root holds its lock, or the file cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._is_ours() and is_locked_by_root(self._path):
                raise HostError(f"{self._path} is locked by another program: two reboot coordinators are running")
            self._replace(f"NAME={NAME}\nSTRATEGY={shlex.quote(strategy)}\nSTATE={state}\n")
        except OSError as error:
            raise HostError(f"{self._path} cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Let go of the lock; the file stays."""
        self._hold(None)

    def _is_ours(self) -> bool:
        """Whether the file with this name is the file that is locked here."""
        with suppress(FileNotFoundError):
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), self._path.stat())
        return False

    def _replace(self, text: str) -> None:
        """Replace the old file by a new file. A lock on the old file then has no effect."""
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        # Private until it is locked: a user who can read a file can lock it.
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
        try:
            lock(fd, limit=0)
            os.write(fd, text.encode())
            os.fchmod(fd, PUBLIC)
            new.rename(self._path)
        except BaseException:
            os.close(fd)
            raise
        self._hold(fd)

    def _hold(self, fd: int | None) -> None:
        """Keep this lock from now on, and let go of the earlier lock."""
        before, self._fd = self._fd, fd
        if before is not None:
            os.close(before)
