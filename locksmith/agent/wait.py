"""What wakes the loop, and how long it sleeps at most."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime

from locksmith.agent.facts import Stage
from locksmith.agent.memory import Memory
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Idle, Wait
from locksmith.agent.strategies import Strategies
from locksmith.lock.answer import Denied
from locksmith.lock.arrival import RETRY
from locksmith.util.ratelimit import RateLimit

log = logging.getLogger(__name__)

PACE = 0.2
"""Seconds to pause between two cycles if there are too many: the loop does not spin, though events wake it."""
FIRST_LOOK, LONGEST_LOOK = 0.05, 5.0
"""Seconds between two checks of the health of a machine that has just booted: at first, and at most."""
OPERATOR_LOOK = 5.0
"""Seconds between two checks whether a `locksmithctl` has ended: no event tells that."""


class Waiter:
    """Sleeps between two cycles, until an event, a denied request or the time gives a reason to observe again."""

    def __init__(self, heartbeat: float, clock: Callable[[], datetime], memory: Memory, strategies: Strategies) -> None:
        self._heartbeat = heartbeat
        self._clock = clock
        self._memory = memory
        self._strategies = strategies
        self._woken = asyncio.Event()
        self._pace = RateLimit(burst=20, per_second=1 / PACE)

    def wake(self) -> None:
        """End the sleep now, or the next sleep at once."""
        self._woken.set()

    def start(self) -> None:
        """Start a cycle: it observes what has woken the loop before."""
        self._woken.clear()

    async def sleep(self, step: Wait | Idle, snapshot: Snapshot | None) -> None:
        """Sleep until woken, until the step's time, or for a heartbeat; then every question is asked again."""
        memory, limit = self._memory, self._heartbeat
        if isinstance(step, Wait) and step.until is not None:
            limit = min(limit, max(0.0, (step.until - self._clock()).total_seconds()))
        if isinstance(step, Wait) and step.code == "verifying":
            limit = min(limit, LONGEST_LOOK, FIRST_LOOK * 2.0 ** min(memory.claim.looks, 8))
            memory.claim.looks += 1
        if isinstance(step, Wait) and step.code == "operator":
            limit = min(limit, OPERATOR_LOOK)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._woken_or_changed(limit)
        memory.claim.answer = memory.claim.acknowledged = None
        seen = snapshot.stage if snapshot is not None else None
        if seen is not None and seen.over and seen.stage in {Stage.HEALTH, Stage.FINISH}:
            memory.claim.running = None
        if not self._pace.allows(asyncio.get_running_loop().time()):
            await asyncio.sleep(PACE)

    async def _woken_or_changed(self, limit: float) -> None:
        if not isinstance(self._memory.claim.answer, Denied) and self._memory.claim.acknowledged is not False:
            await self._woken.wait()
            return
        tasks = [asyncio.ensure_future(self._woken.wait()), asyncio.ensure_future(self._changed(limit))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _changed(self, limit: float) -> None:
        """Wait until another request may succeed; if the strategy cannot watch for that, wait a moment."""
        try:
            if await self._strategies.at(self._strategies.watched).changed(limit):
                return
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
            log.info("cannot watch for a free slot: %s", error)
            limit = RETRY
        await asyncio.sleep(limit)
