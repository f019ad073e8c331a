"""The loop of notifications: it compares each group with what was told of it, and sends what is new to each target.

Each group is read every `PERIOD` seconds. Where a mirror follows the group, it is also read when something changes
there, so that an event is told within about a second.
"""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Final

from locksmith.config.model import Config
from locksmith.errors import ConflictError, CorruptValueError, LocksmithError, StoreError
from locksmith.fleet.group import GroupView
from locksmith.fleet.notices import NoticeRules, asks_past, compare
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import Memo, list_groups, read_group
from locksmith.host.clock import local_clock
from locksmith.host.hostname import read_hostname
from locksmith.host.paths import Paths
from locksmith.lock.history import MOST, History
from locksmith.lock.records.notice import Ledger, Notice
from locksmith.server.cluster import following, open_observed
from locksmith.server.delivery import Delivery, refuse_missing_library, service_of
from locksmith.server.notice_news import Changed, News
from locksmith.server.notice_post import NoticeCounts, Post
from locksmith.server.outbox import Outbox
from locksmith.store.protocol import Store
from locksmith.util.ratelimit import RateLimit
from locksmith.util.threads import in_thread

log = logging.getLogger(__name__)

PERIOD: Final = 15.0
"""Seconds between two readings of a group."""
GROUPS_PERIOD: Final = 60.0
"""Seconds for which the list of all groups counts."""
READ_LIMIT: Final = 60.0
"""Seconds for one group."""
STOP_LIMIT: Final = 6.0
"""Seconds for the sends that are under way at a stop."""

View = Callable[[str], Awaitable[GroupView]]


class Notifications:
    """The notifications of one server. `view` reads a group, from a store or a mirror of it."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        server: str,
        clock: Callable[[], datetime],
        counts: NoticeCounts,
        view: View | None = None,
    ) -> None:
        self._notify, self._store, self._server, self._clock = config.notify, store, server, clock
        self._view = view or partial(read_group, store)
        notify = config.notify
        self._rules = NoticeRules(config.halt.after, notify.repeat_after, notify.no_reboot_after)
        self._posts = [
            Post(Delivery(target, notify.templates), self._outbox, clock, counts) for target in notify.targets.values()
        ]
        self._news = News(self._glance)
        self._ledgers: dict[str, Ledger] = {}
        self._pending: dict[str, tuple[Notice, ...]] = {}
        self._all_groups: tuple[str, ...] = ()
        self._listed_at: float | None = None
        self._told = RateLimit(3, 1 / 300)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Observe and send until `stop` is called, and then until what is under way has ended."""
        posts = [asyncio.ensure_future(post.run(self._stopping)) for post in self._posts]
        try:
            while not self._stopping.is_set():
                await self.cycle()
                await self._news.run(PERIOD)
        finally:
            _, late = await asyncio.wait(posts, timeout=STOP_LIMIT)
            for post in late:
                post.cancel()
            await asyncio.gather(*posts, return_exceptions=True)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping.set()
        self._news.stop()
        for post in self._posts:
            post.woken.set()

    def changed(self, group: str, keys_changed: Collection[str]) -> None:
        """Take note of a change of a group, for which a mirror stands: it is read soon."""
        if group in self._pending:  # one that a target wants
            self._news.add(group, keys_changed)
        else:
            self._listed_at = None  # it may be in use since the groups were listed

    async def cycle(self) -> None:
        """Observe each group once, and give each target what there is to send."""
        try:
            async with asyncio.timeout(READ_LIMIT):
                groups = await self._groups()
        except Exception as error:  # noqa: BLE001 - the loop goes on after any error
            self._log("the groups", error)
            return
        self._pending = dict.fromkeys(groups, ())
        for group in groups:
            await self._try(group, self._observe)
        self._offer()

    def _offer(self) -> None:
        for post in self._posts:
            post.offer(dict(self._pending))

    async def _try(self, group: str, observe: Callable[[str], Awaitable[tuple[Notice, ...]]]) -> None:
        """Take the notices of a group as they are now. No error: one group holds up no other."""
        try:
            async with asyncio.timeout(READ_LIMIT):
                self._pending[group] = await observe(group)
        except Exception as error:  # noqa: BLE001 - the loop goes on after any error
            self._log(group_name(group), error)

    async def _glance(self, group: str) -> None:
        """Read a group that has changed, and give each target at once what there is to send."""
        before = self._pending.get(group)
        await self._try(group, self._observe_news)
        if self._pending.get(group) is not before:
            self._offer()

    async def _observe_news(self, group: str) -> tuple[Notice, ...]:
        """Do as `_observe`, if there is something to tell. If not, that costs the store nothing.

        What was told is in memory, and may be old: another server tells too. The next cycle reads it.
        """
        known = self._ledgers.get(group)
        if known is not None and not compare(known, await self._view(group), self._clock(), self._rules)[1]:
            return self._pending.get(group, ())
        return await self._observe(group)

    async def _observe(self, group: str) -> tuple[Notice, ...]:
        """Note what is new of a group; give its notices, of which targets may have some already."""
        outbox, now = self._outbox(group), self._clock()
        # The ledger comes first: the view must not be older, or what was told would seem to have ended.
        self._ledgers.pop(group, None)
        before, version = await outbox.ledger()
        view = await self._view(group)
        if view.revision >= version:
            past = await History(self._store, group).read(MOST) if asks_past(before, view, now) else ()
            ledger, notices = compare(before, view, now, self._rules, past)
            if notices or ledger != before:
                with suppress(ConflictError):  # another server was faster: the next cycle reads what it wrote
                    await outbox.write(ledger, version, notices)
                    self._ledgers[group] = ledger
            else:
                self._ledgers[group] = ledger
        return await outbox.pending()

    async def _groups(self) -> tuple[str, ...]:
        """Name the groups that a target wants; all groups are listed only if a target wants all."""
        targets = self._notify.targets.values()
        named = dict.fromkeys(group for target in targets for group in target.groups or ())
        if all(target.groups is not None for target in targets):
            return tuple(named)
        now = asyncio.get_running_loop().time()
        if self._listed_at is None or now - self._listed_at >= GROUPS_PERIOD:
            self._all_groups, self._listed_at = tuple(await list_groups(self._store)), now
        return tuple(dict.fromkeys((*named, *self._all_groups)))

    def _outbox(self, group: str) -> Outbox:
        return Outbox(self._store, group, self._server)

    def _log(self, what: str, error: Exception) -> None:
        if not self._told.allows(asyncio.get_running_loop().time()):
            return
        if isinstance(error, StoreError | CorruptValueError | TimeoutError):
            why = str(error) or f"no answer within {READ_LIMIT:g} s"
            log.warning("what is new of %s cannot be told now: %s", what, why)
        else:
            log.error("a defect of the notifications of %s: %s: %s", what, type(error).__name__, error)


