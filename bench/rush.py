"""`python -m bench.rush [--machines N] [--within S]`: many machines ask for the slot of one group at the same time.

Each makes its place by a daemon's own requests, over a connection of its own, with the store's limit for each call.
After a failure it tries again when the daemon's loop would. Where the line is long it looks later, as a daemon does.
All are clients in this one process, which takes its part of the same cores. What else a daemon asks before it stands in
line (its lock, its orders) is not in it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import click

from bench import crowd
from bench.lanes import Lane, open_lane
from bench.meters import Meters
from bench.raw import RawError
from locksmith.agent.wait import LONGEST_RETRY, RETRY, SOON
from locksmith.lock.queue import lasts
from locksmith.lock.queue_sight import KNOWN
from locksmith.store.settings import StoreSettings
from tests.harness.etcd import Etcd

T = TypeVar("T")

GROUP = "bench"
CALL_LIMIT = StoreSettings().timeout
"""Seconds that one call of the store may take."""
AWAY = (TimeoutError, OSError, EOFError, RawError)
"""How a call fails when etcd, or this process, has too much to do."""


@dataclass(slots=True)
class Rush:
    """What becomes of it: when each machine stood in line, and when it had looked, seconds after the first asked."""

    url: str
    rng: Random
    came: list[float] = field(default_factory=list)
    looked: list[float] = field(default_factory=list)
    failures: int = 0

    async def come(self, number: int, after: float) -> None:
        """Let one machine come, and look."""
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.sleep(after)
        place = await self._at_last(lambda lane: crowd.enter(lane, GROUP, number))
        self.came.append(clock() - began)
        if place.ahead > KNOWN:
            await asyncio.sleep(self.rng.uniform(0, lasts(place.ahead + 1)))
        await self._at_last(lambda lane: crowd.look(lane, GROUP, place))
        self.looked.append(clock() - began)

    async def _at_last(self, act: Callable[[Lane], Awaitable[T]]) -> T:
        """Try until it succeeds, with the pauses of the loop (loop.py)."""
        failures = 0
        while True:
            try:
                lane = await open_lane(self.url, CALL_LIMIT)
                try:
                    return await act(lane)
                finally:
                    lane.close()
            except AWAY:
                failures += 1
                self.failures += 1
            longer = min(LONGEST_RETRY, RETRY * 2.0 ** max(0, failures - SOON))
            await asyncio.sleep(RETRY if longer == RETRY else self.rng.uniform(longer / 2, longer))


@click.command()
@click.option("--machines", default=2000, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--within", default=1.0, show_default=True, type=click.FloatRange(0), help="Seconds in which all ask.")
@click.option("--limit", default=120.0, show_default=True, type=click.FloatRange(1), help="Seconds to watch, at most.")
def main(machines: int, within: float, limit: float) -> None:
    """See how long it takes until all stand in line, and what it costs etcd."""
    with Etcd() as etcd:
        asyncio.run(measure(etcd, machines, within, limit))


async def measure(etcd: Etcd, machines: int, within: float, limit: float) -> None:
    """Let all come, and tell."""
    meters, rng = Meters(etcd.endpoints[0]), Random(1)
    rush = Rush(etcd.endpoints[0], rng)
    before = meters.read()
    coming = [asyncio.ensure_future(rush.come(number, rng.uniform(0, within))) for number in range(machines)]
    await asyncio.wait(coming, timeout=limit)
    for task in coming:
        task.cancel()
    await asyncio.gather(*coming, return_exceptions=True)
    after = meters.read()
    print(
        f"{machines:,} machines ask within {within:g} s, seen for {limit:g} s at most; {rush.failures:,} calls failed"
    )
    for what, moments in (("stand in line", rush.came), ("know who is before them", rush.looked)):
        print(f"  {len(moments):,} {what}, the last after {max(moments, default=0):.1f} s")
    print(f"  etcd: {after.cpu - before.cpu:.1f} s of CPU, {after.memory:.0f} MiB resident;", end=" ")
    print(", ".join(f"{count:,} {method}" for method, count in after.since(before).items()))


if __name__ == "__main__":
    main()
