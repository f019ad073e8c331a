"""`python -m bench.rush [--machines N] [--within S]`: many machines ask for the slot of one group at the same time.

Each asks by a daemon's own requests and by its own rule (arrival.py), with the store's limit for each call. It shows
its group that it waits; on a second connection it looks whether it has the slot, makes its place, and looks who is
before it. All are clients in this one process, which takes its part of the same cores.
`--unknown`: the machines have just started, and have not counted their group yet.
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
from locksmith.errors import ConflictError
from locksmith.lock import arrival
from locksmith.lock.arrival import Arrival
from locksmith.lock.presence import HOLD_OFF
from locksmith.lock.put_off import LONGEST_PUT_OFF
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
    """What becomes of it: when each machine was shown, stood in line, and had looked, in seconds since the first asked.

    `known` is how many machines the group has, as each of them knows; 0: none knows.
    """

    url: str
    rng: Random
    known: int
    shown: list[float] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    looked: list[float] = field(default_factory=list)
    failures: int = 0
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    async def come(self, number: int, after: float) -> None:
        """Let one machine want a slot."""
        await asyncio.sleep(after)
        await asyncio.gather(self._show(number), self._ask(number))

    async def _show(self, number: int) -> None:
        wide = arrival.spread(self.known)
        await asyncio.sleep(self.rng.uniform(0, wide))
        await self._at_last(
            lambda lane: crowd.show(lane, GROUP, number),
            lambda failures: HOLD_OFF + self.rng.uniform(0, min(LONGEST_PUT_OFF, arrival.wider(wide, failures))),
        )
        self._note(self.shown)

    async def _ask(self, number: int) -> None:
        async def enter(lane: Lane) -> crowd.Place | None:
            await crowd.check(lane, GROUP, number)
            try:
                return await crowd.enter(lane, GROUP, number)
            except ConflictError:
                return None  # it has its place: an answer was lost

        await asyncio.sleep(Arrival(self.rng).left(self.known, 0.0))
        place = await self._at_last(enter, lambda failures: arrival.pause(failures, self.rng, self.known))
        self._note(self.came)
        if place is None:
            return
        if place.ahead > KNOWN:
            await asyncio.sleep(self.rng.uniform(0, lasts(place.ahead + 1)))
        await self._at_last(
            lambda lane: crowd.look(lane, GROUP, place), lambda failures: arrival.pause(failures, self.rng)
        )
        self._note(self.looked)

    def _note(self, moments: list[float]) -> None:
        moments.append(asyncio.get_running_loop().time() - self.began)

    async def _at_last(self, act: Callable[[Lane], Awaitable[T]], pause: Callable[[int], float]) -> T:
        """Try on a new connection until it succeeds."""
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
            await asyncio.sleep(pause(failures))


@click.command()
@click.option("--machines", default=2000, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--within", default=1.0, show_default=True, type=click.FloatRange(0), help="Seconds in which all ask.")
@click.option("--limit", default=120.0, show_default=True, type=click.FloatRange(1), help="Seconds to watch, at most.")
@click.option("--unknown", is_flag=True, help="They do not know how many they are.")
def main(machines: int, within: float, limit: float, *, unknown: bool) -> None:
    """See how long it takes until all stand in line, and what it costs etcd."""
    with Etcd() as etcd:
        asyncio.run(measure(etcd, machines, within, limit, known=0 if unknown else machines))


async def measure(etcd: Etcd, machines: int, within: float, limit: float, *, known: int) -> None:
    """Let all come, and tell."""
    meters, rng = Meters(etcd.endpoints[0]), Random(1)
    before = meters.read()
    rush = Rush(etcd.endpoints[0], rng, known)
    coming = [asyncio.ensure_future(rush.come(number, rng.uniform(0, within))) for number in range(machines)]
    await asyncio.wait(coming, timeout=limit)
    for task in coming:
        task.cancel()
    await asyncio.gather(*coming, return_exceptions=True)
    after = meters.read()
    print(
        f"{machines:,} machines ask within {within:g} s, seen for {limit:g} s at most; {rush.failures:,} calls failed"
    )
    told = (("stand in line", rush.came), ("have shown so", rush.shown), ("know who is before them", rush.looked))
    for what, moments in told:
        print(f"  {len(moments):,} {what}, the last after {max(moments, default=0):.1f} s")
    print(f"  etcd: {after.cpu - before.cpu:.1f} s of CPU, {after.memory:.0f} MiB resident;", end=" ")
    print(", ".join(f"{count:,} {method}" for method, count in after.since(before).items()))


if __name__ == "__main__":
    main()
