"""What one server writes itself, told at once to its own calls that wait for it; what others write, etcd's watch tells.

A call that waits for a slot, or for its turn, waits for a few milliseconds where many clients come and go. A watch of
etcd takes longer to open than that, and costs a connection. So it is opened only after `ALONE` seconds, and loses
nothing by that: it begins at the revision after which the call waits. What was written before that revision is no news.

News are what the store has confirmed. Each caller starts from them with a guarded write, as from those of a watch.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from locksmith.store.protocol import Also, Change, Delete, Entry, Reading, Store, Until, any_change

ALONE = 0.05
"""Seconds for which a call waits for news of its own server alone."""
REMEMBERED = 1000
"""Keys whose last news are kept, for calls that have read them, and begin to wait a moment later."""


@dataclass(eq=False)
class _Listener:
    """One call that waits for a change of a key after a revision."""

    after: int
    until: Until
    heard: "asyncio.Future[Change]"

    def hear(self, change: Change, revision: int | None) -> None:
        """Take a change, if the call waits for it; a removal without a revision came after all that was read."""
        new = revision is None or revision > self.after
        if new and not self.heard.done() and (change.reading is None or self.until(change)):
            self.heard.set_result(change)


class OwnNews(ObservedStore):
    """`Store`, whose own swaps and removals end the waits for them. On v2 a version does not tell what is news."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, Meter())
        self._listeners: dict[str, list[_Listener]] = {}
        self._last: OrderedDict[str, tuple[Change, int]] = OrderedDict()

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings."""
        entry = await super().swap(key, value, version, also, ttl=ttl)
        if self.transactional:
            self._tell(key, Change(Reading(entry, entry.version)), entry.version)
            for one in also:
                if isinstance(one, Delete):
                    self._tell(one.key, Change(removed=True), entry.version)
        return entry

    async def delete(self, key: str, version: int) -> None:
        """Remove a key."""
        await super().delete(key, version)
        self._tell(key, Change(removed=True))

    async def revoke(self, entry: Entry) -> None:
        """Remove an entry that expires."""
        await super().revoke(entry)
        self._tell(entry.key, Change(removed=True))

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait for a change."""
        if prefix or not self.transactional:
            return await super().wait(key, after, prefix=prefix, limit=limit, until=until)
        listener = _Listener(after, until, asyncio.get_running_loop().create_future())
        if key in self._last:
            listener.hear(*self._last[key])
        others = self._listeners.setdefault(key, [])
        others.append(listener)
        try:
            return await self._first(
                listener.heard, limit, lambda left: self._store.wait(key, after, limit=left, until=until)
            )
        finally:
            others.remove(listener)
            if not others:
                self._listeners.pop(key, None)

    async def _first(
        self, heard: "asyncio.Future[Change]", limit: float, watch: Callable[[float], Awaitable[Change | None]]
    ) -> Change | None:
        """Give what was heard; after a while what the watch tells, if that is first; None: neither came in time."""
        if not heard.done():
            await asyncio.wait([heard], timeout=min(ALONE, limit))
        if heard.done() or limit <= ALONE:
            return heard.result() if heard.done() else None
        watching = asyncio.ensure_future(watch(limit - ALONE))
        waits: list[asyncio.Future[Any]] = [heard, watching]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else watching.result()
        finally:
            watching.cancel()

    def _tell(self, key: str, change: Change, revision: int | None = None) -> None:
        if revision is not None:
            self._last[key] = (change, revision)
            self._last.move_to_end(key)
            if len(self._last) > REMEMBERED:
                self._last.popitem(last=False)
        for listener in self._listeners.get(key, ()):
            listener.hear(change, revision)
