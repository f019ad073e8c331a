"""The end of sd_notify(3) that systemd has: a datagram socket, and what arrives there."""

import socket
import tempfile
from pathlib import Path
from typing import Self


class ServiceManager:
    """Listens at `address`, which is a service's NOTIFY_SOCKET."""

    def __init__(self) -> None:
        # Not pytest's tmp_path, which may be longer than a socket's name can be.
        self._folder = tempfile.TemporaryDirectory(prefix="locksmith-notify-")
        self.address = str(Path(self._folder.name) / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told: list[str] = []

    def __enter__(self) -> Self:
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._folder.cleanup()

    @property
    def told(self) -> list[str]:
        """Everything it was told until now."""
        while True:
            try:
                self._told.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return self._told

    @property
    def status(self) -> str:
        """The unit's status, as `systemctl status` shows it."""
        return next((line.removeprefix("STATUS=") for line in reversed(self.told) if line.startswith("STATUS=")), "")
