"""What the page knows of the fleet: a view of each group, which follows the store while a viewer asks for it.

Any store will do; one that answers from memory makes it cheap. Nothing is decided by what is kept here, and it may be
lost at any moment.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from locksmith.errors import LocksmithError, StoreError
from locksmith.fleet.group import GroupView
from locksmith.fleet.reader import Memo, list_groups, read_group
from locksmith.lock.history import MOST, History
from locksmith.lock.records import keys
from locksmith.lock.records.event import Event
from locksmith.server.web.views import GroupPage
from locksmith.store.protocol import Store

log = logging.getLogger(__name__)

READ_LIMIT: Final = 10.0
"""Seconds for reading a group, or their names."""
READ_AGAIN: Final = 20.0
"""Seconds after which a group is read again, also if its watch is silent: a frozen member is silent too."""
CALM: Final = 0.3
"""Seconds between two reads at least."""
RESTS: Final = 5
"""How many times as long as a read took there is none after it."""
RETRY: Final = 2.0
"""Seconds between two reads while etcd is away."""
UNUSED: Final = 60.0
"""Seconds after which a group that no viewer has asked for is no longer followed."""
OLD: Final = timedelta(minutes=1)
"""After this the words are made again, also if nothing has changed: moments are in them."""
FRESH_NAMES: Final = 5.0
"""Seconds for which the names of the groups are not read again."""


Words = Callable[[GroupView, Sequence[Event]], GroupPage]


@dataclass(frozen=True, slots=True)
class Sight:
    """What was last seen of a group; `problem` says why it is not seen now (empty: it is), and `view` is older then.

    `page` is the view in words; what takes long for a large group is done when it is read, not when it is shown.

    `number` grows with each change of what is seen. `events` are the youngest of the history, the oldest first.
    """

    view: GroupView | None = None
    page: GroupPage | None = None
    events: Sequence[Event] = ()
    problem: str = ""
    number: int = 0


@dataclass(slots=True)
class _Followed:
    """A group that is followed, and the last time that a viewer asked for it, by the loop's clock."""

    sight: Sight = field(default_factory=Sight)
    asked: float = 0.0
    task: "asyncio.Task[None] | None" = None
    first: asyncio.Event = field(default_factory=asyncio.Event)
    memo: Memo = field(default_factory=Memo)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class Fleet:
    """All groups of a store. No call raises but for a cancellation, except `names`.

    `words` puts a view into words, and may take a moment. `reads` gives where a group is read (None: in the store),
    and `ready` waits until that can be read.
    """

    def __init__(
        self,
        store: Store,
        words: Words,
        reads: Callable[[str], Store] | None = None,
        ready: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._words = words
        self._store = store
        self._reads, self._ready = reads or (lambda _group: store), ready
        self._groups: dict[str, _Followed] = {}
        self._news = asyncio.Condition()
        self._names: tuple[float, list[str]] = (float("-inf"), [])
        self.closed = False
        self.listeners = 0

    async def names(self) -> list[str]:
        """Name the groups that are in use, the default one ("") first. `StoreError`, `TimeoutError`."""
        now = asyncio.get_running_loop().time()
        at, names = self._names
        if now - at > FRESH_NAMES:
            async with asyncio.timeout(READ_LIMIT):
                names = await list_groups(self._store)
            self._names = (now, names)
        return names

    def follows(self, group: str) -> bool:
        """Tell whether a group is followed, so known."""
        return group in self._groups

    def followed(self) -> list[str]:
        """Name the groups that are followed."""
        return sorted(self._groups)

    async def see(self, group: str) -> Sight:
        """Give what is known of a group; the first time it is read."""
        followed = self._follow(group)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_LIMIT):
                await followed.first.wait()
        return followed.sight

    async def refresh(self, group: str) -> Sight:
        """Read a group in the store itself now: for whom is about to change it, or has just done so."""
        followed = self._follow(group)
        await self._read(group, followed, self._store)
        return followed.sight

    async def changes(self, groups: Sequence[str], beat: float) -> AsyncIterator[bool]:
        """Tell of each change of one of these groups (True), and at least every `beat` seconds something (False)."""
        seen = self._numbers(groups)
        self.listeners += 1
        try:
            async for changed in self._told(groups, seen, beat):
                yield changed
        finally:
            self.listeners -= 1

    async def _told(self, groups: Sequence[str], seen: list[int], beat: float) -> AsyncIterator[bool]:
        while not self.closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(beat), self._news:
                    await self._news.wait_for(lambda seen=seen: self.closed or self._numbers(groups) != seen)  # type: ignore[misc]

            now = self._numbers(groups)
            if not self.closed:
                yield now != seen
            seen = now

    async def close(self) -> None:
        """Follow nothing any more; who waits for a change is told that it ends."""
        self.closed = True
        async with self._news:
            self._news.notify_all()
        tasks = [one.task for one in self._groups.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _numbers(self, groups: Sequence[str]) -> list[int]:
        return [self._follow(group).sight.number for group in groups]

    def _follow(self, group: str) -> _Followed:
        followed = self._groups.setdefault(group, _Followed())
        followed.asked = asyncio.get_running_loop().time()
        if followed.task is None and not self.closed:
            followed.task = asyncio.create_task(self._keep(group, followed))
        return followed

    async def _keep(self, group: str, followed: _Followed) -> None:
        """Read at each change, while a viewer asks."""
        loop = asyncio.get_running_loop()
        if self._ready is not None:
            await self._ready(group)
        while loop.time() - followed.asked < UNUSED:
            took = await self._read(group, followed, self._reads(group))
            followed.first.set()
            if followed.sight.problem:
                await asyncio.sleep(RETRY)
                continue
            await asyncio.sleep(max(CALM, RESTS * took))
            await self._changed(group, followed.sight)
        # What is not followed is forgotten, or it would be shown as if it were of now.
        del self._groups[group]

    async def _changed(self, group: str, sight: Sight) -> None:
        view = sight.view
        with contextlib.suppress(StoreError):  # the next read says it
            if view is not None:
                await self._reads(group).wait(keys.group_prefix(group), view.revision, prefix=True, limit=READ_AGAIN)

    async def _read(self, group: str, followed: _Followed, store: Store) -> float:
        """Read it, note what is new, and give how long it took, in seconds."""
        began = asyncio.get_running_loop().time()
        async with followed.reading:
            before = followed.sight
            try:
                async with asyncio.timeout(READ_LIMIT):
                    view = await read_group(store, group, followed.memo)
                    events = await History(store, group).read(MOST)
                sight = replace(before, view=view, events=events, problem="")
            except (LocksmithError, TimeoutError) as error:
                sight = replace(before, problem=str(error) or f"etcd did not answer within {READ_LIMIT:g} s")
            news = not _is_same(sight, before)
            if sight.view is not None and not sight.problem and (news or _is_old(before.page, sight.view)):
                # In a thread: it takes a tenth of a second for 10,000 machines, and others wait for the event loop.
                page = await asyncio.to_thread(self._words, sight.view, sight.events)
                sight = replace(sight, page=page)
            followed.sight = sight = replace(sight, number=before.number + news)
        if sight.number != before.number:
            async with self._news:
                self._news.notify_all()
        return asyncio.get_running_loop().time() - began


def _is_old(page: GroupPage | None, view: GroupView) -> bool:
    return page is None or view.at is None or view.at - page.now > OLD


def _is_same(one: Sight, other: Sight) -> bool:
    if one.problem != other.problem or one.view is None or other.view is None:
        return one.problem == other.problem and one.view is other.view
    if len(one.events) != len(other.events) or one.events[-1:] != other.events[-1:]:
        return False
    # The revision moves with every write in etcd, also of other groups.
    return replace(one.view, revision=0, at=None) == replace(other.view, revision=0, at=None)
