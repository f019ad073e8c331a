"""The loop of notifications: it compares each group with what was told of it, and sends what is new to each target.

Each target has a task of its own, so one that hangs or fails holds up no other, and nothing else of the server.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import product
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from locksmith.config.model import Config
from locksmith.errors import ConflictError, CorruptValueError, LocksmithError, StoreError
from locksmith.fleet.group import GroupView
from locksmith.fleet.notices import NoticeRules, asks_past, compare
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import list_groups, read_group
from locksmith.host.clock import local_clock
from locksmith.host.hostname import read_hostname
from locksmith.host.paths import Paths
from locksmith.lock.history import MOST, History
from locksmith.lock.records.notice import Notice
from locksmith.server.cluster import following, open_observed
from locksmith.server.delivery import Delivery, DeliveryError, refuse_missing_library, service_of
from locksmith.server.outbox import CLAIM_TTL, FAILED, GIVEN_UP, KEPT_SENT, SENT, Outbox
from locksmith.store.protocol import Store
from locksmith.util.ratelimit import RateLimit
from locksmith.util.threads import in_thread
from locksmith.util.words import span

log = logging.getLogger(__name__)

PERIOD: Final = 15.0
"""Seconds between two readings of a group."""
GROUPS_PERIOD: Final = 60.0
"""Seconds for which the list of all groups counts."""
READ_LIMIT: Final = 60.0
"""Seconds for one group."""
BACKOFF: Final = (30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0, 1800.0)
"""Seconds until a notice that a target did not take is tried again. After as many tries and one more, no further."""
SPARE: Final = 25.0
"""Seconds that a claim must still last when its send begins: for the send, and for a slow loop."""
OUTCOMES: Final = ("sent", "failed", "given_up")
STOP_LIMIT: Final = 6.0
"""Seconds for the sends that are under way at a stop."""

View = Callable[[str], Awaitable[GroupView]]


class NoticeCounts(Collector):
    """Counts what became of the notices, for each target: `sent`, `failed` (a try), `given_up`. It is a metric."""

    def __init__(self, targets: Iterable[str]) -> None:
        self._counts = dict.fromkeys(product(targets, OUTCOMES), 0)

    def count(self, target: str, outcome: str) -> None:
        """Count a try."""
        self._counts[target, outcome] += 1

    def collect(self) -> Iterator[Metric]:
        """Give the metric."""
        family = CounterMetricFamily(
            "locksmith_server_notices",
            "Notices that this server has sent or failed to send, or will not try again, by their target.",
            labels=["target", "outcome"],
        )
        for labels, number in self._counts.items():
            family.add_metric(labels, number)
        yield family


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
            _Post(Delivery(target, notify.templates), self._outbox, clock, counts) for target in notify.targets.values()
        ]
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
                await _until(self._stopping, PERIOD)
        finally:
            _, late = await asyncio.wait(posts, timeout=STOP_LIMIT)
            for post in late:
                post.cancel()
            await asyncio.gather(*posts, return_exceptions=True)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping.set()
        for post in self._posts:
            post.woken.set()

    async def cycle(self) -> None:
        """Observe each group once, and give each target what there is to send."""
        try:
            async with asyncio.timeout(READ_LIMIT):
                groups = await self._groups()
        except Exception as error:  # noqa: BLE001 - the loop goes on after any error
            self._log("the groups", error)
            return
        pending: dict[str, tuple[Notice, ...]] = {}
        for group in groups:
            try:
                async with asyncio.timeout(READ_LIMIT):
                    pending[group] = await self._observe(group)
            except Exception as error:  # noqa: BLE001 - as above, and one group holds up no other
                self._log(group_name(group), error)
        for post in self._posts:
            post.offer(pending)

    async def _observe(self, group: str) -> tuple[Notice, ...]:
        """Note what is new of a group; give its notices, of which targets may have some already."""
        outbox, now = self._outbox(group), self._clock()
        # The ledger comes first: the view must not be older, or what was told would seem to have ended.
        before, version = await outbox.ledger()
        view = await self._view(group)
        if view.revision >= version:
            past = await History(self._store, group).read(MOST) if asks_past(before, view, now) else ()
            ledger, notices = compare(before, view, now, self._rules, past)
            if notices or ledger != before:
                with suppress(ConflictError):  # another server was faster: the next cycle reads what it wrote
                    await outbox.write(ledger, version, notices)
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


class _Post:
    """Sends to one target what it wants, one notice after another."""

    def __init__(
        self,
        delivery: Delivery,
        outbox: Callable[[str], Outbox],
        clock: Callable[[], datetime],
        counts: NoticeCounts,
    ) -> None:
        self._delivery, self._target = delivery, delivery.target
        self._outbox, self._clock, self._counts = outbox, clock, counts
        self._pending: Mapping[str, tuple[Notice, ...]] = {}
        self._done: set[str] = set()
        self._tries: dict[str, int] = {}
        self._failing = False
        self.woken = asyncio.Event()

    def offer(self, pending: Mapping[str, tuple[Notice, ...]]) -> None:
        """Take the notices that there are, by their groups."""
        self._pending = pending
        ids = {told.id for found in pending.values() for told in found}
        self._done &= ids
        self._tries = {one: tries for one, tries in self._tries.items() if one in ids}
        self.woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Send until `stopping` is set. A send that has begun is waited for."""
        while not stopping.is_set():
            await self.woken.wait()
            self.woken.clear()
            for group, found in self._pending.items():
                wanted = [one for one in found if self._target.wants(one.event, group) and one.id not in self._done]
                if wanted:
                    await self._send_all(group, wanted, stopping)

    async def _send_all(self, group: str, wanted: list[Notice], stopping: asyncio.Event) -> None:
        try:
            known = await self._outbox(group).progress(self._target.name)
            for told in wanted:
                if stopping.is_set():
                    return
                if (found := known.get(told.id)) is None:
                    await self._send(group, told)
                    continue
                self._tries[told.id] = max(found.tries, self._tries.get(told.id, 0))
                if found.state in {SENT, GIVEN_UP}:
                    self._done.add(told.id)
        except LocksmithError as error:
            log.debug("%s gets its notices later: %s", self._target.name, error)
        except Exception as error:  # noqa: BLE001 - the task must not end; the next cycle tries again
            log.error("a defect of the notifications to %s: %s: %s", self._target.name, type(error).__name__, error)  # noqa: TRY400 - one line, no traceback

    async def _send(self, group: str, told: Notice) -> None:
        """Claim a notice, send it, and note how that ended."""
        outbox, loop, tries = self._outbox(group), asyncio.get_running_loop(), self._tries.get(told.id, 0) + 1
        asked = loop.time()
        claim = await outbox.claim(self._target.name, told, tries, self._clock())
        if claim is None:
            return
        self._tries[told.id] = tries
        if loop.time() - asked > CLAIM_TTL - SPARE:
            log.debug("the claim of %s for %s came too late: it ends by itself", told.id, self._target.name)
            return
        try:
            await self._delivery.send(told)
        except DeliveryError as error:
            state, ttl = self._failed(told, tries, str(error))
        else:
            state, ttl = SENT, KEPT_SENT
            self._failing = False
            self._counts.count(self._target.name, "sent")
        if state != FAILED:
            self._done.add(told.id)
        if not await outbox.note(claim, state, tries, self._clock(), ttl):
            log.warning("%s may have got %s twice: the claim had ended before it was sent", self._target.name, told.id)
        elif state == SENT:
            log.info("sent to %s: %s (%s)", self._target.name, told.headline, told.id)

    def _failed(self, told: Notice, tries: int, why: str) -> tuple[str, float]:
        """Count a failure; give what to note, and for how many seconds."""
        self._counts.count(self._target.name, "failed")
        name = self._target.name
        if tries > len(BACKOFF):
            self._counts.count(name, "given_up")
            log.error("%s did not get %s (%s), after %d tries: %s", name, told.headline, told.id, tries, why)
            return GIVEN_UP, KEPT_SENT
        pause = BACKOFF[tries - 1]
        if not self._failing:
            again = span(timedelta(seconds=pause))
            log.warning("%s did not get %s (%s): %s; tried again in %s", name, told.headline, told.id, why, again)
        self._failing = True
        return FAILED, pause


async def _until(stopping: asyncio.Event, limit: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            await stopping.wait()


@asynccontextmanager
async def notifying(
    config: Config, paths: Paths, counts: NoticeCounts, reads: Callable[[str], Store] | None = None
) -> AsyncIterator[None]:
    """Run the notifications meanwhile, if there is a target. `MissingLibraryError`: they need apprise.

    `reads` gives where a group is read: a mirror may lag (None: in the store itself).
    """
    if not config.notify.targets:
        yield
        return
    refuse_missing_library()
    # A store of its own: what hangs here must hold up no client.
    store = open_observed(config.store, following(config.store, config.server.groups))
    notifications = Notifications(
        config,
        store,
        server=f"{read_hostname(paths)} ({os.getpid()})",
        clock=local_clock(),
        counts=counts,
        view=(lambda group: read_group(reads(group), group)) if reads else None,
    )
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
