"""`python -m bench.looks [--waiters N]... [--looks N]`: what a line of raw entries costs etcd: memory, CPU of a look.

Real: etcd on v3, and the look of the daemon itself from the last place, after the first one, which finds out how far to
look. CPU is etcd's own figure, above what it uses when nothing asks. The look of versions before is one request.
"""

import asyncio
from collections.abc import Awaitable, Callable

import click

from bench.filled import GROUP, fill
from bench.meters import Meters
from locksmith.lock import places
from locksmith.lock.queue_sight import KNOWN, SPAN, QueueSight
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.store.connect import open_store
from locksmith.store.protocol import Entry, Store
from tests.harness.etcd import Etcd

SIZES = (100, 1_000, 10_000, 100_000)
CALM = 2.0
"""Seconds in which etcd settles after the line was written, and in which its CPU at rest is taken."""


@click.command()
@click.option(
    "--waiters", multiple=True, default=SIZES, show_default=True, type=click.IntRange(2), help="Lengths of the line."
)
@click.option("--looks", default=300, show_default=True, type=click.IntRange(1), help="Looks of each kind.")
def main(waiters: tuple[int, ...], looks: int) -> None:
    """Measure lines of several lengths."""
    print("waiters   etcd MiB above empty   CPU of a look   to the first   the look of versions before", flush=True)
    first = 0.0
    for size in waiters:
        with Etcd() as etcd:
            memory, look, before = asyncio.run(measure(etcd, size, looks))
        first = first or look
        print(f"{size:7,} {memory:22.0f} {look:12.2f} ms {look / first:14.2f} {before:26.2f} ms", flush=True)


async def measure(etcd: Etcd, size: int, looks: int) -> tuple[float, float, float]:
    """Give etcd's memory in MiB above an empty one, and its CPU for each look of either kind, in milliseconds."""
    meters, store = Meters(etcd.endpoints[0]), open_store(etcd.settings(timeout=60.0))
    empty = meters.read()
    last = await fill(etcd.endpoints[0], size)
    await asyncio.sleep(CALM)
    memory = meters.read().memory - empty.memory
    place = await _place(store, last)
    sight = QueueSight(store, GROUP)
    sight.entered(min(SPAN, size - 1), 1)
    await sight.observe(place)
    line = keys.waiters_prefix(GROUP)
    look = await _cpu(meters, looks, lambda: sight.observe(place))
    before = await _cpu(meters, max(3, looks // 10), lambda: store.list(line, limit=KNOWN + 1, last_before=2**62))
    await store.close()
    return memory, look, before


async def _place(store: Store, claim: Claim) -> Entry:
    """Find a place by its ticket."""
    ticket = (await store.get(places.ticket_key(GROUP, claim))).entry
    assert ticket is not None
    place = (await store.get(places.place_key(GROUP, claim, int(ticket.value)))).entry
    assert place is not None
    return place


async def _cpu(meters: Meters, times: int, act: Callable[[], Awaitable[object]]) -> float:
    rest = meters.read()
    await asyncio.sleep(CALM)
    before = meters.read()
    clock = asyncio.get_running_loop().time
    began = clock()
    for _ in range(times):
        await act()
    idle = (before.cpu - rest.cpu) / CALM * (clock() - began)
    return 1000 * max(0.0, meters.read().cpu - before.cpu - idle) / times


if __name__ == "__main__":
    main()
