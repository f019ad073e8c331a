"""The store on etcd's v3 API: each call is a request to its HTTP gateway, each swap is a transaction."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from locksmith.errors import (
    ConflictError,
    OutcomeUnknownError,
    PastGoneError,
    StoreError,
    StoreRefusedError,
)
from locksmith.store import etcd3_wire as wire
from locksmith.store.gateway import Gateway
from locksmith.store.grpc import Message
from locksmith.store.meter import Meter
from locksmith.store.protocol import (
    ABSENT,
    Also,
    Change,
    Delete,
    Entering,
    Entry,
    Fingerprint,
    Listing,
    NoObserver,
    Observer,
    Put,
    Reading,
    Until,
    any_change,
    knows_by_present,
)
from locksmith.store.settings import StoreSettings

if TYPE_CHECKING:
    from locksmith.store.feed import Hear

RANGE = "/v3/kv/range"
TXN = "/v3/kv/txn"
WATCH = "/v3/watch"
GRANT = "/v3/lease/grant"
KEEP_ALIVE = "/v3/lease/keepalive"
REVOKE = "/v3/lease/revoke"

PAGE = 2000
"""Keys in one request for all below a prefix: about a megabyte."""
KEPT_AT_ONCE = 16
"""Keep-alives in one request: at most 512 bytes. That much the gateway reads at once. When it has the first answer, it
drops what it has not read."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
"""Seconds before a watch is opened again: doubled each time, until a watch has lasted longer than the longest pause."""


