"""`python -m bench.footprint [--seconds S] [--runs N]`: what locksmith costs while nothing happens.

Real: etcd, a message bus for each daemon, locksmithd with its metrics served, locksmithctl. Each figure is shown with
its aim, and as a ratio to a bare interpreter's in the same run, because that travels from machine to machine.
"""

import asyncio
import compileall
import contextlib
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

import locksmith
import locksmith_strategies
from bench import processes
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import MANUAL, Claim
from locksmith.store.connect import open_store
from tests.harness.etcd import Etcd
from tests.harness.node import BIN, Node
from tests.harness.ports import free_ports
from tests.harness.service_manager import ServiceManager
from tests.harness.waiting import until

MEMORY_AIM = 29.0
"""MiB."""
CPU_AIM = 0.1
"""Percent of one core."""
STATUS_AIM, READY_AIM = 8.0, 9.5
"""How many times as long as a bare interpreter's start; to READY it is half of what it was, 226 ms to 12 ms."""

SETTINGS = """
strategy = "{strategy}"
[etcd]
endpoints = ["{endpoint}"]
[metrics]
port = {port}
[reboot]
settle = "1s"
"""
VERSION = "4081.2.0"
WAIT_LIMIT = 30.0
BARE = [sys.executable, "-c", "pass"]
BARE_AND_WAITING = [sys.executable, "-c", "print(flush=True); input()"]


@dataclass(frozen=True, slots=True)
class Idle:
    """What one daemon used: MiB, and percent of a core."""

    name: str
    memory: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Start:
    """How long one process took from its start to its end, and how much CPU time it used: milliseconds."""

    wall: float
    cpu: float


@click.command()
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(1), help="How long to watch CPU use.")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(1), help="How many cold starts of the tool.")
def main(seconds: float, runs: int) -> None:
    """Measure the idle daemon and the tool's cold start."""
    asyncio.run(measure(seconds, runs))


async def measure(seconds: float, runs: int) -> None:
    """Measure everything against one etcd and print it."""
    _compile()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="locksmith-bench-")))
        etcd = stack.enter_context(Etcd())
        await _hold_the_slot(etcd)
        nodes = [
            await stack.enter_async_context(_node(name, folder, etcd, strategy))
            for name, strategy in (
                ("reboot", "reboot"),
                ("etcd-lock", "etcd-lock"),
                ("etcd-lock, in wait", "etcd-lock"),
            )
        ]
        nodes[-1].need_reboot(VERSION)
        await until(lambda: "waiting (slot)" in nodes[-1].log.read_text(), "it waits for the slot", WAIT_LIMIT)
        _show_idle(await _watch(nodes, seconds), seconds)
        _show_cold_starts(nodes[0], runs)
        await _show_ready(nodes[1], runs)


def _compile() -> None:
    """Leave byte code beside all modules, as installed packages have it.

    A checkout may have none. A copied environment has stale byte code, so each start compiles the libraries again.
    """
    packages = [Path(str(package.__file__)).parent for package in (locksmith, locksmith_strategies)]
    for folder in (*packages, Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))):
        compileall.compile_dir(folder, quiet=2)


def _node(name: str, folder: Path, etcd: Etcd, strategy: str) -> Node:
    [port] = free_ports(1)
    return Node(name, folder, SETTINGS.format(strategy=strategy, endpoint=etcd.endpoints[0], port=port))


async def _hold_the_slot(etcd: Etcd) -> None:
    """Let somebody hold the only slot, so that `status` has a holder to show and a daemon a slot to wait for."""
    lock = RebootLock(open_store(etcd.settings()), "")
    await lock.take(Claim("another machine", MANUAL, "bench", datetime.now(UTC)))
    await lock.close()


async def _watch(nodes: Sequence[Node], seconds: float) -> list[Idle]:
    """Watch all daemons through the same seconds."""
    for node in nodes:
        await processes.settled(node.pid)
    before = [processes.cpu_seconds(node.pid) for node in nodes]
    began = time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - began
    return [
        Idle(node.name, processes.resident(node.pid), 100 * (processes.cpu_seconds(node.pid) - used) / passed)
        for node, used in zip(nodes, before, strict=True)
    ]


