"""Connections that never finish, held open by another process: of user `nobody` where the tests run as root.

with silent_clients(port, 1_020):
    ...
"""

import contextlib
import errno
import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator

NOBODY = 65534
SPARE = 64


@contextlib.contextmanager
def silent_clients(port: int, count: int, first: bytes = b"") -> Iterator[None]:
    """Hold `count` connections open, open each again that is closed, and send the bytes `first` on each, no more."""
    command = [sys.executable, "-I", __file__, str(port), str(count), first.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        try:
            assert clients.stdout.readline() == b"begun\n"
            yield
        finally:
            clients.stdin.close()
            clients.wait(10)


class Clients:
    """The connections, in their own process."""

    def __init__(self, port: int, first: bytes) -> None:
        self._port = port
        self._first = first
        self._open: dict[int, socket.socket] = {}
        self._poll = select.epoll()
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)

    def connect(self) -> None:
        """Open one more."""
        client = socket.socket()
        client.setblocking(False)
        if client.connect_ex(("127.0.0.1", self._port)) not in {0, errno.EINPROGRESS}:
            client.close()
            return
        self._open[client.fileno()] = client
        self._poll.register(client, select.EPOLLIN | (select.EPOLLOUT if self._first else 0))

    def hold(self) -> None:
        """Hold them until standard input ends."""
        while True:
            for descriptor, event in self._poll.poll():
                if descriptor == sys.stdin.fileno():
                    return
                if event & select.EPOLLOUT:
                    with contextlib.suppress(OSError):
                        self._open[descriptor].send(self._first)
                    self._poll.modify(descriptor, select.EPOLLIN)
                elif event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                    self._open.pop(descriptor).close()
                    self.connect()


def main() -> None:
    """Become `nobody`, and hold connections."""
    port, count, first = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    clients = Clients(port, first)
    for _ in range(count):
        clients.connect()
    os.write(1, b"begun\n")
    clients.hold()


if __name__ == "__main__":
    main()
