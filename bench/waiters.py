"""`python -m bench.waiters [--up-to N]`: what a long line costs etcd: its memory, and a look from the end.

Real: etcd on v3, places with their tickets and leases, watches of the first ones, and the look of the daemon itself.
Those who wait are one process (crowd.py), and its few connections are not the ten thousand of as many machines.
"""

import asyncio
import statistics
import time
from dataclasses import dataclass

import click

from bench import crowd
from bench.child import Child
from bench.lanes import open_lane
from bench.meters import Meters
from locksmith.lock.queue_sight import QueueSight
from locksmith.store.connect import open_store
from tests.harness.etcd import Etcd

SIZES = (10, 100, 1_000, 10_000, 100_000)
AIMS = {10_000: 60.0, 100_000: 600.0}
"""MiB that so many waiters may cost etcd, above what it has with ten."""
LOOKS = 200
LOOK_FROM = 100
"""With how many waiters a look costs as much as with more."""
UPKEEP = 20.0
"""Seconds for which the crowd keeps up."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Memory in MiB, one look from the end in milliseconds, and etcd's share of a core while the line is kept up."""

    memory: float
    look: float
    upkeep: float


@click.command()
@click.option("--up-to", default=SIZES[-1], show_default=True, type=click.IntRange(10), help="The longest line.")
def main(up_to: int) -> None:
    """Measure lines of several lengths."""
    print("waiters   etcd MiB  above 10   a look from the end   to that at 100   a core, kept up", flush=True)
    costs: dict[int, Cost] = {}
    for size in (size for size in SIZES if size <= up_to):
        with Etcd() as etcd:
            cost = costs[size] = asyncio.run(measure(etcd, size))
        above, times = cost.memory - costs[SIZES[0]].memory, cost.look / costs.get(LOOK_FROM, cost).look
        print(
            f"{size:7,} {cost.memory:10.0f} {above:9.0f} {cost.look:18.2f} ms {times:16.2f} {100 * cost.upkeep:16.1f} %"
        )
        if size in AIMS:
            print(f"  aim {AIMS[size]:g} MiB: {'met' if above <= AIMS[size] else 'MISSED'}", flush=True)


async def measure(etcd: Etcd, size: int) -> Cost:
    """Let so many come, and look."""
    url, meters = etcd.endpoints[0], Meters(etcd.endpoints[0])
    async with Child(crowd.__name__, url, "bench", str(size), "0") as waiting:
        assert await waiting.hear() == "ready", "the crowd did not come"
        lane = await open_lane(url)
        last = await crowd.enter(lane, "bench", size)
        look = await _view(etcd, last)
        lane.close()
        waiting.tell("upkeep")
        before = meters.read()
        await asyncio.sleep(UPKEEP)
        after = meters.read()
        return Cost(after.memory, look, (after.cpu - before.cpu) / UPKEEP)


async def _view(etcd: Etcd, last: crowd.Place) -> float:
    """Time looks of a daemon's own from the end of the line, after the first, which finds out how far to look."""
    store = open_store(etcd.settings())
    sight, taken = QueueSight(store, "bench"), []
    sight.entered(last.ahead, 1)
    for _ in range(LOOKS):
        began = time.perf_counter()
        await sight.observe(last.entry)
        taken.append(1000 * (time.perf_counter() - began))
    await store.close()
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
