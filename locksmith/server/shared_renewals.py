"""Prolongs the presence of a group's machines that call this server: many with one request.

An idle machine prolongs its presence every five minutes. With 10,000 machines that is a request every 30 ms, each for a
lease of its own. So what the mirror knows to stand unchanged is noted here, and prolonged with others within `EVERY`
seconds, or twice that while etcd is slow.

The machine is told at once that this is done. That is a promise of this server alone, and may not be kept: the server
may be killed, or etcd may be away. The lease then lasts for what is left since the renewal before, which is longer than
the machine waits until the next: 900 seconds, less the 330 between two renewals, less twice `EVERY`. While etcd does
not answer, or is too slow, nothing more is promised here: each machine asks etcd itself, and hears what etcd says.

A machine that is there has called again after `CALLS_AGAIN` seconds. A promise that is older is dropped: it would show
a machine that may be gone.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from locksmith.errors import StoreError, StoreUnavailableError
from locksmith.lock.records.node import TTL
from locksmith.server.group_mirror import Mirror
from locksmith.store.feed import Feeds
from locksmith.store.protocol import Entry, Store

log = logging.getLogger(__name__)

EVERY: Final = 30.0
"""Seconds between two rounds that prolong, and for each at most."""
CALLS_AGAIN: Final = 330.0
"""Seconds between two calls of a machine to prolong its presence, at most."""
AT_ONCE: Final = 200
"""How many are prolonged, or are tried again, together."""


@dataclass(frozen=True, slots=True)
class _Promise:
    entry: Entry
    given: float


class SharedRenewals:
    """One group's. `promised` notes a renewal; `run` does the rest. Errors are logged, and tried again."""

    def __init__(self, store: Store, mirror: Mirror) -> None:
        self._store, self._mirror = store, mirror
        self._due: dict[str, _Promise] = {}
        self._failing = False
        self._round = asyncio.Lock()

    def promised(self, key: str, version: int, ttl: float) -> bool:
        """Note that a record of this version is to be prolonged; False: its lease is short, or the store is to say."""
        if self._failing or ttl < TTL or not self._mirror.freshness.current:
            return False
        entry = self._mirror.replica.get(key).entry
        if entry is None or entry.version != version or not entry.lease:
            return False
        self._due[key] = _Promise(entry, _now())
        return True

    async def run(self) -> None:
        """Keep the promises until this is cancelled."""
        begins = _now()
        while True:
            begins = max(begins + EVERY, _now())
            await asyncio.sleep(begins - _now())
            try:
                await self._prolong()
                self._failing = False
            except StoreError as error:
                if not self._failing:
                    log.warning("the presence of machines that call this server is not prolonged: %s", error)
                self._failing = True
            except Exception:
                log.exception("a defect of locksmith-server: the presence of machines is not prolonged")
                self._failing = True

    async def settle(self) -> None:
        """Keep the promises at once, as this server ends; what etcd does not do now is left."""
        with suppress(StoreError):
            await self._prolong()

    async def _prolong(self) -> None:
        if not isinstance(store := self._store, Feeds):
            return
        async with self._round:
            try:
                async with asyncio.timeout(EVERY):
                    await self._keep_all(store)
            except TimeoutError:
                raise StoreUnavailableError(f"etcd has not prolonged all within {EVERY:g} s") from None

    async def _keep_all(self, store: Feeds) -> None:
        lapsed = _now() - CALLS_AGAIN
        self._due = {key: promise for key, promise in self._due.items() if promise.given > lapsed}
        due = tuple(self._due.items())
        for start in range(0, len(due), AT_ONCE):
            some = due[start : start + AT_ONCE]
            ended = await store.renew_many([promise.entry for _, promise in some], TTL)
            for key, promise in some:
                if self._due.get(key) is promise:
                    del self._due[key]
            for entry in ended:
                log.info("%s was not prolonged: since its machine called, it has expired or was removed", entry.key)


def _now() -> float:
    return asyncio.get_running_loop().time()
