"""The name of this machine."""

import socket
from pathlib import Path

from locksmith.host.paths import Paths


def read_hostname(paths: Paths) -> str:
    """Give the kernel's hostname; below another root, the name in its /etc/hostname, if that exists."""
    if paths.root != Path("/"):
        try:
            return (paths.root / "etc/hostname").read_text(errors="replace").strip() or socket.gethostname()
        except OSError:
            pass
    return socket.gethostname()
