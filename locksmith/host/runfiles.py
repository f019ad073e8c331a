"""Small files below /run/locksmith, which a reboot forgets."""

import contextlib
import logging
import os
from collections.abc import Iterator

from locksmith.host.paths import Paths

log = logging.getLogger(__name__)


class AdoptMark:
    """Remembers that a slot from before the journal was looked for in this boot (`adopt = true`)."""

    def __init__(self, paths: Paths, *, wanted: bool) -> None:
        self._path = paths.run / "adopted"
        self._wanted = wanted

    def missing(self) -> bool:
        """Whether it is still to be looked for."""
        return self._wanted and not self._path.exists()

    def leave(self) -> None:
        """Remember it; where that fails, at least until this daemon ends."""
        self._wanted = False
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()


@contextlib.contextmanager
def pid_file(paths: Paths) -> Iterator[None]:
    """Keep the daemon's pid where `locksmithctl` finds it to have it look again; without it, it looks a bit later."""
    path = paths.run / "locksmithd.pid"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        log.warning("%s cannot be written: %s", path, error.strerror)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
