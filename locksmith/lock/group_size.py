"""How many machines a group has, counted so seldom that it costs etcd nothing: etcd walks over each key it counts."""

import asyncio
from random import Random

from locksmith.errors import StoreError
from locksmith.lock import arrival
from locksmith.lock.records import keys
from locksmith.store.protocol import Store

FIRST_WITHIN = 600.0
"""Seconds after its start within which a daemon counts for the first time: not when all others start too."""
AGAIN_AFTER = 6 * 3600.0
"""Seconds between two counts, at most; at least half of that."""


class GroupSize:
    """The number of machines present in a group. A count that fails leaves what was known."""

    def __init__(self, store: Store, group: str, rng: Random) -> None:
        self._store = store
        self._prefix = keys.nodes_prefix(group)
        self._rng = rng
        self._next: float | None = None
        self.machines = 0
        """How many there were at the last count; 0: that is not known."""

    def spread(self) -> float:
        """Say over how many seconds the group spreads what all its machines want at one moment."""
        return arrival.spread(self.machines)

    async def count_in_time(self) -> None:
        """Count, where it is time."""
        now = asyncio.get_running_loop().time()
        if self._next is None:
            self._next = now + self._rng.uniform(0, FIRST_WITHIN)
        if now < self._next:
            return
        self._next = now + self._rng.uniform(FIRST_WITHIN / 2, FIRST_WITHIN)
        try:
            self.machines = await self._store.count(self._prefix)
        except StoreError:
            return
        self._next = now + self._rng.uniform(AGAIN_AFTER / 2, AGAIN_AFTER)
