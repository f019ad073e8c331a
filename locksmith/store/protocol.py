"""The protocol of every store, and its values.

Keys are plain text without a leading slash (`coreos.com/updateengine/rebootlock/semaphore`). A store takes each
character of a key literally, also `%`, `+` and spaces.

Above 300 lines, in one piece: half of them say what each call promises, in words of the values that stand before it.

Errors, of every call: `StoreUnavailableError` (nothing was written), `StoreRefusedError`; of writes also:
`ConflictError` (nothing was written) and `OutcomeUnknownError` (it may be applied now, later or never).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, Self

from locksmith.store.cluster import Clusters

ABSENT = 0
"""The version of a key that does not exist; as a guard: the key must not exist."""
MOST_OPERATIONS = 128
"""Keys in one `read`, or in one `swap` with its siblings: etcd's default (--max-txn-ops). v3 refuses more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key that exists.

    `version` changes with every write of the key (v3: mod_revision, v2: modifiedIndex); `created` orders siblings (v3:
    create_revision, v2: createdIndex); `lease` is the store's handle on its expiry (0: it never expires).
    """

    key: str
    value: bytes
    version: int
    created: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """The entry of a key (None: it does not exist), and the store's revision at that moment."""

    entry: Entry | None
    revision: int

    @property
    def version(self) -> int:
        """The version that guards a write of this key."""
        return self.entry.version if self.entry else ABSENT


@dataclass(frozen=True, slots=True)
class Listing:
    """Entries in order of their creation, the store's revision at that moment, and how many keys there are in all.

    `total` counts every key below the prefix, also those that a bound left out.
    """

    entries: tuple[Entry, ...]
    revision: int
    total: int


