"""The check whether the store went back in time, by this machine's watermark."""

import contextlib

from locksmith.errors import HostError
from locksmith.lock.admission import Watermark, read_order
from locksmith.lock.records import keys
from locksmith.lock.records.order import RESTORED, Order
from locksmith.store.protocol import Store


async def check(store: Store, group: str, mark: Watermark) -> str:
    """Give the verdict on the store, by this machine's watermark and the last `resume`.

    The semaphore is read because its last version tells the store's history.
    """
    resume, _ = await store.read([keys.resume_key(group), keys.semaphore_key(group)])
    order = read_order(resume.entry, RESTORED)
    with contextlib.suppress(HostError):  # the verdict stands, and a take says what is wrong with the disk
        mark.went_back(order.since if isinstance(order, Order) else None)
        mark.keep()
    return mark.verdict
