"""A group whose `max` follows a share of its machines: what whoever takes the lock makes of that."""

import logging

from locksmith import keys
from locksmith.errors import CorruptValueError
from locksmith.kv.store import ABSENT, Entry, Put, Store
from locksmith.semaphore import Semaphore
from locksmith.share import Share, decode, encode

log = logging.getLogger(__name__)


class Shares:
    """The share of one group. Errors are the store's."""

    def __init__(self, store: Store, group: str) -> None:
        self._store = store
        self.key = keys.share_key(group)
        self._nodes = keys.nodes_prefix(group)

    async def applied(self, now: Semaphore, entry: Entry | None) -> tuple[Semaphore, list[Put]]:
        """Give the semaphore as the share that stands in `entry` wants it, and what to write with that.

        It stays as it is without a share, with one that cannot be read, and after its number was changed by hand.
        """
        share = self._read(entry)
        if entry is None or share is None or share.is_void(now.max):
            return now, []
        slots = share.of(await self._present())
        if slots == now.max:
            return now, []
        return now.resize(slots), [Put(self.key, encode(share.replacing(now.max, slots)), entry.version)]

    async def begun(self, percent: str, before: int) -> tuple[int, Put]:
        """Give the number that a new share makes, and its record; `before` is the number that it replaces."""
        entry = (await self._store.get(self.key)).entry
        slots = Share(percent, ()).of(await self._present())
        # 0 or less is the original's way to stop everybody: that is nobody's share.
        wrote = tuple(dict.fromkeys(number for number in (before, slots) if number > 0))
        return slots, Put(self.key, encode(Share(percent, wrote)), entry.version if entry else ABSENT)

    async def end(self) -> None:
        """Remove the share, where there is one; `ConflictError`: it is being changed."""
        entry = (await self._store.get(self.key)).entry
        if entry is not None:
            await self._store.delete(self.key, entry.version)

    async def _present(self) -> int:
        return (await self._store.list(self._nodes, limit=1)).total

    def _read(self, entry: Entry | None) -> Share | None:
        try:
            return decode(entry.value, entry.key) if entry else None
        except CorruptValueError as error:
            log.warning("%s", error)
            return None
