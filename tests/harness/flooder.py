"""A program of some Unix user that floods the bus, as fast as the bus takes it, until its input ends.

python -m tests.harness.flooder ADDRESS UID KIND [CONNECTIONS [PID]]

It says `flooding` when it has begun. PID is the process whose connections the kind `unicast` aims at. Where the bus
throws it off, it comes back.
"""

import array
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from tests.harness.dbus import Message, MessageFlag, Variant, written
from tests.harness.rogue_sender import status_update

BUS = "org.freedesktop.DBus"
LOCKSMITH, PATH, MANAGER = "org.locksmith1", "/org/locksmith1", "org.locksmith1.Manager"
BATCH = 32
REQUESTS = 70
"""Calls of each connection that wait for polkit; the bus lets one have 128."""


def call(member: str, signature: str = "", *body: object, interface: str = MANAGER, waits: bool = True) -> Message:
    """Build a call of locksmithd."""
    flags = MessageFlag.NONE if waits else MessageFlag.NO_REPLY_EXPECTED
    return Message(LOCKSMITH, PATH, interface, member, signature=signature, body=[*body], flags=flags)


def to_bus(member: str, signature: str = "", *body: object) -> Message:
    """Build a call of the bus itself."""
    return Message(BUS, "/org/freedesktop/DBus", BUS, member, signature=signature, body=[*body])


def nested(depth: int) -> Variant:
    """Wrap a number in that many variants."""
    inner = Variant("u", 1)
    for _ in range(depth):
        inner = Variant("v", inner)
    return inner


def kinds(names: list[str]) -> dict[str, Callable[[], list[Message]]]:
    """Give what each kind sends, again and again; `names` are the connections to aim at."""
    properties = "org.freedesktop.DBus.Properties"
    need = "UPDATE_STATUS_UPDATED_NEED_REBOOT"
    return {
        "request": lambda: [call("Request", "s", "flood")],
        "introspect": lambda: [call("Introspect", interface="org.freedesktop.DBus.Introspectable")],
        "unasked": lambda: [
            call("Introspect", interface="org.freedesktop.DBus.Introspectable", waits=False),
            call("GetAll", "s", MANAGER, interface=properties, waits=False),
            call("Get", "ss", MANAGER, "State", interface=properties, waits=False),
            call("Ping", interface="org.freedesktop.DBus.Peer", waits=False),
            call("Triggers", waits=False),
            call("Explode", waits=False),
        ],
        "huge": lambda: [call("Request", "av", [Variant("u", 1)] * 300_000, waits=False)],
        "nested": lambda: [call("Request", "v", nested(60))],
        "signals": lambda: [status_update(need, "1.2.3", ""), status_update("UPDATE_STATUS_IDLE", "", "")],
        "unicast": lambda: [status_update(need, "1.2.3", name) for name in names],
        "fds": lambda: [call("Request", "s", "flood", waits=False)],
    }


class Flood:
    """One connection that sends its batch over and over."""

    def __init__(self, path: str, batch: list[Message], *, fds: bool, most: int | None) -> None:
        self._path, self._batch, self._fds, self._most = path, batch, fds, most
        self._serial = 10
        self._unsent = b""
        self._templates = [bytearray(one._marshall(False)) for one in batch]
        self.connect()

    def connect(self) -> None:
        """Connect, and be greeted."""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        self.socket.connect(self._path)
        uid = str(os.getuid()).encode().hex().encode()
        self.socket.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\n")
        self.socket.recv(4096)
        if self._fds:
            self.socket.sendall(b"NEGOTIATE_UNIX_FD\r\n")
            self.socket.recv(4096)
        self.socket.sendall(b"BEGIN\r\n")
        self.exchange(to_bus("Hello"))
        self.socket.setblocking(False)

    def exchange(self, message: Message) -> bytes:
        """Send a call and give what comes, which has its answer in it."""
        self.socket.settimeout(5)
        self._serial += 1
        message.serial = self._serial
        self.socket.sendall(written(message))
        said = self.socket.recv(65536)
        self.socket.setblocking(False)
        return said

    def push(self) -> bool:
        """Send what the bus takes now; False: it takes nothing, or all is said."""
        if self._most == 0:
            return False
        try:
            if self._fds:
                self._push_with_fd()
            else:
                self._unsent = self._unsent or self._next()
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        except OSError:
            self._unsent = b""
            self.socket.close()
            with suppress(OSError):
                self.connect()
        return True

    def _next(self) -> bytes:
        parts = []
        rounds = BATCH if self._most is None else self._most
        if self._most is not None:
            self._most = 0
        for _ in range(max(1, rounds if len(self._templates[0]) < 100_000 else 1)):
            for template in self._templates:
                self._serial += 1
                template[8:12] = self._serial.to_bytes(4, "little")
                parts.append(bytes(template))
        return b"".join(parts)

    def _push_with_fd(self) -> None:
        for message in self._batch:
            self._serial += 1
            message.serial = self._serial
            message.unix_fds = [0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]
            self.socket.sendmsg([bytes(message._marshall(True))], ancillary)


def connections_of(path: str, pid: int) -> list[str]:
    """Give the unique names of a process, by asking about each of the first few."""
    asks = Flood(path, [], fds=False, most=0)
    found = []
    for number in range(40):
        name = f":1.{number}"
        said = asks.exchange(to_bus("GetConnectionUnixProcessID", "s", name))
        if said.endswith(pid.to_bytes(4, "little")):
            found.append(name)
    asks.socket.close()
    return found


def main(address: str, uid: str, kind: str, connections: str = "1", pid: str = "0") -> None:
    """Become that user, connect, flood until the input ends."""
    if os.getuid() != int(uid):
        # Only now: other users may not even be allowed to read this interpreter.
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    path = address.partition("path=")[2]
    names = connections_of(path, int(pid)) if kind == "unicast" else []
    comes_and_goes = kind == "churn"
    send = kinds(names)["introspect" if comes_and_goes else kind]()
    most = REQUESTS if kind == "request" else 1 if comes_and_goes else None
    if comes_and_goes:
        send.append(status_update("UPDATE_STATUS_UPDATED_NEED_REBOOT", "1.2.3", ""))
    floods = [Flood(path, send, fds=kind == "fds", most=most) for _ in range(int(connections))]
    told = False
    while True:
        moved = [one.push() for one in floods]
        if not told:
            sys.stdout.write("flooding\n")
            sys.stdout.flush()
            told = True
        if comes_and_goes:
            oldest = floods.pop(0)
            oldest.socket.close()
            floods.append(Flood(path, send, fds=False, most=most))
        if select.select([sys.stdin], [], [], 0)[0]:
            return
        if not any(moved):
            time.sleep(0.001)


if __name__ == "__main__":
    main(*sys.argv[1:])
