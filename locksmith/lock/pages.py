"""Reads as many keys as a fleet has, a page in a request: an answer of etcd's has a bound, and so has its memory.

All pages are of one revision. Where the store forgets that in between (compacted), reading starts again; after a few
times the pages are read as they are by then: nothing is decided by them.
"""

from locksmith.errors import PastGoneError
from locksmith.lock import places
from locksmith.store.protocol import Entry, Store

PAGE = 2000
"""Keys in one request: about a megabyte of presence."""
TRIES = 3
"""How often all is read from one revision, before it is read as it is."""


async def read_all(store: Store, prefix: str) -> tuple[Entry, ...]:
    """Read the keys that begin with `prefix` (it ends in `/`), in the order of their names."""
    for _ in range(TRIES):
        try:
            return await _read(store, prefix, pinned=True)
        except PastGoneError:
            continue
    return await _read(store, prefix, pinned=False)


async def _read(store: Store, prefix: str, *, pinned: bool) -> tuple[Entry, ...]:
    found: list[Entry] = []
    start, end, at = prefix, places.past(prefix), 0
    while True:
        page = await store.range(start, end, limit=PAGE, at=at)
        found += page.entries
        if len(page.entries) >= page.total:
            return tuple(found)
        start = page.entries[-1].key + "\0"
        at = page.revision if pinned and not at else at
