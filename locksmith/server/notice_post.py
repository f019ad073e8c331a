"""Sends the notices of all groups to one target: each is claimed in the store, sent, and noted.

Each target has a task of its own, so one that hangs or fails holds up no other, and nothing else of the server.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import product
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from locksmith.errors import LocksmithError
from locksmith.lock.records.notice import Notice
from locksmith.server.delivery import Delivery, DeliveryError
from locksmith.server.outbox import CLAIM_TTL, FAILED, GIVEN_UP, KEPT_SENT, SENT, Outbox
from locksmith.util.words import span

log = logging.getLogger(__name__)

BACKOFF: Final = (30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0, 1800.0)
"""Seconds until a notice that a target did not take is tried again. After as many tries and one more, no further."""
SPARE: Final = 25.0
"""Seconds that a claim must still last when its send begins: for the send, and for a slow loop."""
OUTCOMES: Final = ("sent", "failed", "given_up")


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


class Post:
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
