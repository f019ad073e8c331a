"""`python -m bench.server_page [--machines N] [--seconds S]`: what people and Prometheus ask of a large group.

A real etcd has a group of N machines (10,000), all in the queue and present. A real `locksmith-server` is asked for
each of its addresses over a new connection: once (`cold`), then again and again, with a pause, while a machine of the
group writes its presence each second. The aim, of issue 18: 100 ms to the last byte, when the group is read. The
server's memory and CPU are told too.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from http.client import HTTPConnection

import click

from bench.filled import GROUP, fill
from bench.processes import cpu_seconds, resident
from bench.scale import presence
from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records import keys, node
from locksmith.lock.records.credential import VIEWER, Credential
from locksmith.store.connect import open_store
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer

AIM = 100.0
"""Milliseconds to the last byte."""
PAUSE = 0.05
"""Seconds between two requests."""


def paths(machine_id: str) -> list[str]:
    """Give the addresses that are asked."""
    api = f"/api/v1/groups/{GROUP}"
    return [
        "/",
        f"/groups/{GROUP}",
        f"/groups/{GROUP}/machines/{machine_id}",
        f"/groups/{GROUP}/history",
        "/api/v1/groups",
        api,
        f"{api}/machines",
        f"{api}/machines?limit=10000",
        f"{api}/machines/{machine_id}",
        f"{api}/history",
        f"{api}/timeline",
        f"{api}/forecast",
        "/metrics",
    ]


async def token(etcd: Etcd) -> str:
    """Make a viewer's token."""
    store = open_store(etcd.settings())
    try:
        return (await CredentialStore(store).add_person(Credential(VIEWER, "bench", "", datetime.now(UTC)))).text
    finally:
        await store.close()


async def churn(etcd: Etcd, machines: int) -> None:
    """Let a machine write its presence each second, as one does that changes its state."""
    store = open_store(etcd.settings())
    for number in range(sys.maxsize):
        shown = presence(number % machines + 1)
        key = keys.node_key(GROUP, shown.machine_id)
        if (entry := (await store.get(key)).entry) is not None:
            await store.update(entry, node.encode(replace(shown, reason=f"change {number}")), 36_000)
        await asyncio.sleep(1)


def ask(port: int, path: str, word: str) -> tuple[float, int, int]:
    """Ask once; give the milliseconds to the last byte, the status, and the bytes of the body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {word}"})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1000
    connection.close()
    return took, answer.status, len(body)


def measure(port: int, path: str, word: str, seconds: float) -> tuple[list[float], int, int]:
    """Ask for some time; give the milliseconds of each answer, the status of the last, and its bytes."""
    taken: list[float] = []
    status = size = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        took, status, size = ask(port, path, word)
        taken.append(took)
        time.sleep(PAUSE)
    return taken, status, size


async def run(machines: int, seconds: float) -> bool:
    """Measure; tell whether each address met the aim."""
    with Etcd(WHEEL) as etcd:
        last = await fill(etcd.endpoints[0], machines, present=True)
        word = await token(etcd)
        changes = asyncio.create_task(churn(etcd, machines))
        with FleetLockServer(etcd, {GROUP: ANYBODY}) as server:
            print(f"{machines:,} machines, etcd {WHEEL.name}, {seconds:g} s for each address")
            print(f"{'address':44} {'status':>6} {'kB':>7} {'cold ms':>8} {'p50 ms':>7} {'p99 ms':>7}")
            kept = [await told(server.port, path, word, seconds) for path in paths(last.holder)]
            print(f"server: {resident(server.pid):.0f} MiB, {cpu_seconds(server.pid):.1f} s of CPU")
        changes.cancel()
    return all(kept)


async def told(port: int, path: str, word: str, seconds: float) -> bool:
    """Measure an address and print it."""
    cold, _, _ = await asyncio.to_thread(ask, port, path, word)
    taken, status, size = await asyncio.to_thread(measure, port, path, word, seconds)
    p99 = quantile(taken, 0.99)
    name = path if len(path) <= 44 else f"{path[:20]}...{path[-21:]}"  # noqa: PLR2004 - the column
    print(f"{name:44} {status:6} {size / 1000:7.1f} {cold:8.1f} {statistics.median(taken):7.1f} {p99:7.1f}")
    return p99 <= AIM


def quantile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that so large a share does not exceed."""
    return sorted(values)[max(0, round(len(values) * share) - 1)]


@click.command()
@click.option("--machines", default=10_000)
@click.option("--seconds", default=5.0)
def main(machines: int, seconds: float) -> None:
    """Run the benchmark; exit status 1: an address took longer than the aim."""
    sys.exit(0 if asyncio.run(run(machines, seconds)) else 1)


if __name__ == "__main__":
    main()
