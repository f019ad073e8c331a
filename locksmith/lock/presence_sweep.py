"""Removes the presence of machines that are gone, where no lease ends it: after a keyspace was copied.

A copy (`etcdctl make-mirror`) has every key, and no lease. A machine that is there finds its own record so, and writes
it again. The records of machines that are gone would stand for ever, and count as present.
"""

import logging
from contextlib import suppress
from random import Random

from locksmith.errors import ConflictError, CorruptValueError
from locksmith.lock.pages import read_all
from locksmith.lock.records import keys, semaphore
from locksmith.store.protocol import Store, remove

log = logging.getLogger(__name__)

SWEEPERS = 20
"""How many machines of a group sweep, about: all find their record without a lease, and a list of all is large."""


async def sweep(store: Store, group: str, rng: Random) -> None:
    """Remove every record without a lease, unless its machine holds a slot. One that is there writes its own again.

    Whether a machine that holds a slot is gone, the next that takes one tells (`admission.py`). Errors are the store's.
    """
    prefix = keys.nodes_prefix(group)
    if rng.random() * await store.count(prefix) > SWEEPERS:
        return
    reading = await store.get(keys.semaphore_key(group))
    try:
        held = semaphore.decode(reading.entry.value, reading.entry.key).holders if reading.entry else ()
    except CorruptValueError:
        return
    kept = {keys.node_key(group, holder) for holder in held}
    left = [entry for entry in await read_all(store, prefix) if not entry.lease and entry.key not in kept]
    for entry in left:
        with suppress(ConflictError):
            await remove(store, entry)
    if left:
        log.info("removed the presence of %d machines that had no lease: the keyspace was copied", len(left))
