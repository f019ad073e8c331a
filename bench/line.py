"""A line before one slot: a few real waiters in front, a crowd behind, and the hand-overs from one to the next."""

import asyncio
import time
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from bench import crowd, fellows
from bench.child import Child
from bench.fellows import GRANTED, LOOKED, RELEASED
from bench.meters import Meters, Reading
from bench.recorder import Recorder
from locksmith.lock.queue_sight import KNOWN
from locksmith.lock.records import keys
from tests.harness.etcd import Etcd

LIMIT = 60.0
"""Seconds for one thing to happen."""
FRONT = 3
"""How many watch at least while slots are handed over: the recorder, the first, and the one after it."""
HOSTS = 2
"""How many processes the real waiters are in; neighbours are in different ones."""
LOOKS_AT_V2 = "look at the v2 keyspace"
"""Not one of etcd's gRPC methods: counted by the waiters."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """One: seconds from the write that freed the slot to the write that took it, and from call to return.

    `requests` are etcd's, by method, from before the give-back until the next ones in line watch again.
    """

    slot_free: float
    whole: float
    requests: dict[str, int]


class QueuePosition:
    """`waiters` in line for the one slot of a group, behind the one who holds it; whoever had it stands at the end."""

    def __init__(self, etcd: Etcd, group: str, waiters: int, real: int) -> None:
        self._group = group
        self._waiters = waiters
        self._meters = Meters(etcd.endpoints[0])
        self._recorder = Recorder(etcd, keys.semaphore_key(group))
        self._hosts = [Child(fellows.__name__, etcd.endpoints[0], group) for _ in range(HOSTS)]
        self._order = deque(range(min(real, waiters) + 1))
        behind = waiters + 1 - len(self._order)
        self._crowd = Child(crowd.__name__, etcd.endpoints[0], group, str(behind), str(len(self._order) - 1))
        self._news: dict[int, tuple[str, float]] = {}
        self._looks = 0
        self._happened = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Let all come, in order."""
        self._stack.enter_context(self._recorder)
        for host in self._hosts:
            await self._stack.enter_async_context(host)
            listening = asyncio.ensure_future(self._listen(host))
            self._stack.callback(listening.cancel)
        for number in self._order:
            await self._ask(number)
        await self._stack.enter_async_context(self._crowd)
        assert await self._crowd.hear() == "ready", "the crowd did not come"
        # Those near the front watch the place before their own, and the real ones of them the semaphore. The first has
        # no place before its own; the recorder is one watcher more.
        near, real = min(KNOWN, self._waiters), min(KNOWN, len(self._order) - 1)
        await self._settled(near + real)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let all go."""
        await self._stack.aclose()

    def keep_up(self) -> None:
        """Let the crowd prolong its places and look at the line from now on, as real waiters do all the time."""
        self._crowd.tell("upkeep")

    def reading(self) -> Reading:
        """Read etcd's own figures."""
        return self._meters.read()

    async def hand_over(self) -> HandOver:
        """Let the holder give its slot back, the next one take it, and the holder stand at the end of the line."""
        holder, following = self._order[0], self._order[1]
        seen, before, looks = len(self._recorder.written), self.reading(), self._looks
        began = time.monotonic()
        self._tell(holder, "give-back")
        await self._hears(holder, RELEASED)
        granted_at = await self._hears(following, GRANTED)
        self._order.rotate(-1)
        await self._settled(min(before.watchers - 2, FRONT))
        requests = self.reading().since(before) | {LOOKS_AT_V2: self._looks - looks}
        await asyncio.to_thread(self._recorder.wait, lambda written: len(written) >= seen + 2, LIMIT)
        freed, taken = self._recorder.written[seen : seen + 2]
        await self._ask(holder)
        # Where the line is long, it stands far back, and the next one comes near some time later.
        await self._settled(min(before.watchers - 2 * (self._waiters > KNOWN), FRONT))
        return HandOver(taken.at - freed.at, granted_at - began, requests)

    async def _ask(self, number: int) -> None:
        """Let one ask, and wait until it has got an answer."""
        self._news.pop(number, None)
        self._tell(number, "ask")
        await self._hears(number)

    def _tell(self, number: int, order: str) -> None:
        self._hosts[number % HOSTS].tell(f"{order} {number}")

    async def _hears(self, number: int, *wanted: str) -> float:
        """Wait until one hears something, or what is wanted; say when it did."""
        async with asyncio.timeout(LIMIT):
            while number not in self._news or (wanted and self._news[number][0] not in wanted):
                self._happened.clear()
                await self._happened.wait()
        return self._news[number][1]

    async def _listen(self, host: Child) -> None:
        while line := await host.hear():
            news, number, at = line.split()
            if news == LOOKED:
                self._looks += 1
            else:
                self._news[int(number)] = (news, float(at))
                self._happened.set()

    async def _settled(self, watchers: int) -> None:
        """Wait until the first in line waits for the slot, and so many watches stand."""
        await self._hears(self._order[1], "slot")
        ends = time.monotonic() + LIMIT
        while (seen := self.reading().watchers) < watchers:
            assert time.monotonic() < ends, f"{seen} watch, instead of {watchers}"
            await asyncio.sleep(0.01)
