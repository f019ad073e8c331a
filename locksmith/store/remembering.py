"""A store whose answers are compared with earlier answers: a store never goes back in time.

Two things are compared. A linearizable answer never has a lower revision than was known before its request. And the
lock's entry that this machine saw before must be part of the store's history. So a restored store is detected, also
after its revision has passed all revisions that this machine has seen.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from locksmith.errors import StoreError
from locksmith.store.protocol import (
    ABSENT,
    Also,
    Change,
    Entering,
    Entry,
    Fingerprint,
    Known,
    Listing,
    Observer,
    Reading,
    Store,
    Until,
    any_change,
)


class Memory(Observer, Protocol):
    """What a machine remembers of a store (host/watermark.py keeps it on disk)."""

    def asking(self, *, slot: bool = True) -> None:
        """Be told that the lock's key is about to be written, or only a place in its queue. An error forbids that."""
        ...

    def followed(self, entry: Entry | None, known: Known, *, part: bool | None) -> None:
        """Note the present entry of the lock's key.

        `part`: whether the entry known before the request is part of the store's history. None: the store cannot tell
        any more, or no entry was known.
        """
        ...


class RememberingStore:
    """`Store`, whose answers about one `key` are compared with earlier answers.

    If the key has changed, a read first asks the store for the earlier entry, and then gives its answer.
    """

    def __init__(self, store: Store, memory: Memory, key: str) -> None:
        self._store = store
        self._memory = memory
        self._key = key

    @property
    def transactional(self) -> bool:
        """Whether a swap and its siblings are one transaction."""
        return self._store.transactional

    async def get(self, key: str) -> Reading:
        """Read one key."""
        [reading] = await self._read([key], lambda: self._get(key))
        return reading

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys."""
        return await self._read(keys, lambda: self._store.read(keys))

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Read the keys below a prefix."""
        return await self._store.list(prefix, limit=limit, last_before=last_before)

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys between two."""
        return await self._store.range(start, end, limit=limit, at=at)

    async def count(self, prefix: str) -> int:
        """Count the keys below a prefix."""
        return await self._store.count(prefix)

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below a prefix."""
        return await self._store.folders(prefix)

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist."""
        return await self._store.create(key, value, ttl=ttl)

    async def lend(self, ttl: float) -> int:
        """Get the lease of a note."""
        return await self._store.lend(ttl)

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Write a place and its ticket."""
        self._memory.asking(slot=False)
        return await self._store.enter(make, ttl=ttl)

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Write a new value over an entry that expires with another."""
        return await self._store.rejoin(entry, value, other, ttl=ttl)

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings. The write is done, also if the question after it fails."""
        if key == self._key:
            self._memory.asking()
        known = self._memory.sending()
        entry = await self._store.swap(key, value, version, also, ttl=ttl)
        if key == self._key:
            with suppress(StoreError):
                await self._compare(entry, known, succeeds=version)
        return entry

    async def delete(self, key: str, version: int) -> None:
        """Remove a key."""
        await self._store.delete(key, version)

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over an entry that expires."""
        return await self._store.update(entry, value, ttl)

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write over another's entry that expires."""
        return await self._store.replace(entry, value, ttl)

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong an entry."""
        await self._store.renew(entry, ttl)

    async def revoke(self, entry: Entry) -> None:
        """Remove an entry that expires."""
        await self._store.revoke(entry)

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether an entry is part of the store's history."""
        return await self._store.knows(seen)

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait for a change. A change of the lock's key with a reading is compared too."""
        change = await self._store.wait(key, after, prefix=prefix, limit=limit, until=until)
        if change is not None and change.reading is not None and key == self._key:
            await self._heard(change.reading.entry, change.before)
        return change

    async def close(self) -> None:
        """Let go of every connection."""
        await self._store.close()

    async def _heard(self, now: Entry | None, before: Entry | None) -> None:
        """Compare a change of a watch. A change that is older than what is known says nothing."""
        known = self._memory.sending()
        seen = known.entry
        if seen is not None and now is not None and seen.key == now.key and now.version <= seen.version:
            return
        if seen is not None and before is not None and Fingerprint.of(before) == seen:
            self._memory.followed(now, known, part=True)
        else:
            await self._compare(now, known)

    async def _get(self, key: str) -> Sequence[Reading]:
        return [await self._store.get(key)]

    async def _read(self, keys: Sequence[str], call: Callable[[], Awaitable[Sequence[Reading]]]) -> Sequence[Reading]:
        known = self._memory.sending()
        readings = await call()
        for key, reading in zip(keys, readings, strict=True):
            if key == self._key:
                await self._compare(reading.entry, known)
        return readings

    async def _compare(self, now: Entry | None, known: Known, succeeds: int = ABSENT) -> None:
        """Tell the memory the key's present entry. `succeeds`: the version that it replaced."""
        before = known.entry
        part: bool | None
        if before is None:
            part = None
        elif now is not None and now.key == before.key and now.version <= before.version:
            part = Fingerprint.of(now) == before
        elif now is not None and now.key == before.key and succeeds == before.version:
            part = True
        else:
            part = await self._store.knows(before)
        self._memory.followed(now, known, part=part)
