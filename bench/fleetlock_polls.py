"""`python -m bench.fleetlock_polls [--clients N] [--rate R]`: what polls of waiting FleetLock clients cost.

Both slots of the group are held, and so many clients are in its queue: the first of them, and others from all over the
queue, call pre-reboot over kept connections at a fixed rate: 30,000 clients that call each five minutes call 100 times
a second. Each calls twice. At its first call the server, which has just started, does not know how old its place is.

Exit status 1 if a call was granted, or got another answer than a refusal.
"""

import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from bench.filled import GROUP, TOGETHER, TTL
from bench.fleetlock import Connection, QuietServer
from bench.lanes import open_lane
from bench.meters import Meters
from bench.processes import cpu_seconds, resident
from locksmith.lock import client_cycle, places
from locksmith.lock.queue import POLLED_TTL
from locksmith.lock.records import keys, semaphore, waiter
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.waiter import Waiter
from locksmith.store import etcd3
from locksmith.store import etcd3_wire as wire
from locksmith.store.connect import open_store
from locksmith.store.protocol import ABSENT, Put
from tests.harness.etcd import Etcd
from tests.harness.fleetlock_server import ANYBODY

CONNECTIONS = 16
REFUSED = 409
ROUNDS = ("first call", "next call")


@click.command()
@click.option("--clients", default=30_000, show_default=True, type=click.IntRange(10), help="Clients in the queue.")
@click.option("--polled", default=1_000, show_default=True, type=click.IntRange(2), help="How many of them call.")
@click.option("--rate", default=100.0, show_default=True, type=click.FloatRange(1), help="Calls a second.")
def main(*, clients: int, polled: int, rate: float) -> None:
    """Measure requests to etcd, CPU time of server and etcd, and the time of each call."""
    with Etcd(on_disk=True) as etcd:
        asyncio.run(_fill(etcd, clients))
        with QuietServer(etcd, {GROUP: ANYBODY}) as server:
            good = asyncio.run(_run(etcd, server, _spread(clients, min(polled, clients)), rate))
    sys.exit(not good)


def _spread(clients: int, polled: int) -> list[str]:
    return [_name(1 + number * clients // polled) for number in range(polled)]


def _name(number: int) -> str:
    return f"{number:032x}"


async def _fill(etcd: Etcd, clients: int) -> None:
    """Write the places of so many clients, as servers do."""
    lane = await open_lane(etcd.endpoints[0])
    for start in range(1, clients + 1, TOGETHER):
        lease, _ = wire.granted(await lane.post(etcd3.GRANT, {"TTL": str(TTL)}))
        numbers = range(start, min(start + TOGETHER, clients + 1))
        puts = [put for number in numbers for put in _entries(number)]
        await lane.post(etcd3.TXN, wire.transaction(puts, lease, leased=len(puts)))
    lane.close()
    store = open_store(etcd.settings())
    held = semaphore.encode(Semaphore(2).take("a").take("b"))  # as CoreOS locksmith's nodes do
    await store.create(keys.semaphore_key(GROUP), held)
    await store.close()


def _entries(number: int) -> Sequence[Put]:
    claim = client_cycle.new_claim(_name(number), f"{number:x}", datetime.now(UTC), _name(number))
    record = waiter.encode(Waiter.of(claim, "1", int(POLLED_TTL)))
    return [
        Put(places.place_key(GROUP, claim, number), record, ABSENT),
        Put(places.ticket_key(GROUP, claim), str(number).encode(), ABSENT),
    ]


async def _run(etcd: Etcd, server: QuietServer, clients: Sequence[str], rate: float) -> bool:
    ways = [Connection(*await asyncio.open_connection("127.0.0.1", server.port), GROUP) for _ in range(CONNECTIONS)]
    await ways[0].call("pre-reboot", clients[0])
    await asyncio.sleep(3)  # the group is in memory, if it ever is
    meters, good = Meters(etcd.endpoints[0]), True
    for name in ROUNDS:
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for way in ways:
            free.put_nowait(way)
        before, cpu, began = meters.read(), cpu_seconds(server.pid), time.perf_counter()
        answers: list[tuple[int, str, float]] = []
        async with asyncio.TaskGroup() as calls:
            for number, client in enumerate(clients):
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
                calls.create_task(_call(free, client, answers))
        took, after = time.perf_counter() - began, meters.read()
        used, count, asked = cpu_seconds(server.pid) - cpu, len(clients), after.since(before)
        slowest = statistics.quantiles([answer[2] for answer in answers], n=100)
        ours, theirs = (1000 * seconds / count for seconds in (used, after.cpu - before.cpu))
        print(
            f"{name}: {count / took:.0f} calls/s of {rate:.0f}; for each {sum(asked.values()) / count:.2f} requests to "
            f"etcd, {ours:.2f} ms of CPU, and {theirs:.2f} ms of etcd's; "
            f"p50 {slowest[49]:.1f}, p99 {slowest[98]:.1f} ms; {resident(server.pid):.0f} MiB; requests: {asked}; "
            f"{dict(Counter(answer[1] for answer in answers))}"
        )
        good &= all(answer[0] == REFUSED for answer in answers)
    return good


async def _call(free: "asyncio.Queue[Connection]", client: str, answers: list[tuple[int, str, float]]) -> None:
    way = await free.get()
    answers.append(await way.call("pre-reboot", client))
    free.put_nowait(way)


if __name__ == "__main__":
    main()
