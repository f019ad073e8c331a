"""The connections of a port that any machine may reach: who has them, how far they are, and which one to end. Pure."""

import enum
import ipaddress
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER for a reset: so the kernel keeps nothing for a client that never takes its end."""
NO_RESET: Final = struct.pack("ii", 0, 0)


class Stage(enum.IntEnum):
    """The progress of a connection. It has `ASKED` if its request is whole, and its client takes the answer."""

    SILENT = 0
    SPEAKS = 1
    ASKED = 2


@dataclass(slots=True, eq=False)
class Visit:
    """An open connection, its client, and its progress."""

    client: str
    stage: Stage = Stage.SILENT

    def hear(self) -> None:
        """Note that the client has sent bytes."""
        if self.stage is Stage.SILENT:
            self.stage = Stage.SPEAKS


V = TypeVar("V", bound=Visit)


def dispensable(visits: Sequence[V]) -> V:
    """Choose the connection to end: of the client with the most, the least advanced; of those, the oldest.

    So a client with a single connection keeps it while another client has more.
    """
    crowd = Counter(visit.client for visit in visits)
    return min(visits, key=lambda visit: (-crowd[visit.client], visit.stage))  # the first of equals, so the oldest


def origin(address: Any) -> str:
    """Name a client: this machine's loopback is one client, and so is a /64 of IPv6."""
    ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return "this machine"
    if ip.version == 6:  # noqa: PLR2004 - IPv6
        return str(ipaddress.ip_network(f"{ip}/64", strict=False))
    return str(ip)
