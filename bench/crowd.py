"""A crowd of waiters in a process of its own: real places in line, each with a raw watch on the one before its own.

`python -m bench.crowd URL GROUP COUNT` says `ready` when all of them stand there. A line `upkeep` on its standard input
lets them prolong their places and look at the line again as often as real ones do, `quiet` lets them do nothing. It
ends with its standard input.
"""

import asyncio
import itertools
import sys
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from bench.raw import Raw
from locksmith import keys, waiter
from locksmith.fleet import REBOOT, Claim
from locksmith.kv import etcd3
from locksmith.kv import etcd3_wire as wire
from locksmith.kv.store import ABSENT, Entry, Put
from locksmith.queue import KNOWN, LONGEST_LOOK_AFTER, LOOK_AFTER, LOOKS_PER_SECOND
from locksmith.surroundings import HEARTBEAT
from locksmith.waiter import Waiter

T = TypeVar("T")

TTL = 3600
"""Seconds: longer than a real place's, so that a crowd that is quiet for a while stays there."""
AT_ONCE = 50
"""How many requests are under way at once while the crowd comes."""
FIRST = 1_000_000
"""The number of the crowd's first machine; those before it are the benchmark's own."""


def claim(number: int) -> Claim:
    """Make the claim of a machine, with fields as long as a real one's."""
    return Claim(
        holder=uuid.UUID(int=number).hex,
        kind=REBOOT,
        nonce=uuid.uuid4().hex,
        since=datetime.now(UTC),
        who="locksmithd",
        hostname=f"node-{number:07}.example",
        boot_id=str(uuid.uuid4()),
        version="0.1.0",
        reason="update 4081.2.0",
    )


@dataclass(frozen=True, slots=True)
class Place:
    """One waiter's place, and the one it watches from a revision on."""

    entry: Entry
    before: str = ""
    revision: int = 0


@dataclass(slots=True)
class Crowd:
    """Waiters of one group."""

    raw: Raw
    group: str
    places: list[Place] = field(default_factory=list)
    streams: list[asyncio.StreamWriter] = field(default_factory=list)

    async def gather(self, count: int) -> None:
        """Let `count` waiters come, a few at a time."""
        self.places = await _few_at_a_time(self._stand(number) for number in range(count))
        self.streams = await _few_at_a_time(map(self._watch, self.places))

    async def keep_up(self) -> None:
        """Prolong each place once in a heartbeat, and look again as often as the whole line does."""
        count = len(self.places)
        look_after = min(LONGEST_LOOK_AFTER, max(LOOK_AFTER, count / LOOKS_PER_SECOND))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._at_rate(count / HEARTBEAT, self._renew))
            tasks.create_task(self._at_rate(count / look_after, self.look))

    async def enter(self, number: int) -> Place:
        """Let one make its place."""
        member = claim(FIRST + number)
        lease = wire.lease_id(await self.raw.call(etcd3.GRANT, {"TTL": str(TTL)}))
        put = Put(waiter.waiter_key(self.group, member), waiter.encode(Waiter.of(member)), ABSENT)
        done = wire.committed(await self.raw.call(etcd3.TXN, wire.transaction([put], lease)), [put])
        return Place(Entry(put.key, put.value, done.revision, done.created, lease))

    async def count(self) -> int:
        """Count the line."""
        return wire.counted(await self.raw.call(etcd3.RANGE, wire.count_request(keys.waiters_prefix(self.group))))

    async def look(self, place: Place) -> Place:
        """Let one look at the line, and see who is before it."""
        request = wire.list_request(keys.waiters_prefix(self.group), KNOWN + 1, place.entry.created + 1)
        seen = wire.listing(await self.raw.call(etcd3.RANGE, request))
        before = seen.entries[-2].key if len(seen.entries) > 1 else ""
        return replace(place, before=before, revision=seen.revision)

    async def _stand(self, number: int) -> Place:
        return await self.look(await self.enter(number))

    async def _watch(self, place: Place) -> asyncio.StreamWriter:
        """Open the watch, and return once it stands; whatever it says later, nobody listens."""
        return await self.raw.open_stream(etcd3.WATCH, wire.watch_request(wire.one(place.before), place.revision))

    async def _renew(self, place: Place) -> None:
        await self.raw.call(etcd3.KEEP_ALIVE, {"ID": str(place.entry.lease)})

    async def _at_rate(self, per_second: float, act: Callable[[Place], Coroutine[Any, Any, object]]) -> None:
        """Let one after another act, evenly, whether or not the one before has done."""
        clock = asyncio.get_running_loop().time
        began = clock()
        async with asyncio.TaskGroup() as tasks:
            for number, place in enumerate(itertools.cycle(self.places)):
                await asyncio.sleep(max(0.0, began + number / per_second - clock()))
                tasks.create_task(act(place))


async def _few_at_a_time(jobs: Iterable[Awaitable[T]]) -> list[T]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(job: Awaitable[T]) -> T:
        async with gate:
            return await job

    return await asyncio.gather(*map(one, jobs))


async def main(url: str, group: str, count: int) -> None:
    """Stand in line, and do as told."""
    crowd = Crowd(Raw(url), group)
    await crowd.gather(count)
    print("ready", flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    upkeep: asyncio.Task[None] | None = None
    while order := (await orders.readline()).strip():
        if upkeep is not None:
            upkeep.cancel()
        upkeep = asyncio.create_task(crowd.keep_up()) if order == b"upkeep" and crowd.places else None


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
