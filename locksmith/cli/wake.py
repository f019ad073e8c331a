"""Have this machine's daemon check everything at once; without it, the daemon does so at its next heartbeat."""

import contextlib
import os
import signal
from pathlib import Path

from locksmith.host.paths import Paths

DAEMON = "locksmithd"


def wake_daemon(paths: Paths) -> bool:
    """Send SIGHUP to the daemon whose pid is in its file; False if it does not run."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((paths.run / "locksmithd.pid").read_text())
        # The file of a daemon that was killed may name another program by now, which the signal would end.
        if _is_daemon(pid):
            os.kill(pid, signal.SIGHUP)
            return True
    return False


def _is_daemon(pid: int) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return any(Path(os.fsdecode(word)).name == DAEMON for word in words[:2])
