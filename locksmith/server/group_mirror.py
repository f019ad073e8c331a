"""All keys of a group in memory, kept current by one watch: what the server's readers and waiting calls ask.

However many readers and waiting machines a server has, its group costs the store one watch, and one read every
`ROUND` seconds. A mirror decides nothing: each write goes to the store with its guards, and what permits a reboot is
read there.

A mirror may be older than its store, so it knows how old it may be. Each round asks the store (linearizably) how it
stands, and opens the watch again at a member that has come so far. So a member that lags, is frozen or was cut off
proves nothing. What is older than `FRESH` seconds is not given as if it were new: readers get a
`StoreUnavailableError`, or ask for what was last known, and show its age.

Above 300 lines, in one piece: each method keeps, proves or reads the same copy of the keys.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from locksmith.errors import PastGoneError, StoreError, StoreRefusedError, StoreUnavailableError
from locksmith.lock.records import keys
from locksmith.server.joint_reads import JointReads
from locksmith.store.feed import Batch, Feeds, Opened
from locksmith.store.protocol import Change, Entry, Fingerprint, Listing, Reading, Store, Until, any_change
from locksmith.store.replica import Replica

log = logging.getLogger(__name__)

ROUND: Final = 10.0
"""Seconds after which the store is asked how it stands, and the watch is opened again."""
FRESH: Final = 25.0
"""Seconds for which what was proven counts as current: two rounds, and the time that a store has for an answer."""
SETTLE: Final = 1.0
"""Seconds after which a watch has told what happened before it was opened. etcd does so every 100 ms."""
POLL: Final = 5.0
"""Seconds after which a store that tells no changes (etcd's v2 API) may have changed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before the next try after an error: doubled each time."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far what is known can be believed.

    `age` is how many seconds ago the store was known to stand like this (None: never yet). It is `current` while that
    is at most `FRESH`. `reason` is a sentence that says why it is not current; empty while it is.
    """

    current: bool
    age: float | None
    reason: str = ""


class Mirror:
    """The keys below a prefix. `run` keeps it current; all else answers at once, from memory.

    `drops` tells keys below the prefix that are not to be kept. `name` is for messages. `joint` reads one key for
    several mirrors.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        name: str,
        drops: Callable[[str], bool] = lambda _key: False,
        *,
        joint: JointReads | None = None,
    ) -> None:
        self.prefix = prefix
        self.replica = Replica()
        self._store = store
        self._joint = joint or JointReads(store)
        self._name = name
        self._drops = drops
        self._listed = False
        self._latest = self._proven_revision = 0
        self._histories = 0
        self._proven: float | None = None
        self._error = f"{name} was not read yet"
        self._news = asyncio.Event()
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}
        self._listeners: list[Callable[[Collection[str]], None]] = []
        self._hear_proofs: list[Callable[[], None]] = []

    # What readers ask

    @property
    def revision(self) -> int:
        """The store's revision that this is of; 0: none yet. A lower one than before: the store went back in time."""
        return self.replica.revision

    @property
    def freshness(self) -> Freshness:
        """How far this can be believed at this moment."""
        if self._proven is None:
            return Freshness(current=False, age=None, reason=self._error)
        age = _now() - self._proven
        if age <= FRESH:
            return Freshness(current=True, age=age)
        why = self._error or "the store does not say more"
        return Freshness(current=False, age=age, reason=f"{self._name} is known as it was {age:.0f} s ago: {why}")

    def require(self, *, current: bool = True) -> Replica:
        """Give what is known; `StoreUnavailableError`: nothing is, or it is not current where that is required."""
        freshness = self.freshness
        if freshness.age is None or (current and not freshness.current):
            raise StoreUnavailableError(freshness.reason)
        return self.replica

    @property
    def proven_revision(self) -> int:
        """The highest revision of the whole store for which this is known to hold: any key may have made it."""
        return max(self.replica.revision, self._proven_revision)

    def keeps(self, key: str) -> bool:
        """Tell whether a key is one of those that are kept here."""
        return key.startswith(self.prefix) and not self._drops(key)

    def proven_since(self, asked: float) -> bool:
        """Tell whether what is known now holds at, or after, a moment of the loop's time: it is linearizable then."""
        return self._proven is not None and self._proven >= asked and self.freshness.current

    def on_proof(self, listener: Callable[[], None]) -> None:
        """Have it told when the store has said how it stands. It must neither wait nor fail."""
        self._hear_proofs.append(listener)

    def on_change(self, listener: Callable[[Collection[str]], None]) -> None:
        """Have the keys of each change told, right after it; none: it became current. It must neither wait nor fail."""
        self._listeners.append(listener)

    async def changed(self, after_revision: int, limit: float) -> bool:
        """Wait until the group stands at another revision, or becomes current or stale; False after `limit` seconds."""
        ends, current = _now() + limit, self.freshness.current
        while self.revision == after_revision and self.freshness.current == current:
            left = ends - _now()
            if left <= 0:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, self._until_stale())):
                    await self._news.wait()
        return True

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Do what `Store.wait` does, without a request. While the store cannot be followed it tells nothing."""
        histories = self._histories
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while True:
                    change = Change() if self._histories != histories else self._change(key, after, prefix=prefix)
                    if change is not None and (change.reading is None or until(change)):
                        return change
                    await (self._news.wait() if prefix else self._change_of(key))
        return None

    def _change(self, key: str, after: int, *, prefix: bool) -> Change | None:
        if prefix:
            return Change() if self.replica.any_changed_since(key, after) else None
        if not self.replica.changed_since(key, after):
            return None
        entry = self.replica.get(key).entry
        if entry is None:
            return Change(removed=self.replica.is_removed_since(key, after))
        return Change(Reading(entry, entry.version))

    async def _change_of(self, key: str) -> None:
        """Wait for the next change of one key: of thousands that wait, the others are not woken."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, {})[waiting] = None
        try:
            await waiting
        finally:
            others = self._waiting.get(key, {})
            others.pop(waiting, None)
            if not others:
                self._waiting.pop(key, None)

    def _until_stale(self) -> float:
        """Say how long until what is known stops to be current; if it is not, nothing more can happen to it by time."""
        if self._proven is None or not self.freshness.current:
            return LONGEST_PAUSE
        return max(0.0, self._proven + FRESH - _now()) + 0.01

    # What keeps it current

    async def run(self) -> None:
        """Follow the store until this is cancelled. No error ends it."""
        pause = FIRST_PAUSE
        while True:
            began = _now()
            try:
                await self._round()
            except PastGoneError as error:
                log.info("%s is read again: %s", self._name, error)
                self._listed = False
            except StoreError as error:
                # Meanwhile the store may have been replaced by a copy of itself from before.
                self._listed = False
                self._note_error(str(error))
            except Exception as error:
                log.exception("a defect of locksmith-server: %s is not followed", self._name)
                self._listed = False
                self._note_error(f"locksmith-server has a defect: {type(error).__name__}: its log says more")
            if _now() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _round(self) -> None:
        """Prove that the history goes on, then hear what changes for a while."""
        asked, store = _now(), self._store
        if not isinstance(store, Feeds):
            raise StoreRefusedError("this store does not tell what changes")
        is_another = self._listed and not await self._goes_on()
        if is_another:
            log.warning("the store of %s has another history than it had: it is read again", self._name)
            self._listed = False
        if not self._listed:
            self._take(await store.whole(self.prefix), is_another=is_another)
        if self.replica.revision >= self._latest:
            self._prove(asked, self._latest)
        settled: asyncio.TimerHandle | None = None
        latest = self._latest

        def hear(told: Opened | Batch) -> None:
            nonlocal settled
            if isinstance(told, Batch):
                self._apply(told)
            elif told.revision >= latest:
                settled = asyncio.get_running_loop().call_later(SETTLE, self._prove, asked, latest)
            if self.replica.revision >= latest:
                self._prove(asked, latest)

        try:
            await store.feed(self.prefix, self.replica.revision, hear, limit=_until_next_round())
        finally:
            if settled is not None:
                settled.cancel()

    async def _goes_on(self) -> bool:
        """Tell whether the store's history is still that of this mirror; `_latest` says how far the store has come."""
        newest = self.replica.newest()
        reading = await self._joint.get(newest.key if newest else self.prefix + "semaphore")
        if reading.revision < self.replica.revision:
            return False
        self._latest = reading.revision
        if newest is None or reading.entry == newest:
            return True
        return await self._store.knows(Fingerprint.of(newest)) is True

    def _take(self, listing: Listing, *, is_another: bool) -> None:
        """Be what was listed. A store that went back may have passed the revision that was known, by other writes."""
        kept = tuple(entry for entry in listing.entries if not self._drops(entry.key))
        went_back = is_another or listing.revision < self.replica.revision or self._contradicts(kept)
        self._listed, self._latest = True, listing.revision
        changed = self.replica.replace(Listing(kept, listing.revision, len(kept)))
        self._histories += went_back
        self._tell(dict.fromkeys((*changed, *self._waiting)) if went_back else changed)

    def _contradicts(self, listed: Iterable[Entry]) -> bool:
        """Tell whether an entry is as old as what is known here, and was not there: the store went back meanwhile."""
        known = self.replica
        return any(entry.version <= known.revision and known.get(entry.key).entry != entry for entry in listed)

    def _apply(self, batch: Batch) -> None:
        kept = [change for change in batch.changes if not self._drops(change.key)]
        self._tell(self.replica.apply(kept, batch.revision))

    def _prove(self, asked: float, revision: int) -> None:
        """Note that the store stood like this, at that revision of its own, when or after it was asked."""
        was, self._proven_revision = self.freshness.current, revision
        self._proven, self._error = max(asked, self._proven or asked), ""
        if not was:
            log.info("follows %s: what is in memory is as in etcd", self._name)
            self._tell(())
        for listener in self._hear_proofs:
            listener()

    def _note_error(self, error: str) -> None:
        if not self._error:
            log.warning("cannot follow %s, so each call asks etcd: %s", self._name, error)
        self._error = error

    def _tell(self, changed: Collection[str]) -> None:
        for key in changed:
            for waiting in self._waiting.pop(key, ()):
                if not waiting.done():
                    waiting.set_result(None)
        for listener in self._listeners:
            listener(changed)
        self._news.set()
        self._news = asyncio.Event()


class GroupMirror(Mirror):
    """The keys of one group."""

    def __init__(self, store: Store, group: str, *, joint: JointReads | None = None) -> None:
        self.group = group
        # The folder of the default group has those of the others in it.
        of_others = () if group else (keys.groups_prefix(), keys.windows_prefix())
        drops: Callable[[str], bool] = lambda key: key.startswith(of_others)  # noqa: E731 - what a mirror takes
        super().__init__(store, keys.group_prefix(group), f"the group {group!r}", drops, joint=joint)


class Unfollowed(GroupMirror):
    """Stands for the mirror of a group where readers ask the store: what they read is always current."""

    @property
    def freshness(self) -> Freshness:
        """Nothing is kept here that could be old."""
        return Freshness(current=True, age=0.0)

    async def changed(self, after_revision: int, limit: float) -> bool:
        """Wait until it is time to read again."""
        del after_revision
        await asyncio.sleep(min(limit, POLL))
        return limit >= POLL


def _until_next_round() -> float:
    """Say how long a watch lasts: all mirrors of a server end theirs at one time, and share the read that follows."""
    return ROUND - _now() % ROUND or ROUND


def _now() -> float:
    return asyncio.get_running_loop().time()
