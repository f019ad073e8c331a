"""`python -m bench.rush [--machines N] [--within S]`: many machines ask for the slot of one group at the same time.

Each does what a daemon does that begins to wait: it makes its place, counts the line, and looks who is before it, at
once or where the line is long some time later. Each call has the store's limit; after a failure it tries again when the
daemon's loop would. All are clients in this one process, which takes its part of the same cores.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import click

from bench.crowd import Crowd
from bench.meters import Meters
from bench.raw import Raw, RawError
from locksmith.agent import LONGEST_RETRY, RETRY, SOON
from locksmith.kv.settings import StoreSettings
from locksmith.queue import KNOWN, lasts
from tests.harness.etcd import Etcd

T = TypeVar("T")

CALL_LIMIT = StoreSettings().timeout
"""Seconds that one call of the store may take."""
AWAY = (TimeoutError, OSError, EOFError, RawError)
"""How a call fails when etcd, or this process, has too much to do."""


@dataclass(slots=True)
class Rush:
    """What becomes of it: when each machine stood in line, and when it had looked, seconds after the first asked."""

    crowd: Crowd
    rng: Random
    came: list[float] = field(default_factory=list)
    looked: list[float] = field(default_factory=list)
    failures: int = 0

    async def come(self, number: int, after: float) -> None:
        """Let one machine come, and look."""
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.sleep(after)
        place = await self._at_last(lambda: self.crowd.enter(number))
        waiters = await self._at_last(self.crowd.count)
        self.came.append(clock() - began)
        if waiters > KNOWN:
            await asyncio.sleep(self.rng.uniform(0, lasts(waiters)))
        await self._at_last(lambda: self.crowd.look(place))
        self.looked.append(clock() - began)

    async def _at_last(self, act: Callable[[], Awaitable[T]]) -> T:
        """Try until it succeeds, with the pauses of the loop (agent.py)."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(CALL_LIMIT):
                    return await act()
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
    rush = Rush(Crowd(Raw(etcd.endpoints[0]), "bench"), rng)
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
