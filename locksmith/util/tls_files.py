"""A TLS context that follows its files: a renewed certificate is used without a restart."""

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from locksmith.errors import UsageError

log = logging.getLogger(__name__)

Identity = tuple[int, int, int]
Stamp = tuple[Identity | None, ...]


class FollowedContext:
    """Gives the context that `make` makes of `files`, and renews it after a change of the files.

    If new files cannot be used, this is logged once, and the earlier context stays. Any thread may call.
    """

    def __init__(self, files: Sequence[Path], make: Callable[[], ssl.SSLContext]) -> None:
        self._files = tuple(files)
        self._make = make
        self._stamp = self._look()
        self._context = make()

    def get(self) -> ssl.SSLContext:
        """Give the context for the next connection."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._make()
            except (UsageError, OSError) as error:
                log.warning("TLS files have changed and cannot be used, so those before stay in use: %s", error)
        return self._context

    def _look(self) -> Stamp:
        return tuple(map(stamp_of, self._files))


def no_passphrase() -> str:
    """Answer OpenSSL's question for a key's passphrase; otherwise OpenSSL would ask a terminal, and wait."""
    return ""


def how_to_renew(file: Path, unit: str = "locksmithd.service") -> str:
    """Say what follows the renewal of a file: systemd copies a credential when the unit starts."""
    if "/run/credentials/" in str(file):
        return f"renew it, then run `systemctl restart {unit}`"
    return "renew it, no restart is needed"


def stamp_of(file: Path) -> Identity | None:
    """Give what changes with a file: its inode, time and size; None: it cannot be examined."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
