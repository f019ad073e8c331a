"""A TLS context that follows its files: a certificate that is renewed is used without a restart."""

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from locksmith.errors import UsageError

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int] | None, ...]


class FollowedContext:
    """Gives the context that `make` makes of `files`, and makes it again when they have changed.

    Files that cannot be used any more are told once, and the context before stays. Any thread may ask.
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
        return tuple(map(_stamp, self._files))


def no_passphrase() -> str:
    """Answer OpenSSL's question for a key's passphrase: it would else ask a terminal, and wait."""
    return ""


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
