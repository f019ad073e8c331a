"""Prolongs the presence of a group's machines that call this server: many with one request.

An idle machine prolongs its presence every five minutes. With 10,000 machines that is a request every 30 ms, each for a
lease of its own. So what the mirror knows to stand unchanged is noted here, and prolonged with all others within
`EVERY` seconds.

The machine is told at once that this is done. That is a promise of this server alone, and may not be kept: the server
may be killed, or etcd may be away. The lease then lasts for what is left since the renewal before, which is longer than
the machine waits until the next: 900 seconds, less the 330 between two renewals, less `EVERY`. While etcd does not
answer, nothing more is promised here: each machine asks etcd itself, and hears what etcd says.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from locksmith.errors import StoreError
from locksmith.lock.records.node import TTL
from locksmith.server.group_mirror import Mirror
from locksmith.store.feed import Feeds
from locksmith.store.protocol import Entry, Store

log = logging.getLogger(__name__)

EVERY: Final = 30.0
"""Seconds between two requests that prolong."""


class SharedRenewals:
    """One group's. `promised` notes a renewal; `run` does the rest. Errors are logged, and tried again."""

    def __init__(self, store: Store, mirror: Mirror) -> None:
        self._store, self._mirror = store, mirror
        self._due: dict[str, Entry] = {}
        self._failing = False

    def promised(self, key: str, version: int, ttl: float) -> bool:
        """Note that a record of this version is to be prolonged; False: its lease is short, or the store is to say."""
        if self._failing or ttl < TTL or not self._mirror.freshness.current:
            return False
        entry = self._mirror.replica.get(key).entry
        if entry is None or entry.version != version or not entry.lease:
            return False
        self._due[key] = entry
        return True

    async def run(self) -> None:
        """Keep the promises until this is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self._prolong()
                self._failing = False
            except StoreError as error:
                if not self._failing:
                    log.warning("the presence of machines that call this server is not prolonged: %s", error)
                self._failing = True

    async def settle(self) -> None:
        """Keep the promises at once, as this server ends; what etcd does not do now is left."""
        with suppress(StoreError):
            await self._prolong()

    async def _prolong(self) -> None:
        store, due = self._store, self._due
        if not due or not isinstance(store, Feeds):
            return
        self._due = {}
        try:
            ended = await store.renew_many(tuple(due.values()), TTL)
        except BaseException:
            self._due = due | self._due
            raise
        for entry in ended:
            log.info("%s has expired before it was prolonged: its machine writes it again", entry.key)
