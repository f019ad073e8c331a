"""update_engine's coordinator.conf: which program coordinates reboots here, and what it is about to do.

The file is shell-sourceable. Its writer holds an exclusive lock on it all the time, also across the atomic rename that
updates it: a login profile that can get the lock knows that nobody coordinates reboots.
"""

import fcntl
import os
import shlex
from enum import StrEnum
from pathlib import Path

from locksmith.errors import HostError


class CoordinatorState(StrEnum):
    """The states the original writes."""

    STARTING = "starting"
    DISABLED = "disabled"
    RUNNING = "running"
    REBOOT_PLANNED = "reboot-planned"
    REBOOTING = "rebooting"


class Coordinator:
    """The file, held from the first `set` until `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: int | None = None

    def set(self, strategy: str, state: CoordinatorState) -> None:
        """Write strategy and state. `HostError`: another program coordinates, or the file can't be written."""
        content = f"NAME=locksmithd\nSTRATEGY={shlex.quote(strategy)}\nSTATE={state}\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._held is None:
                self._held = self._lock_present()
            self._replace(content)
        except BlockingIOError:
            raise HostError(f"{self._path} is held by another reboot coordinator; locksmithd works beside it") from None
        except OSError as error:
            raise HostError(f"{self._path} cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Let the file go; it stays, unlocked, which means that nobody coordinates reboots."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _lock_present(self) -> int:
        """Lock the file as it is, so that a present writer is found before its file is replaced."""
        return _locked(self._path)

    def _replace(self, content: str) -> None:
        """Lock the new file before it takes the name: nobody ever finds the name unlocked."""
        new = self._path.with_suffix(".new")
        new.unlink(missing_ok=True)
        fd = _locked(new)
        try:
            os.write(fd, content.encode())
            new.rename(self._path)
        except OSError:
            os.close(fd)
            raise
        self.close()
        self._held = fd


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd
