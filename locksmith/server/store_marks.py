"""What a server has seen of the store, for each group of FleetLock clients: it notices a store that went back in time.

A client remembers nothing of the store, so its server does, as the daemons do for themselves (host/watermark.py). A
server keeps nothing on a disk: what it has seen ends with it. Where the store was restored from a backup, no client of
the group gets a slot from this server until an operator's `resume`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from locksmith.daemon.store_check import check
from locksmith.errors import CorruptValueError, StoreError
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock import successor
from locksmith.lock.records import keys
from locksmith.server.cluster import open_observed
from locksmith.store.connect import open_store
from locksmith.store.protocol import Store
from locksmith.store.settings import StoreSettings

log = logging.getLogger(__name__)

CHECK_AFTER: Final = 30.0
"""Seconds between two reads of how the store stands. What other servers and daemons wrote is known after so long."""


class ServerMark(SeenRevision):
    """The watermark of one group, for as long as this server runs.

    A `resume` counts if it was ordered after the verdict. The clocks of the server and of the operator may differ, so
    the `resume` that was read with the verdict is remembered: a newer one came after it.
    """

    def __init__(
        self,
        settings: StoreSettings,
        group: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.who = f"this server (group {group})"
        self.resume = f"locksmithctl --group {group} resume"
        super().__init__(Paths(), settings.api, settings.endpoints, clock)
        self.clusters.resume = self.resume
        self._judged = False
        self._first: datetime | None = None
        """The last `resume` when the verdict was given."""

    def went_back(self, resumed: datetime | None) -> str:
        """Say why the store is not to be believed, with regard to the last `resume`; empty: the store is believed."""
        if self._seen.back is not None and not self._judged:
            self._judged, self._first = True, resumed
        verdict = super().went_back(resumed)
        self._judged = bool(verdict)
        return verdict

    def _is_new(self, resumed: datetime | None) -> bool:
        before = [moment for moment in (self._seen.resumed, self._first) if moment is not None]
        later = resumed is not None and resumed != self._first and all(resumed > moment for moment in before)
        return later or super()._is_new(resumed)

    def _load_raw(self) -> bytes:
        raise FileNotFoundError

    def _store_raw(self, raw: bytes) -> None:
        """Keep it in memory alone."""


class StoreMarks(Collector):
    """The marks of some groups, each with its own way to the store; the first call connects. It is a metric."""

    def __init__(self, settings: StoreSettings, groups: Iterable[str]) -> None:
        self.marks = {group: ServerMark(settings, group) for group in groups}
        self._stores: dict[str, Store] = {}
        for group, mark in self.marks.items():
            mark.clusters.successor = partial(successor.observe, partial(open_observed, settings), group, mark)
            self._stores[group] = open_store(settings, memory=mark, key=keys.semaphore_key(group))

    def store(self, group: str) -> Store:
        """Give the store whose answers are compared with what was seen for this group."""
        return self._stores[group]

    def collect(self) -> Iterator[Metric]:
        """Give the metric."""
        family = GaugeMetricFamily(
            "locksmith_server_store_went_back",
            "1 while this server grants no slot of the group, because it has seen the store go back in time.",
            labels=["group"],
        )
        for group, mark in self.marks.items():
            family.add_metric([group], bool(mark.verdict))
        yield family

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Read meanwhile how the store stands, now and then; let go of it in the end."""
        checking = asyncio.ensure_future(check_all(self._stores, self.marks))
        try:
            yield
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
            await asyncio.gather(*(store.close() for store in self._stores.values()))


async def check_all(stores: Mapping[str, Store], marks: Mapping[str, ServerMark]) -> None:
    """Read how the store of each group stands, every `CHECK_AFTER` seconds, until this is cancelled."""
    while True:
        for group, mark in marks.items():
            try:
                await check(stores[group], group, mark)
            except (StoreError, CorruptValueError) as error:
                log.debug("the store is not compared with what this server has seen of it: %s", error)
        await asyncio.sleep(CHECK_AFTER)
