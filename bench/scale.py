"""`python -m bench.scale [--up-to N]`: the inputs of docs/scale.md: how large records are, and what etcd's work costs.

Real: etcd on v3, and records as locksmith writes them. The reads are locksmith's own, alone on an etcd that rests.
"""

import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime

import click

from bench import crowd
from bench.meters import Meters
from bench.raw import Raw
from locksmith.lock import places
from locksmith.lock.pages import read_all
from locksmith.lock.queue_sight import KNOWN, SPAN
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import event, keys, node, waiter
from locksmith.lock.records.node import Node
from locksmith.lock.records.waiter import Waiter
from locksmith.store import etcd3
from locksmith.store import etcd3_wire as wire
from locksmith.store.connect import open_store
from locksmith.store.link import LARGEST_ANSWER
from locksmith.store.protocol import ABSENT, Put, Store
from tests.harness.etcd import Etcd

SIZES = (1_000, 10_000, 100_000)
AT_ONCE = 100
"""Keys written in one transaction; etcd allows 128."""
REPEATS = 9
ALL = "all of it, as `nodes` reads presence"


@click.command()
@click.option("--up-to", default=SIZES[-1], show_default=True, type=click.IntRange(1000), help="The largest group.")
def main(up_to: int) -> None:
    """Print the inputs of the sums."""
    _show_records()
    for size in (size for size in SIZES if size <= up_to):
        with Etcd() as etcd:
            asyncio.run(measure(etcd, size))


def presence(number: int) -> Node:
    """Make the presence of a machine that waits in line, with fields as long as a real one's."""
    claim, now = crowd.claim(number), datetime.now(UTC).replace(microsecond=0)
    return Node(
        machine_id=claim.holder,
        hostname=claim.hostname,
        boot_id=str(uuid.uuid4()),
        group="bench",
        strategy="etcd-lock",
        state="waiting",
        since=now,
        version=claim.version,
        code="queue",
        reason="queued for a slot",
        need="update_engine",
        need_version="4081.2.0",
        need_since=now,
        window_opens=now,
        window_closes=now,
    )


def _show_records() -> None:
    claim, now = crowd.claim(1), datetime.now(UTC)
    done = event.about(claim, now, event.HELD, detail=event.REBOOTED)
    records = {
        "presence": _presence_put(1),
        "place in line": _place_put(1),
        "holder": Put(keys.holder_key("bench", claim.holder), claim_record.encode(claim), ABSENT),
        "history": Put(f"{keys.history_prefix('bench')}{'0' * 22}", event.encode(done), ABSENT),
    }
    print("bytes of one record, key and value:", end=" ")
    print(", ".join(f"{name} {len(put.key) + len(put.value)}" for name, put in records.items()))


def _presence_put(number: int) -> Put:
    found = presence(number)
    return Put(keys.node_key("bench", found.machine_id), node.encode(found), ABSENT)


def _place_put(number: int) -> Put:
    claim = crowd.claim(number)
    return Put(places.place_key("bench", claim, number), waiter.encode(Waiter.of(claim, "1", 90)), ABSENT)


async def measure(etcd: Etcd, size: int) -> None:
    """Fill an etcd with a group, and time what is done with it."""
    meters, raw, store = Meters(etcd.endpoints[0]), Raw(etcd.endpoints[0]), open_store(etcd.settings(timeout=60.0))
    empty = meters.read()
    for make in (_presence_put, _place_put):
        await _fill(raw, [make(number) for number in range(size)])
    full = meters.read()
    print(f"{size:,} machines, all present and all in line:")
    print(
        f"  database {(full.size - empty.size) / 2**20:.1f} MiB, {(full.size - empty.size) / size:.0f} bytes a machine"
    )
    print(
        f"  etcd's memory {full.memory - empty.memory:.0f} MiB more, without watches and without a lease for each key"
    )
    for what, read in _reads(store, size).items():
        print(f"  {await _typical(read):9.1f} ms  {what}")
    answer = await _length_of_list(raw)
    limit = LARGEST_ANSWER * size // answer
    print(f"  {answer / 2**20:9.1f} MiB that answer; {LARGEST_ANSWER >> 20} MiB, the limit, is {limit:,} machines")
    await store.close()


def _reads(store: Store, size: int) -> dict[str, Callable[[], Awaitable[object]]]:
    line, nodes = keys.waiters_prefix("bench"), keys.nodes_prefix("bench")
    return {
        "one key": lambda: store.get(keys.semaphore_key("bench")),
        "a look at the line as versions before had it": lambda: store.list(line, limit=KNOWN + 1, last_before=2**62),
        "a look at the line from its end": lambda: store.range(
            places.bound("bench", size - SPAN), places.bound("bench", size), limit=1
        ),
        "all of it, page by page": lambda: read_all(store, nodes),
        "how many are present, as a share asks": lambda: store.list(nodes, limit=1),
        **({ALL: lambda: store.list(nodes)} if size <= SIZES[1] else {}),
    }


async def _length_of_list(raw: Raw) -> int:
    request = wire.list_request(keys.nodes_prefix("bench"), 1000, None)
    answer = await raw.read(etcd3.RANGE, request)
    return len(answer) * int(wire.listing(raw.message(answer)).total) // 1000


async def _fill(raw: Raw, puts: Sequence[Put]) -> None:
    for some in _pieces(puts):
        await raw.call(etcd3.TXN, wire.transaction(some))


def _pieces(puts: Sequence[Put]) -> Iterator[Sequence[Put]]:
    for start in range(0, len(puts), AT_ONCE):
        yield puts[start : start + AT_ONCE]


async def _typical(act: Callable[[], Awaitable[object]]) -> float:
    """Give the median of a few, in milliseconds."""
    return statistics.median([await _time(act) for _ in range(REPEATS)])


async def _time(act: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await act()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
