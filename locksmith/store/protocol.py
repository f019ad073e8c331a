"""The protocol every store speaks, and the values that cross it.

Keys are plain text without a leading slash (`coreos.com/updateengine/rebootlock/semaphore`); a store takes each
character of a key literally, `%`, `+` and spaces included, whatever its API does with URLs.

Above 300 lines, in one piece: half of them say what each call promises, in words of the values that stand before it.

Errors, of every call: `StoreUnavailableError` (nothing was written), `StoreRefusedError`; of writes besides:
`ConflictError` (nothing was written) and `OutcomeUnknownError` (it may be applied now, later or never).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, Self

from locksmith.store.cluster import Clusters

ABSENT = 0
"""The version of a key that does not exist; as a guard: it must not exist."""
MOST_OPERATIONS = 128
"""Keys in one `read`, or in one `swap` with its siblings: etcd's default (--max-txn-ops). More are refused on v3."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key that exists.

    `version` changes with every write of the key (v3: mod_revision, v2: modifiedIndex); `created` orders siblings
    (v3: create_revision, v2: createdIndex); `lease` is the store's own handle on its expiry (0: it never expires).
    """

    key: str
    value: bytes
    version: int
    created: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a key held (None: it does not exist) and the store's revision at that moment."""

    entry: Entry | None
    revision: int

    @property
    def version(self) -> int:
        """The version to guard a write of this key with."""
        return self.entry.version if self.entry else ABSENT


@dataclass(frozen=True, slots=True)
class Listing:
    """Entries in order of their creation, the store's revision at that moment, and how many keys there are in all.

    `total` counts every key below the prefix, whatever bounds the entries.
    """

    entries: tuple[Entry, ...]
    revision: int
    total: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far a store had come when it answered: its revision, and the id of its cluster (cluster.py)."""

    revision: int
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is remembered of an entry: `version` of `key` had a value with this `digest`."""

    key: str
    version: int
    digest: str

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Take the fingerprint of an entry."""
        return cls(entry.key, entry.version, sha256(entry.value).hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of a store when a request left: its revision, and the entry of the lock.

    Both belong to one history; an `epoch` ends when another one is to be believed.
    """

    revision: int
    entry: Fingerprint | None = None
    epoch: int = 0


class Observer(Protocol):
    """Hears how far the store had come, from every answer that says so, and knows which cluster counts."""

    @property
    def clusters(self) -> Clusters | None:
        """Say which cluster counts; None: the first that answers."""
        ...

    def sending(self) -> Known:
        """Say what is known, right before a request leaves."""
        ...

    def answered(self, position: Position, known: Known, *, linearizable: bool = True) -> None:
        """Take note of an answer, with what was known when its request left.

        An answer that is not `linearizable` may come from a member that lags: it proves progress alone.
        """
        ...


class NoObserver:
    """Hears nothing."""

    clusters: Clusters | None = None

    def sending(self) -> Known:
        """Know nothing."""
        return Known(0)

    def answered(self, position: Position, known: Known, *, linearizable: bool = True) -> None:
        """Drop it."""


class Expecting(NoObserver):
    """Hears nothing, and expects one cluster, as `cluster` says when it is asked; empty: the first that answers."""

    def __init__(self, cluster: Callable[[], str]) -> None:
        self.clusters = Clusters(strict=False, expects=cluster)


@dataclass(frozen=True, slots=True)
class Put:
    """A write of a sibling key that goes with a swap, guarded by the version it must have (0: absent)."""

    key: str
    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Delete:
    """A removal of a sibling key that goes with a swap, guarded by the version it must have."""

    key: str
    version: int


@dataclass(frozen=True, slots=True)
class Check:
    """A guard that goes with a swap and writes nothing: the `version` that a key must have (`ABSENT`: none).

    `version` None: the key must exist. On v3 and memory the swap fails where that is not so; v2 does not look.
    """

    key: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Note:
    """A record of what a swap does, under a new key without a guard, which expires after `ttl` seconds.

    `lease` is what `Store.lend` has given for it. On v2 it is written after the swap, and lost where that fails.
    """

    key: str
    value: bytes
    ttl: float
    lease: int


Also = Put | Delete | Check | Note
"""What goes with a swap."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a wait was told of a key that was written.

    `reading` is how the key stood then; None: that was not told, so read it. `before` is the entry that stood there
    until the first of the changes, where that was told too. `removed`: it was told that the key was removed.
    """

    reading: Reading | None = None
    before: Entry | None = None
    removed: bool = False


Until = Callable[[Change], bool]
"""Whether a change is what is waited for."""


def any_change(_change: Change) -> bool:
    """Wait for the next change."""
    return True


@dataclass(frozen=True, slots=True)
class Entering:
    """What is written to enter a queue: a place and its ticket, neither of which may exist; they expire together.

    `gone` is removed with it, or must not exist. From `since` on the keys before the place are counted.
    """

    place: Put
    ticket: Put
    gone: Delete | Check
    since: str


