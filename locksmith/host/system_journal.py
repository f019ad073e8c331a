"""The system journal's own protocol: records with fields (systemd.io/JOURNAL_NATIVE_PROTOCOL).

A record is one datagram. The kernel keeps about ten for a reader, so a busy journald gets a moment to read. What it
does not take even so is written to standard error, where journald reads it too, as a line without fields. What that
does not take either is counted and named in the next line.
"""

import array
import contextlib
import errno
import os
import socket
import time
from collections.abc import Mapping
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
_STDERR = 2
_PATIENCE = 0.2
"""Seconds that a busy journald gets for a record. One that hangs gets them once, so it delays nothing after that."""
_PAUSE = 0.005
"""Seconds between two attempts."""


def stderr_is_journal(environ: Mapping[str, str] = os.environ, descriptor: int = _STDERR) -> bool:
    """Whether standard error is the stream that systemd has connected to the system journal (systemd.exec(5)).

    A program that inherits the variable and writes elsewhere has another file there.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


class SystemJournal:
    """Sends records to journald. It never raises. It waits 0.2 s at most, and for a journald that hangs only once."""

    def __init__(self, address: Path = SOCKET, stream: int = _STDERR) -> None:
        self._address = str(address)
        self._stream = stream
        self._lost = 0
        self._hangs = False
        self._datagrams: socket.socket | None = None

    def send(self, fields: Mapping[str, str], line: str) -> None:
        """Send one record; `line` is what standard error gets instead if journald does not take the record."""
        try:
            self._send_patiently(_encoded(fields))
        except OSError:
            self._write(line)

    def _send_patiently(self, record: bytes) -> None:
        """Send a record as soon as journald has room for it. `BlockingIOError`: it has none."""
        end = time.monotonic() + (0 if self._hangs else _PATIENCE)
        while True:
            try:
                self._send(record)
            except BlockingIOError:
                self._hangs = time.monotonic() >= end
                if self._hangs:
                    raise
                time.sleep(_PAUSE)
            else:
                self._hangs = False
                return

    def _send(self, record: bytes) -> None:
        if self._datagrams is None:
            self._datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._datagrams.setblocking(False)
        try:
            # Not connected: a journald that was replaced meanwhile is found by its name.
            self._datagrams.sendto(record, self._address)
        except OSError as error:
            if not _is_too_large(error):
                raise
            self._send_file(self._datagrams, record)

    def _send_file(self, datagrams: socket.socket, record: bytes) -> None:
        """Send what is too large for a datagram as a sealed file in memory, which journald maps."""
        descriptor = os.memfd_create("locksmith-record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(record)
            fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
            datagrams.sendmsg([b""], [rights], 0, self._address)
        finally:
            os.close(descriptor)

    def _write(self, line: str) -> None:
        """Write to the stream, which a journald that hangs leaves full."""
        lost = f"<4>{self._lost} lines before this one are lost: the system journal took none\n" if self._lost else ""
        text = f"{lost}{line}\n".encode(errors="replace")
        try:
            self._write_stream(text)
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def _write_stream(self, text: bytes) -> None:
        descriptor = os.dup(self._stream)
        try:
            stream = socket.socket(fileno=descriptor)
        except OSError:  # another file than a socket is there meanwhile
            os.close(descriptor)
            raise
        with stream:
            stream.send(text, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """Let go of the socket."""
        if self._datagrams is not None:
            with contextlib.suppress(OSError):
                self._datagrams.close()
            self._datagrams = None


def _encoded(fields: Mapping[str, str]) -> bytes:
    """Write the fields as the protocol wants them; a value with more lines than one has its length before it."""
    record = bytearray()
    for name, value in fields.items():
        content = value.encode(errors="replace")
        if b"\n" in content:
            record += name.encode() + b"\n" + len(content).to_bytes(8, "little") + content + b"\n"
        else:
            record += name.encode() + b"=" + content + b"\n"
    return bytes(record)


def _is_too_large(error: OSError) -> bool:
    return error.errno in {errno.EMSGSIZE, errno.ENOBUFS}
