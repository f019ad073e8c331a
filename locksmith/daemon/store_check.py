"""Whether the store went back in time, by what this machine has seen of it."""

import contextlib

from locksmith.errors import HostError
from locksmith.lock.admission import Watermark, read_order
from locksmith.lock.records import keys
from locksmith.lock.records.order import RESTORED, Order
from locksmith.store.protocol import Store


async def check(store: Store, group: str, mark: Watermark) -> str:
    """Compare the store with what this machine has seen of it, look for a `resume`, and give the verdict.

    The semaphore is read for what its last version says of the store's history.
    """
    resume, _ = await store.read([keys.resume_key(group), keys.semaphore_key(group)])
    order = read_order(resume.entry, RESTORED)
    with contextlib.suppress(HostError):  # the verdict stands, and a take says what is wrong with the disk
        mark.went_back(order.since if isinstance(order, Order) else None)
        mark.keep()
    return mark.verdict
