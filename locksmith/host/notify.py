"""The messages of a service to systemd: sd_notify(3), sd_watchdog_enabled(3)."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from locksmith.util.text import one_line

SEND_LIMIT = 0.5
"""Seconds to wait while systemd's queue is full."""


class Notifier:
    """Sends messages to systemd's socket; without a socket it does nothing. It never raises.

    `watchdog` must be called every `watchdog_interval` seconds, half of what systemd allows; None: never.
    """

    def __init__(self, address: str | None, watchdog_interval: float | None = None) -> None:
        self._address = address
        self.watchdog_interval = watchdog_interval

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Give a notifier with the socket and the watchdog's interval of systemd."""
        return cls(environ.get("NOTIFY_SOCKET") or None, _interval(environ))

    def ready(self) -> None:
        """Say that the service is up."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in a line what the service does."""
        self._send(f"STATUS={one_line(text)}")

    def watchdog(self) -> None:
        """Say that the service is alive."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        # A leading `@` stands for the NUL of the abstract namespace (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_systemd:
            to_systemd.settimeout(SEND_LIMIT)
            to_systemd.sendto(message.encode(errors="replace"), address)


def _interval(environ: Mapping[str, str]) -> float | None:
    """Give half of the watchdog's limit; None: there is none, or it is for another process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(environ["WATCHDOG_USEC"])
        return microseconds / 2_000_000 if microseconds > 0 else None
    except (KeyError, ValueError, OverflowError):
        return None
