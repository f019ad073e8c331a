"""What this machine is called."""

import socket
from pathlib import Path

from locksmith.host.paths import Paths


def read_hostname(paths: Paths) -> str:
    """Give the kernel's hostname; below a root of its own, what its /etc/hostname says, if it has one."""
    if paths.root != Path("/"):
        try:
            return (paths.root / "etc/hostname").read_text(errors="replace").strip() or socket.gethostname()
        except OSError:
            pass
    return socket.gethostname()
