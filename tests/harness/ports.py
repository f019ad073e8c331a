"""Free loopback ports for the servers of tests."""

import random
import socket

_BELOW_EPHEMERAL = range(20_000, 32_000)
"""No outgoing connection takes a port from here, so that a server that was stopped gets its own port again."""

_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Give ports that nobody listens on and that this process has not given out before."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(_BELOW_EPHEMERAL)
        if port not in _given and _is_free(port):
            _given.add(port)
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