@dataclass(frozen=True, slots=True)
class Position:
    """The revision of a store when it answered, and the id of its cluster (cluster.py)."""

    revision: int
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A remembered entry: at `version` the value of `key` had this `digest`."""

    key: str
    version: int
    digest: str

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Give the fingerprint of an entry."""
        return cls(entry.key, entry.version, sha256(entry.value).hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of a store before a request: its revision, and the entry of the lock.

    Both belong to one history; an `epoch` ends when another history is to be believed.
    """

    revision: int
    entry: Fingerprint | None = None
    epoch: int = 0


class Observer(Protocol):
    """Hears the revision of every answer that has a revision, and knows which cluster counts."""

    @property
    def clusters(self) -> Clusters | None:
        """Name the cluster that counts; None: the first that answers."""
        ...

    def sending(self) -> Known:
        """Give what is known, right before a request."""
        ...

    def answered(self, position: Position, known: Known, *, linearizable: bool = True) -> None:
        """Note an answer, with what was known before its request.

        An answer that is not `linearizable` may come from a member that lags. It proves progress only.
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
    """Hears nothing, and expects the cluster that `cluster` names at each call; empty: the first that answers."""

    def __init__(self, cluster: Callable[[], str]) -> None:
        self.clusters = Clusters(strict=False, expects=cluster)


@dataclass(frozen=True, slots=True)
class Put:
    """A write of a sibling key as part of a swap, guarded by the version it must have (0: absent)."""

    key: str
    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Delete:
    """A removal of a sibling key as part of a swap, guarded by the version it must have."""

    key: str
    version: int


@dataclass(frozen=True, slots=True)
class Check:
    """A guard as part of a swap, which writes nothing: the `version` that a key must have (`ABSENT`: none).

    `version` None: the key must exist. On v3 and memory the swap fails otherwise; v2 does not check.
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
    """A change of a key, as a wait was told of it.

    `reading` is the key after the change; None: the value was not told, so read the key. `before` is the entry before
    the first of the changes, if that was told too. `removed`: it was told that the key was removed.
    """

    reading: Reading | None = None
    before: Entry | None = None
    removed: bool = False


Until = Callable[[Change], bool]
"""Whether a change is the change that a wait is for."""


def any_change(_change: Change) -> bool:
    """Wait for the next change."""
    return True


@dataclass(frozen=True, slots=True)
class Entering:
    """The keys of a new place in a queue: the place and its ticket. Neither may exist; both expire together.

    `gone` is removed with the write, or must not exist. The keys from `since` to the place are counted.
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
        """Read several keys, linearizably: on v3 and memory at one moment, on v2 one after another.

        On v2 the order is that of the keys. More than `MOST_OPERATIONS` keys are a `StoreRefusedError` on v3 and
        memory. `locksmith.lock.chunks` reads what grows with the fleet.
        """
        ...

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Read the keys that begin with `prefix` (it ends in `/`), oldest creation first.

        `limit` bounds how many (0: all). With `last_before`, only keys created before that revision count. The `limit`
        youngest of them are given, still oldest first.
        """
        ...

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys from `start` on, before `end`, in the order of their names; both are below one folder.

        `limit` bounds how many, from the first on (0: all). `total` counts all keys between the two. With `at` the keys
        are read at that revision, or `PastGoneError` is raised; v2 reads them as they are now. On v3 the cost grows
        with the keys between the two only.
        """
        ...

    async def count(self, prefix: str) -> int:
        """Count the keys that begin with `prefix` (it ends in `/`); on v3 far cheaper than a list of any length."""
        ...

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below `prefix` (it ends in `/`), in order; keys are no folders."""
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
        """Write a new place, which `make` gives for a revision that the store has reached.

        Gives the place, its ticket, and the number of keys from `since` to the place. On v3 and memory this is one
        transaction, or a `ConflictError`. On v2 the order is: the ticket, which never expires, the place, the removal.
        """
        ...

    async def rejoin(self, entry: Entry, value: bytes, other: Entry, *, ttl: float) -> tuple[Entry, Entry]:
        """Write a new value over a place that was entered; from now on it and its ticket, `other`, expire after `ttl`.

        Either may have lost its lease. `ConflictError`: one of them was changed. On v2 the ticket stays as it is.
        """
        ...

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write `key` if it still has `version`, and its siblings with it; with `ttl` (seconds) the key expires.

        On v3 and memory this is one transaction: all guards hold and everything is written, or `ConflictError` and
        nothing is written. More than `MOST_OPERATIONS` keys, siblings included, are a `StoreRefusedError`. On v2 the
        order is: the puts, the swap, the deletes, each with its own guard. If a put fails, nothing follows. If the swap
        fails, the puts stay; the caller's protocol makes them harmless. If the guard of a delete fails, its key stays.
        A check is not made. Notes come last.
        `StoreRefusedError` with a note: its lease may be gone, or the right to write its key may be missing.
        """
        ...

    async def delete(self, key: str, version: int) -> None:
        """Remove a key that still has `version` (else `ConflictError`)."""
        ...

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over an entry with a `ttl`, which starts again. `ConflictError`: the entry was changed.

        On v2 the version stays: there a version tells two keys of one name apart, not two values of a key.
        """
        ...

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write over an entry of another writer, whose next renewal or update then fails.

        An entry without a lease gets a lease. `ConflictError`: the entry was changed. The key exists all the time. Only
        on v2 it is removed, then created again.
        """
        ...

    async def renew(self, entry: Entry, ttl: float) -> None:
        """Prolong an entry by the `ttl` of its creation: one request, no new revision, and no wait is woken.

        `ConflictError`: it has expired or was revoked.
        """
        ...

    async def revoke(self, entry: Entry) -> None:
        """Remove an entry with a `ttl`, and its lease. If the entry is gone already, that is no error.

        Such an entry is always removed so: after `delete` alone, v3 could not tell in one request that it is gone.
        """
        ...

    async def knows(self, seen: Fingerprint) -> bool | None:
        """Tell whether this entry is part of the store's history.

        False: the store has another history. None: the store can no longer tell. The history was compacted, or the key
        has changed and the store keeps no past values.
        """
        ...

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait until `key` (with `prefix`: a key below it) is written or removed after revision `after`.

        A change has no reading if the key was removed, if the store can no longer tell (compacted, restored), or on v2.
        A reading is a member's own word: a swap from it is guarded like any other. A change with a reading is given
        only if `until` accepts it; otherwise the same watch goes on. None: `limit` seconds went by. A frozen member is
        silent like an unchanged key: only the limit ends the wait.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection; calls under way end."""
        ...


async def remove(store: Store, entry: Entry) -> None:
    """Remove an entry, with or without a lease; `ConflictError`: it was changed meanwhile."""
    if entry.lease:
        await store.revoke(entry)
    else:
        await store.delete(entry.key, entry.version)


def knows_by_present(seen: Fingerprint, now: Entry | None, *, rewritten: bool = False) -> bool | None:
    """Answer `Store.knows` from the present entry, if the past can no longer be read.

    Within a history a version never goes back. `rewritten`: the store may write a new value at the same version.
    """
    if now is None or now.version > seen.version:
        return None
    if now.version < seen.version:
        return False
    return None if rewritten else Fingerprint.of(now) == seen
