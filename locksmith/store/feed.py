"""What a store can do for a server that acts for many machines, apart from `Store`.

It tells of all keys below a prefix: first their values, then each change. It binds many keys to one lease, and prolongs
many leases with one request.

Only etcd's v3 API and the store in memory can. v2 keeps the last thousand events of all keys, and names no removal of a
key that expired with its folder; there the keys are listed again and again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from locksmith.store.protocol import Entry, Listing, Put


@dataclass(frozen=True, slots=True)
class Removed:
    """A key that was removed, or has expired, at this revision."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A feed was opened. `revision` is that of the member that gives it, which may lag."""

    revision: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole transactions, in order: what they wrote and removed, up to and with `revision`."""

    changes: Sequence[Entry | Removed]
    revision: int


Hear = Callable[[Opened | Batch], None]


@runtime_checkable
class Feeds(Protocol):
    """A store that tells each change below a prefix. Errors are those of `Store`."""

    async def whole(self, prefix: str) -> Listing:
        """Read all keys that begin with `prefix` (it ends in `/`), at one revision, linearizably, in any order.

        `PastGoneError`: the store forgot that revision meanwhile, so begin again.
        """
        ...

    async def feed(self, prefix: str, after: int, hear: Hear, *, limit: float) -> None:
        """Tell each change after a revision, for as long as the connection lasts, or `limit` seconds; then return.

        `hear` is told `Opened` first, and must neither wait nor fail. `PastGoneError`: the store was compacted, so
        changes are missing.
        """
        ...

    async def bind(self, puts: Sequence[Put], lease: int) -> None:
        """Write keys in one transaction, all bound to a lease that `Store.lend` gave: they expire together.

        `StoreRefusedError`: there is no such lease any more. `Store.renew` of any of them prolongs all.
        """
        ...

    async def renew_many(self, entries: Sequence[Entry], ttl: float) -> Sequence[Entry]:
        """Prolong several entries by the time to live that they were given; give those that have expired."""
        ...
