"""A crowd of waiters in a process of its own: real places in line; the first of the line watch the one before.

`python -m bench.crowd URL GROUP COUNT AHEAD` says `ready` when all of them stand there, behind AHEAD others. A line
`upkeep` on its standard input lets them prolong their places and look at the line again as often as real ones do,
`quiet` lets them do nothing. It ends with its standard input.
"""

import asyncio
import itertools
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from bench.lanes import Lane, open_lane
from bench.raw import Raw
from locksmith.agent.ports import HEARTBEAT
from locksmith.lock import places, queue
from locksmith.lock.queue_sight import GROWTH, KNOWN, LONG, SPAN
from locksmith.lock.records import keys, node, states, waiter
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.node import Node
from locksmith.lock.records.waiter import Waiter
from locksmith.store import etcd3
from locksmith.store import etcd3_wire as wire
from locksmith.store.protocol import ABSENT, Check, Entry, Put

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
    """One waiter's place, how many were right before it then, and from where on it counts them."""

    entry: Entry
    number: int
    ahead: int
    low: int = 0


async def enter(lane: Lane, group: str, number: int) -> Place:
    """Let one make its place, by the requests of a real one."""
    member = claim(FIRST + number)
    lease, at = wire.granted(await lane.post(etcd3.GRANT, {"TTL": str(TTL)}))
    place = Put(places.place_key(group, member, at), waiter.encode(Waiter.of(member, "1", 90)), ABSENT)
    changes: list[Put | Check] = [
        place,
        Put(places.ticket_key(group, member), str(at).encode(), ABSENT),
        Check(places.older_key(group, member), ABSENT),
    ]
    between = wire.range_request(places.bound(group, max(0, at - SPAN)), place.key, 0, 0) | {"count_only": True}
    fields = wire.transaction(changes, lease, leased=2, counting=between)
    done, ahead = wire.entered(await lane.post(etcd3.TXN, fields), changes)
    return Place(Entry(place.key, b"", done.revision, done.created, lease), at, ahead)


async def check(lane: Lane, group: str, number: int) -> None:
    """Let one look whether it has a slot already, by the request of a real one."""
    mine = keys.holder_key(group, claim(FIRST + number).holder)
    await lane.post(etcd3.TXN, wire.reads([keys.semaphore_key(group), mine]))


async def show(lane: Lane, group: str, number: int) -> None:
    """Let one show its group that it waits, by the requests of a real one."""
    member, now = claim(FIRST + number), datetime.now(UTC)
    record = Node(
        machine_id=member.holder,
        hostname=member.hostname,
        boot_id=member.boot_id,
        group=group,
        strategy="etcd-lock",
        state=states.WAITING,
        since=now,
        version=member.version,
        code="queue",
        reason="queued for a slot",
        need="update_engine",
        need_version=member.version,
        need_since=now,
    )
    lease, _ = wire.granted(await lane.post(etcd3.GRANT, {"TTL": str(TTL)}))
    # Whether this is its first word or another is the same to etcd.
    put = Put(keys.node_key(group, member.holder), node.encode(record), ABSENT)
    await lane.post(etcd3.TXN, wire.transaction([put], lease))


async def look(lane: Lane, group: str, place: Place) -> Place:
    """Let one that stands far back look how many are before it, by the requests of a real one."""
    await lane.post(etcd3.TXN, wire.reads([place.entry.key, keys.semaphore_key(group)]))
    low, span = place.low or max(0, place.number - SPAN), SPAN
    while True:
        request = wire.range_request(places.bound(group, low), place.entry.key + "\0", 1, 0)
        seen = wire.in_order(await lane.post(etcd3.RANGE, request))
        if low == 0 or seen.total > LONG:
            return replace(place, low=low)
        span *= GROWTH
        low = max(0, place.number - span)


@dataclass(slots=True)
class Crowd:
    """Waiters of one group, behind `ahead` others."""

    url: str
    group: str
    ahead: int = 0
    places: list[Place] = field(default_factory=list)
    streams: list[asyncio.StreamWriter] = field(default_factory=list)
    lanes: asyncio.Queue[Lane] = field(default_factory=asyncio.Queue)

    async def gather(self, count: int) -> None:
        """Let `count` waiters come, a few at a time."""
        for _ in range(AT_ONCE):
            self.lanes.put_nowait(await open_lane(self.url))
        for numbers in _batches(count):
            self.places += await asyncio.gather(*(self._enter(number) for number in numbers))
        self.places.sort(key=lambda place: place.number)
        near, now = (
            self.places[: max(0, KNOWN - self.ahead)],
            max((one.entry.version for one in self.places), default=0),
        )
        for before, _ in itertools.pairwise(near):
            self.streams.append(await self._watch(before, now))

    async def keep_up(self) -> None:
        """Prolong each place, and look again, as often as the whole line does."""
        renew, again = 0.0, 0.0
        for place in range(self.ahead + 1, self.ahead + len(self.places) + 1):
            renew += 1 / (queue.KEEP_FAR_AFTER if place > LONG else HEARTBEAT)
            again += 1 / (0.85 * queue.lasts(place))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._at_rate(renew, self._renew))
            tasks.create_task(self._at_rate(again, self._view))

    @asynccontextmanager
    async def _lane(self) -> AsyncIterator[Lane]:
        lane = await self.lanes.get()
        try:
            yield lane
        finally:
            self.lanes.put_nowait(lane)

    async def _enter(self, number: int) -> Place:
        async with self._lane() as lane:
            return await enter(lane, self.group, number)

    async def _view(self, place: Place) -> None:
        async with self._lane() as lane:
            await look(lane, self.group, place)

    async def _watch(self, before: Place, revision: int) -> asyncio.StreamWriter:
        """Open the watch, and return once it stands; whatever it says later, nobody listens."""
        request = wire.watch_request(wire.one(before.entry.key), revision)
        return await Raw(self.url).open_stream(etcd3.WATCH, request)

    async def _renew(self, place: Place) -> None:
        async with self._lane() as lane:
            await lane.post(etcd3.KEEP_ALIVE, {"ID": str(place.entry.lease)})

    async def _at_rate(self, per_second: float, act: Callable[[Place], Coroutine[Any, Any, object]]) -> None:
        """Let one after another act, evenly, whether or not the one before has done."""
        clock = asyncio.get_running_loop().time
        began = clock()
        async with asyncio.TaskGroup() as tasks:
            for number, place in enumerate(itertools.cycle(self.places)):
                await asyncio.sleep(max(0.0, began + number / per_second - clock()))
                tasks.create_task(act(place))


def _batches(count: int) -> list[Sequence[int]]:
    size = 1000
    return [range(start, min(count, start + size)) for start in range(0, count, size)]


async def main(url: str, group: str, count: int, ahead: int) -> None:
    """Stand in line, and do as told."""
    crowd = Crowd(url, group, ahead)
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
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
