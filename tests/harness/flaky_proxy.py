"""Ways on which connections are slow and break off, as a seed draws it.

The draws are the seed's; which piece of which connection they meet is up to the machine, so a seed is a kind of fault
and not a replay.
"""

import itertools
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from urllib.parse import urlsplit

from tests.harness import dead_endpoints

LIMIT = 10.0


@dataclass(frozen=True)
class Faults:
    """How likely a piece of what is sent is to be delayed, for `delay` seconds at most, or to be the end of it all."""

    delayed: float
    delay: float
    cut: float


class FlakyProxy:
    """The ways of one kind of fault, until it is `calm`. `cuts` and `delays` count."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._seed = seed
        self._connections = itertools.count()
        self._calm = threading.Event()
        self.cuts = 0
        self.delays = 0

    def calm_down(self) -> None:
        """Do no harm any more."""
        self._calm.set()

    @contextmanager
    def way(self, upstream: str) -> Iterator[str]:
        """Open a way to `upstream`; gives its URL."""
        with dead_endpoints.endpoint(partial(self._carry, upstream)) as url:
            try:
                yield url
            finally:
                self.calm_down()

    def _carry(self, upstream: str, client: socket.socket) -> None:
        """Carry what is sent both ways. A piece that was delayed arrives, also where its sender is gone by then."""
        rng = Random(f"{self._seed} {next(self._connections)}")
        at = urlsplit(upstream)
        with socket.create_connection((at.hostname, at.port), LIMIT) as server:
            other = {client: server, server: client}
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    piece = ready.recv(65536)
                    if not piece or self._harmed(rng):
                        return
                    other[ready].sendall(piece)

    def _harmed(self, rng: Random) -> bool:
        """Delay a piece; True: this is the end of its connection."""
        if self._calm.is_set():
            return False
        if rng.random() < self._faults.cut:
            self.cuts += 1
            return True
        if rng.random() < self._faults.delayed:
            self.delays += 1
            self._calm.wait(rng.uniform(0, self._faults.delay))
        return False