def _show_idle(idle: Sequence[Idle], seconds: float) -> None:
    bare = _bare_memory()
    print(f"the daemon, settled: resident memory, CPU over {seconds:g} s (a bare interpreter: {bare:.1f} MiB)")
    for daemon in idle:
        memory, cpu = _verdict(daemon.memory, MEMORY_AIM, "MiB"), _verdict(daemon.cpu, CPU_AIM, "%")
        ratio = daemon.memory / bare
        print(f"  {daemon.name:18} {daemon.memory:.1f} MiB ({memory}), {ratio:.1f} times a bare interpreter")
        print(f"  {'':18} {daemon.cpu:.3f} % of a core ({cpu})")


def _bare_memory() -> float:
    with subprocess.Popen(BARE_AND_WAITING, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        memory = processes.resident(process.pid)
        process.stdin.write(b"\n")
    return memory


def _show_cold_starts(node: Node, runs: int) -> None:
    status = [str(BIN / "locksmithctl"), "status"]
    both = [(_start(BARE, node), _start(status, node)) for _ in range(runs)]
    bare, cold = (_typical(starts) for starts in zip(*both, strict=True))
    fastest = min(start.wall for _, start in both)
    print(f"locksmithctl status from a cold start, {runs} runs in turn with `python -c pass` ({bare.wall:.0f} ms)")
    print(
        f"  median {cold.wall:.0f} ms, {cold.wall / bare.wall:.1f} times a bare interpreter "
        f"({_verdict(cold.wall / bare.wall, STATUS_AIM, 'times')}); fastest {fastest:.0f} ms\n"
        f"  of CPU time, which a busy machine stretches less: {cold.cpu:.0f} ms, "
        f"{cold.cpu / bare.cpu:.1f} times a bare interpreter ({bare.cpu:.0f} ms)"
    )


async def _show_ready(node: Node, runs: int) -> None:
    """Start the daemon again and again, and wait for its READY=1."""
    bare, ready = (
        _typical(starts)
        for starts in zip(*[(_start(BARE, node), await _ready(node)) for _ in range(runs)], strict=True)
    )
    print(
        f"locksmithd with etcd-lock, from exec to READY=1, {runs} runs in turn "
        f"with `python -c pass` ({bare.wall:.0f} ms)"
    )
    print(
        f"  median {ready.wall:.0f} ms, {ready.wall / bare.wall:.1f} times a bare interpreter "
        f"({_verdict(ready.wall / bare.wall, READY_AIM, 'times')})\n"
        f"  of CPU time: {ready.cpu:.0f} ms, {ready.cpu / bare.cpu:.1f} times a bare interpreter ({bare.cpu:.0f} ms)"
    )


async def _ready(node: Node) -> Start:
    await node.stop_daemon()
    with ServiceManager() as systemd:
        node.environ["NOTIFY_SOCKET"] = systemd.address
        began = time.perf_counter()
        await node.start_daemon()
        while not any("READY=1" in told for told in systemd.told):  # noqa: ASYNC110 - a socket without an event loop
            await asyncio.sleep(0.001)
        return Start(1000 * (time.perf_counter() - began), 1000 * processes.cpu_seconds(node.pid))


def _start(command: Sequence[str], node: Node) -> Start:
    used, began = processes.cpu_of_children(), time.perf_counter()
    subprocess.run(command, env=node.environment, check=True, stdout=subprocess.DEVNULL)
    return Start(1000 * (time.perf_counter() - began), 1000 * (processes.cpu_of_children() - used))


def _typical(starts: Sequence[Start]) -> Start:
    return Start(statistics.median(start.wall for start in starts), statistics.median(start.cpu for start in starts))


def _verdict(value: float, aim: float, unit: str) -> str:
    return f"aim {aim:g} {unit}: {'met' if value <= aim else 'MISSED'}"


if __name__ == "__main__":
    main()
