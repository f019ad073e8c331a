"""Turns of the lock, as a daemon takes them: a place in line, a take, a commit, a give-back."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import groupby
from random import Random
from typing import TypeVar

from locksmith.errors import StoreError
from locksmith.lock.admission import GroupRules
from locksmith.lock.answer import Granted
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.incident import HaltAfter
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.settings import StoreSettings
from tests.contract.daemons import Moment

T = TypeVar("T")

NO_HALT = GroupRules(halt_after=HaltAfter(0))
"""Nobody shows its presence here, so whoever is past its commit would count as lost, and halt the others."""


def new_claim(name: str) -> Claim:
    """Make a claim of a machine, with a nonce of its own."""
    return Claim(name, REBOOT, f"{name}-{uuid.uuid4()}", datetime.now(UTC).replace(microsecond=0), "locksmithd")


@asynccontextmanager
async def open_lock(settings: StoreSettings, group: str, seed: int = 1) -> AsyncIterator[QueuedLock]:
    """Open the lock of a group, with the line before it, for one machine."""
    store = Etcd3Store(settings)
    lock = RebootLock(store, group, rng=Random(seed), rules=NO_HALT)
    queued = QueuedLock(lock, Queue(store, group, rng=Random(seed)))
    try:
        yield queued
    finally:
        await queued.close()


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Do what a daemon does: ask again, as long as the store does not say."""
    while True:
        try:
            return await act()
        except StoreError:
            await asyncio.sleep(0.01)


async def turn(lock: QueuedLock, mine: Claim, limit: float = 45.0, together: asyncio.Barrier | None = None) -> None:
    """Take the slot, pass the point of no return, and give it back; `together`: once others have theirs too."""
    async with asyncio.timeout(limit):
        while not isinstance(await insist(lambda: lock.take(mine)), Granted):
            await insist(lambda: lock.changed(0.5))
        if together is not None:
            await together.wait()
        assert isinstance(await insist(lambda: lock.commit(mine)), Granted)
        await insist(lambda: lock.release(mine.committed(), fence_pending=True, why="rebooted"))


def story(name: str, history: list[Moment]) -> list[str]:
    """Tell how the lock went for one machine: `held`, `committed`, `free`, and so on."""
    states = [moment.states.get(name, "no record") if name in moment.holders else "free" for moment in history]
    told = [state for state, _ in groupby(states)]
    return told[1:] if told[0] == "free" else told


TURN = ["held", "committed", "free"]
"""The story of a turn."""
