"""One process that wants the lock again and again, as a machine would: it asks, watches while it must, gives back."""

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING

from locksmith.errors import LocksmithError
from locksmith.lock.connect import open_lock
from locksmith.lock.errors import SlotsBusyError
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.store.meter import Meter
from locksmith.store.settings import StoreSettings

if TYPE_CHECKING:
    from multiprocessing.queues import Queue  # only in annotations can it be subscripted

START_LIMIT = 120.0
"""Seconds until all processes of a contest are there."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What is fought for, and for how long, in seconds."""

    settings: StoreSettings
    group: str
    seconds: float


@dataclass(slots=True)
class Turn:
    """One slot held; all times in seconds of the machine's monotonic clock, which is one for all processes.

    `tried` is when the take that won began.
    """

    asked: float
    tried: float = 0.0
    taken: float = 0.0
    giving: float = 0.0
    given: float = 0.0

    @property
    def work(self) -> float:
        """How long the take that won and the give-back took together."""
        return self.taken - self.tried + self.given - self.giving

    @property
    def whole(self) -> float:
        """How long it took from the wish to having given back."""
        return self.given - self.asked


@dataclass(slots=True)
class Tally:
    """What one process has to tell. `denied` counts the takes that found no slot free."""

    turns: list[Turn] = field(default_factory=list)
    lost_races: int = 0
    denied: int = 0
    failure: str = ""


class Races(Meter):
    """Counts the races that were lost."""

    lost = 0

    def lost_race(self) -> None:
        """Count one."""
        self.lost += 1


def run(contest: Contest, start: Barrier, tallies: "Queue[Tally]") -> None:
    """Contend from the moment all others are there, and tell how it went."""
    tally = Tally()
    try:
        start.wait(START_LIMIT)
        asyncio.run(_contend(contest, tally))
    except (LocksmithError, threading.BrokenBarrierError) as error:
        tally.failure = f"{type(error).__name__}: {error}"
    tallies.put(tally)


async def _contend(contest: Contest, tally: Tally) -> None:
    races = Races()
    lock = open_lock(contest.settings, contest.group, races)
    ends = time.monotonic() + contest.seconds
    for claim in _claims():
        turn = Turn(asked=time.monotonic())
        if not await _take(lock, claim, turn, tally, ends):
            break
        turn.giving = time.monotonic()
        await lock.release(claim)
        turn.given = time.monotonic()
        tally.turns.append(turn)
    tally.lost_races = races.lost
    await lock.close()


async def _take(lock: RebootLock, claim: Claim, turn: Turn, tally: Tally, ends: float) -> bool:
    """Take a slot, watching while none is free; False when the time is over before."""
    while (tried := time.monotonic()) < ends:
        try:
            await lock.take(claim)
        except SlotsBusyError as busy:
            tally.denied += 1
            await lock.wait(busy.revision, max(0.0, ends - time.monotonic()))
        else:
            turn.tried, turn.taken = tried, time.monotonic()
            return True
    return False


def _claims() -> Iterator[Claim]:
    holder = f"machine-{os.getpid()}"
    for number in itertools.count():
        yield Claim(holder, REBOOT, f"{holder}-{number}", datetime.now(UTC), hostname=holder)