class Store(Protocol):
    """A linearizable key-value store. Every call ends within the store's own deadline."""

    @property
    def transactional(self) -> bool:
        """Whether a swap and its siblings are one transaction, so that what it writes has one version: not on v2."""
        ...

    async def get(self, key: str) -> Reading:
        """Read one key, linearizably."""
        ...

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys, linearizably: on v3 and memory as they are at one moment, on v2 one after another.

        That is in one request, or in the order that was asked for. At most `MOST_OPERATIONS` keys, else
        `StoreRefusedError` on v3 and memory: what grows with the fleet is read by `locksmith.lock.chunks`.
        """
        ...

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Read the keys that begin with `prefix` (it ends in `/`), oldest creation first.

        `limit` bounds how many (0: all). With `last_before`, only those created before that revision count, and
        the `limit` youngest of them are given, still oldest first.
        """
        ...

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys from `start` on, before `end`, in the order of their names; both are below one folder.

        `limit` bounds how many, from the first on (0: all), and `total` counts all between the two. With `at`, as they
        were at that revision (else `PastGoneError`); v2 reads them as they are. On v3 the cost grows with the keys
        between the two, not with those around them.
        """
        ...

    async def count(self, prefix: str) -> int:
        """Count the keys that begin with `prefix` (it ends in `/`); on v3 far cheaper than a list of any length."""
        ...

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below `prefix` (it ends in `/`), in order; keys right below it are none."""
        ...

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist (else `ConflictError`); with `ttl` (seconds) it expires unless renewed."""
        ...

    async def lend(self, ttl: float) -> int:
        """Get the lease of a `Note` that is to expire after `ttl` seconds; 0 where notes need none (v2).

        It may be used for each attempt at one swap. A lease that no note came to be bound to ends after `ttl`.
        """
        ...

    async def enter(self, make: Callable[[int], Entering], *, ttl: float) -> tuple[Entry, Entry, int]:
        """Write what is to be written where the store's revision is the one that `make` is told, or a later one.

        Gives the place, its ticket, and how many keys there are from `since` on before the place. On v3 and memory one
        transaction, or `ConflictError`. On v2, in this order: the ticket, which never expires, the place, the removal.
        """
        ...

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Write a new value over a place that was entered; from now on it and its ticket, `other`, expire after `ttl`.

        Either may have lost its lease. `ConflictError`: they are no longer so. On v2 the ticket stays as it is.
        """
        ...

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write `key` if it still has `version`, and its siblings with it; with `ttl` (seconds) the key expires.

        One transaction on v3 and memory: all guards hold and everything is written, or `ConflictError` and nothing
        is. With its siblings it has at most `MOST_OPERATIONS` keys, else `StoreRefusedError`. On v2, in this order: the
        puts, the swap, the deletes, each with its own guard; a put that fails stops it; when the swap fails the puts
        stay (the caller's protocol makes them harmless); a delete whose guard fails is left; a check is not made; notes
        come last. `StoreRefusedError` with a note: its lease may be gone, or the right to write its key may be missing.
        """
        ...

    async def delete(self, key: str, version: int) -> None:
        """Remove a key that still has `version` (else `ConflictError`)."""
        ...

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over an entry made with a `ttl`, which begins anew; `ConflictError`: it is no longer so.

        On v2 the entry's version stays as it is: there it tells a key from the next of its name, not from its values.
        """
        ...

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write over another's entry, who hears of it when it next renews or updates that.

        An entry without a lease gets one. `ConflictError`: it is no longer so. The key is there all the time, except on
        v2: removed, then made anew.
        """
        ...

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong an entry by the `ttl` it was made with: one request, no revision, and nobody is woken.

        `ConflictError`: it has expired or was revoked.
        """
        ...

    async def revoke(self, entry: Entry) -> None:
        """Remove an entry made with a `ttl`, and what made it expire; one that is gone already is no error.

        That is how such an entry is removed: after `delete` alone, v3 could not tell in one request that it is gone.
        """
        ...

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether this very entry is part of the store's history.

        False: the store has another history. None: the store can no longer tell (compacted, or the key has changed
        since and the store keeps no past values).
        """
        ...

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait until `key` (or anything below it, with `prefix`) is written or removed after revision `after`.

        A change without a reading: it was removed, or the store can no longer tell (compacted, restored from a backup),
        or does not say how it stands (v2). What is told is a member's own word: a swap from it is guarded as any other.
        A change with a reading is given only where `until` says so of it; until then the same watch goes on.
        None: `limit` seconds went by. A frozen member is silent like an unchanged key: only the limit tells.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection; calls under way end."""
        ...


async def remove(store: Store, entry: Entry) -> None:
    """Remove an entry as it stands, with or without a lease; `ConflictError`: it was changed meanwhile."""
    if entry.lease:
        await store.revoke(entry)
    else:
        await store.delete(entry.key, entry.version)


def knows_by_present(seen: Fingerprint, now: Entry | None, *, rewritten: bool = False) -> bool | None:
    """Answer `Store.knows` from how the key stands now, where the past can no longer be read.

    A version never goes back while a history goes on. `rewritten`: the store may write a new value at the same version.
    """
    if now is None or now.version > seen.version:
        return None
    if now.version < seen.version:
        return False
    return None if rewritten else Fingerprint.of(now) == seen
