"""`python -m bench.holders [--up-to N]`: what a take and a commit cost where many others hold a slot.

Real: etcd on v3, and the lock of the daemon. The other holders and their presence are records as their machines leave
them. Requests are counted at the store; what `resume` costs is that of as many reboots that went wrong.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import click

from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import GroupRules
from locksmith.lock.guarded import Guarded
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import COMMITTED, UNHEALTHY
from locksmith.lock.records.incident import HaltAfter
from locksmith.store.connect import open_store
from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from tests.harness.etcd import Etcd
from tests.harness.seats import claim, seat

SIZES = (1, 10, 50, 64, 65, 128, 1_000)
REPEATS = 25
"""The best of so many is told: what else runs on the machine only adds to it."""
OFF = GroupRules(halt_after=HaltAfter(0))
"""With halting off no other holder is looked at."""


@dataclass
class Counter(Meter):
    """Counts requests."""

    requests: int = field(default=0)

    def request(self, kind: str, result: str) -> None:
        """Count one."""
        del kind, result
        self.requests += 1


@click.command()
@click.option("--up-to", default=SIZES[-1], show_default=True, type=click.IntRange(1), help="The most other holders.")
def main(up_to: int) -> None:
    """Measure groups of several sizes."""
    print("other     take               take, no halting   commit             resume of all")
    print("holders   requests       ms  requests       ms  requests       ms  requests       ms")
    for size in (size for size in SIZES if size <= up_to):
        with Etcd() as etcd:
            asyncio.run(measure(etcd, size))


async def measure(etcd: Etcd, size: int) -> None:
    """Measure one size."""
    counter, plain = Counter(), open_store(etcd.settings())
    store = ObservedStore(plain, counter)
    try:
        names = [f"n{number:04}" for number in range(size)]
        await seat(plain, "well", names, size + 2, COMMITTED)
        await seat(plain, "sick", names, size, UNHEALTHY)
        halting, free = RebootLock(store, "well"), RebootLock(store, "well", rules=OFF)
        mine = claim("new")
        row = [
            await _cost(counter, lambda: halting.take(mine), lambda: halting.release(mine)),
            await _cost(counter, lambda: free.take(mine), lambda: free.release(mine)),
        ]
        await halting.take(mine)
        row.append(await _cost(counter, lambda: halting.commit(mine)))
        row.append(await _cost(counter, lambda: LockAdmin(Guarded(store, "sick")).acknowledge("by alice"), repeats=1))
        cells = "  ".join(f"{requests:8}  {spent * 1000:7.1f}" for requests, spent in row)
        print(f"{size:7}  {cells}")
    finally:
        await plain.close()


async def _cost(
    counter: Counter,
    act: Callable[[], Awaitable[object]],
    undo: Callable[[], Awaitable[object]] | None = None,
    repeats: int = REPEATS,
) -> tuple[int, float]:
    """Give the requests of one act, and the seconds that it takes at best."""
    requests, seconds = 0, []
    for _ in range(repeats):
        counter.requests, began = 0, time.perf_counter()
        await act()
        seconds.append(time.perf_counter() - began)
        requests = counter.requests
        if undo is not None:
            await undo()
    return requests, min(seconds)


if __name__ == "__main__":
    main()