class Etcd3Store:
    """The store on etcd v3. The first call connects. `UsageError`: the settings cannot be used.

    The header of each answer has a revision. In a watch and a keep-alive it is that of the member alone, which may lag
    (etcd's api/v3rpc/watch.go and lease.go). Elsewhere it is that of the quorum.
    """

    transactional = True

    def __init__(
        self,
        settings: StoreSettings,
        meter: Meter | None = None,
        observer: Observer = NoObserver(),  # noqa: B008 - it has no state
    ) -> None:
        self._gateway = Gateway(settings, observer, local=(WATCH, KEEP_ALIVE))
        self._meter = meter or Meter()

    async def get(self, key: str) -> Reading:
        """Read one key, linearizably."""
        return await self._gateway.call(RANGE, wire.one(key), wire.reading)

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys in one transaction that writes nothing: it is linearizable like any read."""
        return await self._gateway.call(TXN, wire.reads(keys), lambda message: wire.readings(message, len(keys)))

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Read the keys below a prefix, linearizably."""
        return await self._gateway.call(RANGE, wire.list_request(prefix, limit, last_before), wire.listing)

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys between two; linearizably if no revision is named."""
        try:
            return await self._gateway.call(RANGE, wire.range_request(start, end, limit, at), wire.in_order)
        except StoreRefusedError as error:
            if wire.COMPACTED in str(error) or wire.FUTURE in str(error):
                raise PastGoneError(f"the store no longer has its revision {at}: {error}") from None
            raise

    async def count(self, prefix: str) -> int:
        """Count the keys below a prefix; etcd reads no value for it."""
        return await self._gateway.call(RANGE, wire.count_request(prefix), wire.counted)

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders below a prefix: one request for each, however many keys are in it."""
        names: list[str] = []
        start = prefix
        while True:
            key = await self._gateway.call(RANGE, wire.first_key(start, prefix), wire.key_or_none)
            if key is None:
                return tuple(names)
            name, slash, _ = key.removeprefix(prefix).partition("/")
            names += [name] if slash else []
            start = wire.behind(f"{prefix}{name}/") if slash else wire.next_key(key)

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist; its time to live is rounded up to whole seconds."""
        if ttl is None:
            return await self._put(Put(key, value, ABSENT))
        async with self._new_lease(ttl) as (lease, _):
            return await self._put(Put(key, value, ABSENT), lease=lease)

    async def lend(self, ttl: float) -> int:
        """Grant a lease for a note."""
        return (await self._lease(ttl))[0]

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Write both under a new lease. The quorum has reached the revision in the grant of the lease."""
        async with self._new_lease(ttl) as (lease, revision):
            entering = make(revision)
            changes: list[Also] = [entering.place, entering.ticket, entering.gone]
            between = wire.range_request(entering.since, entering.place.key, 0, 0) | {"count_only": True}
            fields = wire.transaction(changes, lease, leased=2, counting=between)
            done, ahead = await self._gateway.call(
                TXN, fields, lambda message: wire.entered(message, changes), write=True
            )
        place, ticket = (
            Entry(put.key, put.value, done.revision, done.revision, lease) for put in (entering.place, entering.ticket)
        )
        return place, ticket, ahead

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Bind both to a new lease; the old lease has no key left, and expires."""
        changes = [Put(entry.key, value, entry.version), Put(other.key, other.value, other.version)]
        lease, _ = await self._lease(ttl)
        fields = wire.transaction(changes, lease, leased=2)
        done = await self._gateway.call(TXN, fields, lambda message: wire.committed(message, changes), write=True)
        written = replace(entry, value=value, version=done.revision, lease=lease)
        return written, replace(other, version=done.revision, lease=lease)

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings in one transaction; a key that had a time to live loses it."""
        lease = 0 if ttl is None else (await self._lease(ttl))[0]
        return await self._put(Put(key, value, version), also, lease=lease)

    async def delete(self, key: str, version: int) -> None:
        """Remove a key that still has this version."""
        await self._commit([Delete(key, version)])

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Bind the key to a new lease; the old lease has no key left, and expires."""
        lease, _ = await self._lease(ttl)
        return await self._put(Put(entry.key, value, entry.version), lease=lease)

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Bind the key to a new lease, then end the old lease, which has no key left."""
        written = await self.update(entry, value, ttl)
        await self.revoke(entry)
        return written

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong an entry by the time to live of its lease: `ttl` changes nothing."""
        del ttl
        if not await self._gateway.call(KEEP_ALIVE, {"ID": str(entry.lease)}, wire.seconds_left):
            raise ConflictError(f"{entry.key} has expired or was revoked")

    async def revoke(self, entry: Entry) -> None:
        """End the lease, and the key with it."""
        await self._end(entry.lease)

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Compare with the key at that revision, or as it is now, if that revision was compacted."""
        try:
            past = await self._gateway.call(RANGE, wire.one_at(seen.key, seen.version), wire.reading)
        except StoreRefusedError as error:
            if wire.FUTURE in str(error):
                return False
            if wire.COMPACTED not in str(error):
                raise
            return knows_by_present(seen, (await self.get(seen.key)).entry)
        return past.entry is not None and Fingerprint.of(past.entry) == seen

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Watch a key or a prefix from the revision after `after`."""
        request = wire.watch_request(wire.below(key) if prefix else wire.one(key), after, before=not prefix)
        try:
            async with asyncio.timeout(limit):
                return await self._watch(request, wire.Changes(after, None if prefix else key, until), limit)
        except TimeoutError:
            return None

    async def whole(self, prefix: str) -> Listing:
        """Read all keys below a prefix, in pages of one revision."""
        found: list[Entry] = []
        start, end, at = prefix, wire.behind(prefix), 0
        while True:
            page = await self.range(start, end, limit=PAGE, at=at)
            at = at or page.revision
            found += page.entries
            if len(page.entries) >= page.total:
                return Listing(tuple(found), at, len(found))
            start = wire.next_key(page.entries[-1].key)

    async def feed(self, prefix: str, after: int, hear: "Hear", *, limit: float) -> None:
        """Watch a prefix once: after a break the caller asks how the store stands, and opens the next."""
        from locksmith.store.etcd3_feed import Messages  # noqa: PLC0415 - only a server follows a prefix

        request, picked = wire.watch_request(wire.below(prefix), after), Messages(hear)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                if await self._gateway.follow(WATCH, request, picked, silence=limit):
                    raise PastGoneError(f"the store no longer has its revision {after + 1}")

    async def bind(self, puts: Sequence[Put], lease: int) -> None:
        """Write keys, and bind them to one lease."""
        fields = wire.transaction(puts, lease, leased=len(puts))
        await self._gateway.call(TXN, fields, lambda message: wire.committed(message, puts), write=True)

    async def renew_many(self, entries: Sequence[Entry], ttl: float) -> Sequence[Entry]:
        """Send `KEPT_AT_ONCE` keep-alives in one request, and again those that were not answered: each answers one."""
        del ttl
        left: dict[int, int] = {}
        while unanswered := [entry.lease for entry in entries if entry.lease not in left]:
            leases = dict.fromkeys(unanswered[:KEPT_AT_ONCE])
            messages = [{"ID": str(lease)} for lease in leases]
            left |= await self._gateway.call_each(KEEP_ALIVE, messages, partial(wire.kept_alive, leases=leases))
        return [entry for entry in entries if not left[entry.lease]]

    async def close(self) -> None:
        """End every call under way."""
        await self._gateway.close()

    async def _watch(self, request: Message, changes: wire.Changes, limit: float) -> Change:
        """Watch until there is something to tell."""
        clock = asyncio.get_running_loop().time
        pause = FIRST_PAUSE
        while True:
            opened = clock()
            if (change := await self._gateway.follow(WATCH, request, changes, silence=limit + 1)) is not None:
                return change
            if clock() - opened > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            self._meter.watch_restarted()
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _lease(self, ttl: float) -> tuple[int, int]:
        """Get a lease, and the store's revision. A lease without a key expires, so the request may be repeated."""
        return await self._gateway.call(GRANT, {"TTL": str(math.ceil(ttl))}, wire.granted)

    @asynccontextmanager
    async def _new_lease(self, ttl: float) -> AsyncIterator[tuple[int, int]]:
        """Give a lease for a new key. If the outcome of the key's write is unknown, the lease is ended at once.

        Without its lease the write fails. If it arrived late, it would leave a key that no machine keeps or removes.
        """
        lease, revision = await self._lease(ttl)
        try:
            yield lease, revision
        except OutcomeUnknownError:
            with suppress(StoreError):
                await self._end(lease, anywhere=True)
            raise

    async def _end(self, lease: int, *, anywhere: bool = False) -> None:
        """End a lease; `anywhere`: after a lost answer also through the other endpoints."""
        try:
            await self._gateway.call(REVOKE, {"ID": str(lease)}, wire.ignored, write=not anywhere)
        except StoreRefusedError as error:
            if wire.NO_LEASE not in str(error):
                raise

    async def _put(self, put: Put, also: Sequence[Also] = (), *, lease: int = 0) -> Entry:
        done = await self._commit([put, *also], lease)
        return Entry(put.key, put.value, done.revision, done.created, lease)

    async def _commit(self, changes: Sequence[Also], lease: int = 0) -> wire.Committed:
        fields = wire.transaction(changes, lease)
        return await self._gateway.call(TXN, fields, lambda message: wire.committed(message, changes), write=True)
