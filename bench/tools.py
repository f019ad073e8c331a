"""`python -m bench.tools [--machines N]`: what the tool's commands take in a group with so many machines, all in line.

Real: etcd on v3 with raw entries, and `locksmithctl` as a process of its own for each command. Time is from its start
to its end, for `nodes --watch` to its first line; CPU and resident memory (the most there was) are the kernel's.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from bench.filled import GROUP, fill
from tests.harness.etcd import Etcd

TOOL = Path(sys.executable).with_name("locksmithctl")
MACHINE = "1c09ca98649c4c7abc779cd04c96812e"
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """One call: seconds, seconds of CPU, MiB, and what it printed, in MiB."""

    took: float
    cpu: float
    memory: float
    printed: float


@click.command()
@click.option("--machines", default=100_000, show_default=True, type=click.IntRange(1), help="How many.")
def main(machines: int) -> None:
    """Fill a group, and call each command once."""
    with Etcd() as etcd, TemporaryDirectory() as root:
        Path(root, "etc").mkdir()
        Path(root, "etc/machine-id").write_text(f"{MACHINE}\n")
        last = asyncio.run(fill(etcd.endpoints[0], machines, present=True)).holder
        print(f"{machines:,} machines, all present and in line")
        print("command                     time       CPU   resident    output", flush=True)
        for what in (["status"], ["why", last], ["nodes"], ["nodes", "--json"], ["nodes", "--watch"]):
            run = call(etcd.endpoints[0], root, what)
            name = " ".join(what).replace(last, "ID")
            print(
                f"{name:20} {run.took:9.1f} s {run.cpu:7.1f} s {run.memory:6.0f} MiB {run.printed:6.1f} MiB", flush=True
            )


def call(url: str, root: str, command: Sequence[str]) -> Run:
    """Run one command to its end; one that goes on is ended after the first block that it prints."""
    began, printed = time.monotonic(), 0
    arguments = [str(TOOL), f"-endpoint={url}", f"-group={GROUP}", *command]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ, "LOCKSMITH_ROOT": root})
    assert process.stdout is not None
    for piece in _pieces(process.stdout.fileno()):
        printed += len(piece)
        if "--watch" in command:
            process.terminate()
            break
    took = time.monotonic() - began
    process.stdout.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and "--watch" not in command:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, printed / PIECE)


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE):
        yield piece


if __name__ == "__main__":
    main()
