"""The check whether the store went back in time, by this machine's watermark."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from locksmith.errors import HostError
from locksmith.lock.admission import Watermark, read_order
from locksmith.lock.records import keys
from locksmith.lock.records.order import RESTORED, Order
from locksmith.store.protocol import Reading, Store


class Sight(Protocol):
    """What learns from the same request (group_sight.py)."""

    def keys(self) -> Sequence[str]:
        """Name the keys to read in addition to the semaphore."""
        ...

    def note(self, read: Mapping[str, Reading]) -> None:
        """Take note of all of them."""
        ...


async def check(store: Store, group: str, mark: Watermark, sight: Sight | None = None) -> str:
    """Give the verdict on the store, by this machine's watermark and the last `resume`.

    The semaphore is read because its last version tells the store's history.
    """
    asked = [keys.resume_key(group), keys.semaphore_key(group), *(sight.keys() if sight else ())]
    read = dict(zip(asked, await store.read(asked), strict=True))
    if sight is not None:
        sight.note(read)
    order = read_order(read[keys.resume_key(group)].entry, RESTORED)
    with contextlib.suppress(HostError):  # the verdict stands, and a take says what is wrong with the disk
        mark.went_back(order.since if isinstance(order, Order) else None)
        mark.keep()
    return mark.verdict