@asynccontextmanager
async def notifying(
    config: Config,
    paths: Paths,
    counts: NoticeCounts,
    reads: Callable[[str], Store] | None = None,
    tell: Callable[[Changed], None] | None = None,
) -> AsyncIterator[None]:
    """Run the notifications meanwhile, if there is a target. `MissingLibraryError`: they need apprise.

    `reads` gives where a group is read: a mirror may lag (None: in the store itself). `tell` has what changes told.
    """
    if not config.notify.targets:
        yield
        return
    refuse_missing_library()
    memos: defaultdict[str, Memo] = defaultdict(Memo)
    # A store of its own: what hangs here must hold up no client.
    store = open_observed(config.store, following(config.store, config.server.groups))
    notifications = Notifications(
        config,
        store,
        server=f"{read_hostname(paths)} ({os.getpid()})",
        clock=local_clock(),
        counts=counts,
        view=(lambda group: read_group(reads(group), group, memos[group])) if reads else None,
    )
    if tell is not None:
        tell(notifications.changed)
    running = asyncio.ensure_future(notifications.run())
    checking = asyncio.ensure_future(_check(config))
    try:
        yield
    finally:
        notifications.stop()
        checking.cancel()
        await asyncio.gather(running, checking, return_exceptions=True)
        await store.close()


async def _check(config: Config) -> None:
    """Log each target that can never be reached: the server serves its clients all the same."""
    for target in config.notify.targets.values():
        try:
            service = await in_thread(partial(service_of, target), limit=READ_LIMIT)
        except Exception as error:  # noqa: BLE001 - the library may raise anything
            said = str(error) if isinstance(error, LocksmithError) else type(error).__name__
            log.error("the target %s cannot be used: %s", target.name, said)  # noqa: TRY400 - one line, no traceback
        else:
            log.info("notices go to %s, by %s", target.name, service)
