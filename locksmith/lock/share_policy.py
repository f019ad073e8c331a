"""A group whose `max` follows a share of its machines: what a take makes of that.

On etcd v2 the share is written before the semaphore, so it names both numbers until a take has seen the new one.
"""

import logging
from collections.abc import Awaitable
from dataclasses import replace

from locksmith.errors import CorruptValueError
from locksmith.lock.holder import HolderState
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.share import Share, decode, encode
from locksmith.store.protocol import ABSENT, Entry, Put, Reading, Store

log = logging.getLogger(__name__)


class Shares:
    """The share of one group. Errors are the store's."""

    def __init__(self, store: Store, group: str) -> None:
        self._store = store
        self.key = keys.share_key(group)
        self._semaphore = keys.semaphore_key(group)
        self._nodes = keys.nodes_prefix(group)

    async def read(self) -> Share | CorruptValueError | None:
        """Give the share, or why it cannot be read; None where there is none."""
        return _read(await self.entry())

    async def applied(
        self, holder_state: HolderState, entry: Entry | None, allowed: Awaitable[None]
    ) -> tuple[HolderState, list[Put]]:
        """Size the semaphore by the share in `entry`: give what a take starts from, and what to write with it.

        It stays as it is without a share, with one that cannot be read, and after its number was changed manually.
        Where it makes the difference between a free slot and none, the number is written at once, as soon as `allowed`
        has ended: so every take starts from a free slot, and who is denied knows that none of its own is on its way.
        """
        share, now = _readable(entry), holder_state.semaphore
        if entry is None or share is None or share.is_void(now.max):
            return holder_state, []
        slots = share.of(await self._present())
        if slots == now.max:
            return holder_state, [self._put(share.landed(), entry)] if share.has_landed(slots) else []
        sized, put = now.resize(slots), self._put(share.replacing(now.max, slots), entry)
        pending = share.is_pending(now.max)
        if min(now.available, sized.available) > 0 and not pending:
            return replace(holder_state, semaphore=sized), [put]
        await allowed
        if pending:
            holder_state = await self._write(holder_state, [])
        return await self._write(replace(holder_state, semaphore=sized), [put]), []

    async def begun(self, percent: str, before: int) -> tuple[int, Put]:
        """Give the number that a new share makes, and its record; `before` is the number that it replaces."""
        entry = await self.entry()
        slots = Share(percent, ()).of(await self._present())
        # 0 or less is how legacy nodes are stopped: that is not the number of a share.
        wrote = tuple(dict.fromkeys(number for number in (before, slots) if number > 0))
        return slots, Put(self.key, encode(Share(percent, wrote)), entry.version if entry else ABSENT)

    async def entry(self) -> Entry | None:
        """Read the share's entry, where there is one, also if it cannot be decoded."""
        return (await self._store.get(self.key)).entry

    async def end(self, entry: Entry) -> None:
        """Remove the share as it was read; `ConflictError`: it is being changed."""
        await self._store.delete(self.key, entry.version)

    async def _write(self, holder_state: HolderState, also: list[Put]) -> HolderState:
        """Write the semaphore; the same value once more keeps what others have sent from winning later."""
        value = semaphore.encode(holder_state.semaphore)
        entry = await self._store.swap(self._semaphore, value, holder_state.reading.version, also=also)
        return replace(holder_state, reading=Reading(entry, entry.version))

    async def _present(self) -> int:
        return await self._store.count(self._nodes)

    def _put(self, share: Share, over: Entry) -> Put:
        return Put(self.key, encode(share), over.version)


def _read(entry: Entry | None) -> Share | CorruptValueError | None:
    try:
        return decode(entry.value, entry.key) if entry else None
    except CorruptValueError as error:
        return error


def _readable(entry: Entry | None) -> Share | None:
    share = _read(entry)
    if isinstance(share, CorruptValueError):
        log.warning("%s", share)
        return None
    return share
