"""A group of any size in etcd, as raw entries: what its machines would have written, without their requests.

Each machine has its place and its ticket, and where wanted its presence. 25 machines share a lease, so that a hundred
thousand are there within a minute or two. The places have the numbers of machines that came one after another.
"""

from collections.abc import Iterator

from bench import crowd
from bench.lanes import open_lane
from bench.scale import presence
from locksmith.lock import places
from locksmith.lock.records import keys, node, waiter
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.waiter import Waiter
from locksmith.store import etcd3
from locksmith.store import etcd3_wire as wire
from locksmith.store.protocol import ABSENT, Put

GROUP = "bench"
TTL = 36_000
"""Seconds: longer than any benchmark."""
TOGETHER = 25
"""Machines that share a lease, and are written in one transaction."""


async def fill(url: str, machines: int, *, present: bool = False) -> Claim:
    """Write so many machines, in the order of the queue; give the claim of the last."""
    lane = await open_lane(url)
    last = crowd.claim(machines)
    for start in range(1, machines + 1, TOGETHER):
        lease, _ = wire.granted(await lane.post(etcd3.GRANT, {"TTL": str(TTL)}))
        numbers = range(start, min(start + TOGETHER, machines + 1))
        puts = [put for number in numbers for put in _entries(number, present=present)]
        await lane.post(etcd3.TXN, wire.transaction(puts, lease, leased=len(puts)))
    lane.close()
    return last


def _entries(number: int, *, present: bool) -> Iterator[Put]:
    claim = crowd.claim(number)
    yield Put(places.place_key(GROUP, claim, number), waiter.encode(Waiter.of(claim, "1", 90)), ABSENT)
    yield Put(places.ticket_key(GROUP, claim), str(number).encode(), ABSENT)
    if present:
        yield Put(keys.node_key(GROUP, claim.holder), node.encode(presence(number)), ABSENT)
