"""The credentials that a server has read: each call asks etcd for as little as is safe.

A credential that counts is kept until the key `changes` is written, which goes with each revocation. That key is read
every `FRESH` seconds at most, while callers come. So 10,000 machines cost one read in that time, and a revoked
credential counts for `FRESH` seconds at most. What ends by a lease is not kept for longer than that.

A credential that is not kept costs a read. If many are read at a time, as after a start of the server, or for an origin
that sends wrong tokens, they are looked for in a list of all credentials, which is read every `FRESH` seconds at most.
So neither costs etcd more, and a sender of wrong tokens locks no other caller of its origin out.

The machines whose client certificates were revoked are few. They are read as one list, after each change.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from locksmith.errors import StoreUnavailableError
from locksmith.lock.credentials import Kept, read_kept
from locksmith.lock.pages import read_all
from locksmith.lock.records import keys
from locksmith.store.protocol import Entry, Reading, Store
from locksmith.util.futures import heed
from locksmith.util.ratelimit import RateLimit
from locksmith.util.tokens import same

FRESH: Final = 5.0
"""Seconds for which a revoked credential may still count."""
LONGEST: Final = 600.0
"""Seconds after which a credential is read again in any case: by itself, or where many are kept, with all others."""
MOST: Final = 50_000
"""Credentials that are kept."""
WRONG_AT_ONCE, WRONG_PER_SECOND = 20, 0.5
"""Wrong tokens of an origin that cost a read each."""
READS_AT_ONCE, READS_PER_SECOND = 200, 20
"""Reads of single credentials; of more callers at a time, as after a start, the list is read."""
MOST_ORIGINS: Final = 10_000
TRIES: Final = 3
"""Times at which a list is read that others change meanwhile."""

Get = Callable[[str, float], Awaitable[tuple[Reading, float]]]
"""Gives a key as a request found it that began after a moment, and when it began."""

_FOLDERS = (keys.machines_prefix, keys.people_prefix, keys.sessions_prefix, keys.enrolments_prefix)


@dataclass(frozen=True, slots=True)
class Wrong:
    """No credential has this token. `too_many`: its origin has sent too many such."""

    too_many: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    kept: Kept
    at: float


class KnownCredentials:
    """Credentials by the keys of their records. Errors are those of the store."""

    def __init__(self, store: Store, get: Get | None = None) -> None:
        self._store = store
        self._get = get or self._get_now
        self._read: OrderedDict[str, _Read] = OrderedDict()
        self._changes: tuple[int, bytes] = (0, b"")
        self._epoch = self._list_epoch = 0
        self._asked = self._listed = float("-inf")
        self._ask, self._list = Shared(self._read_changes), Shared(self._read_everything)
        self._reads = RateLimit(READS_AT_ONCE, READS_PER_SECOND)
        self._all: Mapping[str, Entry] = {}
        self._wrong: OrderedDict[str, RateLimit] = OrderedDict()
        self._revoked: Mapping[str, Kept] | None = None
        self._revoked_read = float("-inf")
        self._read_revoked = Shared(self._read_revoked_certificates)

    async def of(self, key: str, digest: str, origin: str) -> Kept | Wrong:
        """Give the credential whose token has this digest, as the store had it `FRESH` seconds ago, or later.

        A right token is found however many wrong ones its origin has sent: it has 256 random bits, so its answer helps
        no sender to guess another.
        """
        kept = await self.kept(key)
        if kept is None:
            kept = await self._again(key)
        if kept is not None and _has(kept, digest):
            return kept
        # Also if another is kept: a machine, or a person, may have a new token since.
        limit = self._limit(origin)
        if allowed := limit.allows(now()):
            limit.refund()  # right ones are not counted: thousands may come at once from one origin
        kept = None
        if not allowed or not self._reads.allows(now()):
            kept = await self._find_in_list(key)
        if allowed and not (kept and _has(kept, digest)):  # it may be younger than the list
            kept = await self.read(key)
        return kept if kept and _has(kept, digest) else Wrong(not limit.allows(now()))

    async def kept(self, key: str) -> Kept | None:
        """Give a credential that has been read, and counts; None: it must be read."""
        if now() - self._asked >= FRESH:
            await self._ask()
        found = self._read.get(key)
        if found is None:
            return None
        return found.kept if now() - found.at < (FRESH if _ends(found.kept) else LONGEST) else None

    async def _again(self, key: str) -> Kept | None:
        """Give a credential that was read long ago, as it was less long ago; None: it is to be read by itself.

        Where many are kept, they are read again together: each by itself would cost the store a request.
        """
        found = self._read.get(key)
        if found is None or _ends(found.kept) or len(self._read) <= READS_AT_ONCE:
            return None
        if now() - self._listed >= LONGEST / 2 or self._list_epoch != self._epoch:
            await self._list()
        return self._keep(self._all.get(key), self._epoch, self._listed) if self._list_epoch == self._epoch else None

    async def revoked_certificates(self, machine_id: str) -> Kept | None:
        """Give the revocation of a machine's client certificates, as of `FRESH` seconds ago or later; None: they count.

        `StoreUnavailableError`: credentials change faster than they can be read.
        """
        if now() - self._asked >= FRESH:
            await self._ask()
        for _ in range(TRIES):
            if self._revoked is not None and now() - self._revoked_read < LONGEST:
                return self._revoked.get(keys.certificates_key(machine_id))
            await self._read_revoked()
        raise StoreUnavailableError("the credentials in etcd change faster than they can be read")

    async def read(self, key: str) -> Kept | None:
        """Read a credential; None: there is none."""
        epoch, began = self._epoch, now()
        return self._keep((await self._store.get(key)).entry, epoch, began)

    def _keep(self, entry: Entry | None, epoch: int, read_at: float) -> Kept | None:
        """Keep what was read; what is revoked, or cannot be read, is not kept: it may be replaced."""
        if entry is None:
            return None
        kept = read_kept(entry)
        if kept.one is not None and not kept.one.revoked and epoch == self._epoch:
            self._read[entry.key] = _Read(kept, read_at)
            self._read.move_to_end(entry.key)
            if len(self._read) > MOST:
                self._read.popitem(last=False)
        return kept

    def drop(self, key: str) -> None:
        """Read a credential again before it counts again."""
        self._read.pop(key, None)

    async def _read_changes(self) -> None:
        reading, began = await self._get(keys.credential_changes_key(), self._asked)
        changes = (reading.version, reading.entry.value if reading.entry else b"")
        if changes != self._changes:
            self._read.clear()
            self._revoked = None
            self._changes = changes
            self._epoch += 1
        self._asked = began

    async def _get_now(self, key: str, _since: float) -> tuple[Reading, float]:
        began = now()
        return await self._store.get(key), began

    async def _find_in_list(self, key: str) -> Kept | None:
        if now() - self._listed >= FRESH:
            await self._list()
        return self._keep(self._all.get(key), self._list_epoch, self._listed)

    async def _read_everything(self) -> None:
        epoch, began = self._epoch, now()
        found = [entry for prefix in _FOLDERS for entry in await read_all(self._store, prefix())]
        self._all = {entry.key: entry for entry in found}
        self._listed, self._list_epoch = began, epoch

    async def _read_revoked_certificates(self) -> None:
        epoch, began = self._epoch, now()
        found = await read_all(self._store, keys.certificates_prefix())
        if epoch == self._epoch:  # else another was revoked meanwhile, maybe
            self._revoked = {entry.key: read_kept(entry) for entry in found}
            self._revoked_read = began

    def _limit(self, origin: str) -> RateLimit:
        limit = self._wrong.setdefault(origin, RateLimit(WRONG_AT_ONCE, WRONG_PER_SECOND))
        self._wrong.move_to_end(origin)
        if len(self._wrong) > MOST_ORIGINS:
            self._wrong.popitem(last=False)
        return limit


class Shared:
    """Calls a function for all who ask while it runs: each gets its end, or its error. No caller can cut it off."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._running: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Wait for the call that runs, or begin one."""
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._work())
            self._running.add_done_callback(heed)
        await asyncio.shield(self._running)


def _has(kept: Kept, digest: str) -> bool:
    return kept.one is not None and same(kept.one.digest, digest)


def _ends(kept: Kept) -> bool:
    """Tell whether a credential ends by a lease."""
    return kept.one is not None and kept.one.until is not None


def now() -> float:
    """Give the event loop's time, in seconds."""
    return asyncio.get_running_loop().time()
