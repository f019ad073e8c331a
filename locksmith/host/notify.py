"""Telling systemd (sd_notify(3)): ready, what the status is, that the loop is alive. Never raises."""

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends datagrams to the socket systemd named; without one, does nothing."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Notifier":
        """Read `NOTIFY_SOCKET`."""
        return cls(environ.get("NOTIFY_SOCKET"))

    def ready(self) -> None:
        """Say that the daemon does its work."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what it does, for `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())}")

    def watchdog(self) -> None:
        """Say that the loop turns."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the daemon ends."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the NUL of Linux's abstract sockets.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto(message.encode(), address)
