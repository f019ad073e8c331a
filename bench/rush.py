"""`python -m bench.rush [--machines N] [--within S]`: many machines ask for the slot of one group at the same time.

Each does what a daemon does that begins to wait: it makes its place, and looks who is before it, each call within the
store's limit; after a failure it tries again when the daemon's loop would. All are clients in this one process, which
takes its part of the same cores.
"""

import asyncio
from dataclasses import dataclass, field
from random import Random

import click

from bench.crowd import Crowd, Place
from bench.meters import Meters
from bench.raw import Raw, RawError
from locksmith.agent import RETRY
from locksmith.kv.settings import StoreSettings
from tests.harness.etcd import Etcd

CALL_LIMIT = StoreSettings().timeout
"""Seconds that one call of the store may take."""
AWAY = (TimeoutError, OSError, EOFError, RawError)
"""How a call fails when etcd, or this process, has too much to do."""


@dataclass(slots=True)
class Rush:
    """What becomes of it: when each machine stood in line and knew who was before it, in seconds."""

    crowd: Crowd
    came: list[float] = field(default_factory=list)
    failures: int = 0

    async def come(self, number: int, after: float) -> None:
        """Let one machine come, and try until it stands in line."""
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.sleep(after)
        place: Place | None = None
        while place is None or not place.revision:
            try:
                async with asyncio.timeout(CALL_LIMIT):
                    place = place or await self.crowd.enter(number)
                async with asyncio.timeout(CALL_LIMIT):
                    place = await self.crowd.look(place)
            except AWAY:
                self.failures += 1
                await asyncio.sleep(RETRY)
        self.came.append(clock() - began)


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
    meters, rush, rng = Meters(etcd.endpoints[0]), Rush(Crowd(Raw(etcd.endpoints[0]), "bench")), Random(1)
    before = meters.read()
    coming = [asyncio.ensure_future(rush.come(number, rng.uniform(0, within))) for number in range(machines)]
    await asyncio.wait(coming, timeout=limit)
    for task in coming:
        task.cancel()
    await asyncio.gather(*coming, return_exceptions=True)
    after = meters.read()
    print(f"{machines:,} machines ask within {within:g} s: {len(rush.came):,} stand in line", end=" ")
    print(f"after {max(rush.came, default=0):.1f} s (watched for at most {limit:g} s); {rush.failures:,} calls failed")
    print(f"  etcd: {after.cpu - before.cpu:.1f} s of CPU, {after.memory:.0f} MiB resident;", end=" ")
    print(", ".join(f"{count:,} {method}" for method, count in after.since(before).items()))


if __name__ == "__main__":
    main()
