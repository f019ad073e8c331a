"""Reads and writes of as many keys as a fleet has: etcd allows 128 operations in a transaction, unless told otherwise.

`Store.read` gives its keys as they are at one moment, and so few of them. What grows with the number of slots is read
in several requests, between which anything may happen. So each such read names a guard: a key whose version was read
before. What was read belongs together only where the guard still has that version after the last request; and what
follows from the reading takes effect only in a swap from that version. For the holders of slots the guard is the
semaphore: each write that changes a holder's record writes the semaphore too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from locksmith.errors import ConflictError
from locksmith.store.protocol import Reading, Store

READS = 100
"""Keys in one request; the guard comes on top of the last."""
WRITES = 50
"""Siblings in one swap. On v2 they are written one after another, all of them within one deadline of the store."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A key, and the version that it had before what it guards was read."""

    key: str
    version: int


async def read_in_chunks(store: Store, keys: Sequence[str], guard: Guard) -> list[Reading]:
    """Read any number of keys; `ConflictError`: the guard was written meanwhile, so they do not belong together."""
    readings: list[Reading] = []
    starts = range(0, max(1, len(keys)), READS)
    for start in starts:
        chunk = keys[start : start + READS]
        last = [guard.key] if start == starts[-1] else []
        readings += await store.read([*chunk, *last])
    if readings.pop().version != guard.version:
        raise ConflictError(f"{guard.key} was written while what it guards was read")
    return readings
