"""A double of a legacy node: CoreOS locksmith on the v2 API, which knows the semaphore alone, and no record or queue.

It writes what Go's encoder writes. It releases its own slot at each start, and takes one when it needs a reboot. A
write that lost a race is an error there, after which it tries again later.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import urllib3

from tests.harness.etcd import Etcd


class LegacyNode:
    """One node. `run` is its life; `reboot` is called when it goes down, and returns when it is up again."""

    def __init__(
        self, etcd: Etcd, key: str, machine_id: str, reboot: Callable[[], Awaitable[None]], *, period: float
    ) -> None:
        self.id = machine_id
        self.reboots = 0
        self._url = f"{etcd.members[0].url}/v2/keys/{key}"
        self._reboot = reboot
        self._period = period
        self._needs = asyncio.Event()
        self._http = urllib3.PoolManager(retries=False)

    def need_reboot(self) -> None:
        """Have it reboot as soon as it gets a slot."""
        self._needs.set()

    async def run(self) -> None:
        """Live, from one boot to the next, until it is cancelled."""
        while True:
            await self._until(self._unlock)
            await self._needs.wait()
            await self._until(self._lock)
            self._needs.clear()
            await self._reboot()
            self.reboots += 1

    async def _until(self, act: Callable[[], bool]) -> None:
        while not await asyncio.to_thread(act):  # noqa: ASYNC110 - it polls
            await asyncio.sleep(self._period)

    def _unlock(self) -> bool:
        found, index = self._read()
        if self.id not in (found["holders"] or []):
            return True
        left = [holder for holder in found["holders"] if holder != self.id]
        return self._write(found["semaphore"] + 1, found["max"], left, index)

    def _lock(self) -> bool:
        found, index = self._read()
        holders = found["holders"] or []
        if found["semaphore"] <= 0 or self.id in holders:
            return False
        return self._write(found["semaphore"] - 1, found["max"], sorted([*holders, self.id]), index)

    def _read(self) -> tuple[dict[str, Any], int]:
        answer = self._http.request("GET", self._url, fields={"quorum": "true"}).json()
        found: dict[str, Any] = json.loads(answer["node"]["value"])
        return found, answer["node"]["modifiedIndex"]

    def _write(self, free: int, slots: int, holders: list[str], index: int) -> bool:
        value = json.dumps({"semaphore": free, "max": slots, "holders": holders}, separators=(",", ":"))
        answer = self._http.request(
            "PUT", self._url, fields={"value": value, "prevIndex": str(index)}, encode_multipart=False
        )
        return answer.status == 200
