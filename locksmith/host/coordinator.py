"""coordinator.conf: tells update_engine and login profiles who coordinates reboots, and what it is about to do.

Whoever writes it holds an exclusive flock on it all the time: a login profile that can get the lock knows that nobody
reboots this machine by itself. So that the lock never lapses, each new file is locked before it takes the name.

Every user can lock a file that they can read. So nothing waits for the lock of the old file. Only a lock of root's,
which is another coordinator's, keeps the file from being replaced.
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
"""Its mode: login profiles of all users read it."""


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
        """Write the file again. `HostError`: another program of root's holds its lock, or it cannot be written."""
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
        """Whether the file that has the name is the one locked here."""
        with suppress(FileNotFoundError):
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), self._path.stat())
        return False

    def _replace(self, text: str) -> None:
        """Put a new file in the place of the old one. A lock on that, whose ever it is, is of no account then."""
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        # Private until it is locked: whoever can read a file can lock it.
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
        """Keep this lock from now on, and let go of the one before."""
        before, self._fd = self._fd, fd
        if before is not None:
            os.close(before)
