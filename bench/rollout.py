"""`python -m bench.rollout [--machines N]`: real machines, one slot, all asked at once; as root.

Real: systemd containers with their own PID 1, bus and logind, the installed package in them, and etcd on the host's
loopback. It prints the makespan, the reboots' own time, and how long the slot stood idle between them, and on what.
"""

import contextlib
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from bench import gaps
from bench.gaps import Gap, Trip
from bench.meters import Meters, Reading
from bench.recorder import Recorder, Written
from locksmith.lock.records import keys, semaphore
from tests.harness import image
from tests.harness.etcd import Etcd
from tests.harness.machine_pool import machine_pool
from tests.harness.machines import GOES_DOWN, STARTS_A_UNIT, Machine
from tests.harness.ports import free_ports

GROUP = "bench"
IDLE_AIM = 5.0
"""Percent of the makespan."""
ORIGINALS = {4: 71.0, 8: 911.0}
"""The original's makespan in seconds, by the number of machines: its waiters poll, from 5 s to 5 min."""
HAS_STARTED_A_UNIT = "39f53479d3a045ac8e11786248231fbf"
"""The journal's message id of PID 1 when a `UNIT` is up: for locksmithd its `READY=1` (sd-messages.h)."""
REBOOT_LIMIT = 120.0
"""Seconds for one machine's turn."""

SETTINGS = """
strategy = "etcd-lock"
group = "{group}"
etcd.endpoints = {endpoints}
metrics.port = {port}
"""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How one went; `asked` is the moment before the first was asked, etcd's figures are of before and after all."""

    asked: float
    trips: Sequence[Trip]
    gaps: Sequence[Gap]
    before: Reading
    after: Reading

    @property
    def makespan(self) -> float:
        """From the question to the last one's being healthy."""
        return max(trip.ready for trip in self.trips) - self.asked

    @property
    def rebooting(self) -> float:
        """How long the machines were gone, one after another: the best that one slot could do."""
        return sum(trip.ready - trip.down for trip in self.trips)

    @property
    def idle(self) -> float:
        """Percent of the makespan."""
        return 100 * sum(gap.idle for gap in self.gaps) / self.makespan

    @property
    def strictly_idle(self) -> float:
        """The same, with each start of locksmithd counted as idle too."""
        return 100 * sum(gap.strict for gap in self.gaps) / self.makespan


@click.command()
@click.option("--machines", default=8, show_default=True, type=click.IntRange(2), help="How many machines.")
def main(machines: int) -> None:
    """Let a fleet of real machines reboot one by one, and measure the gaps."""
    hindrance = image.hindrance()
    if hindrance:
        print(f"no rollout measured: {hindrance}")
        return
    with Etcd() as etcd, _fleet(machines, etcd) as fleet:
        _show(_roll_out(fleet, etcd))


@contextmanager
def _fleet(count: int, etcd: Etcd) -> Iterator[list[Machine]]:
    """Boot machines of one group, which lose their power at the end."""
    with contextlib.ExitStack() as stack:
        # The layer's pool outlives that of the machines that stand on it.
        base = image.base()
        layer = image.install(base, stack.enter_context(machine_pool()))
        folder = stack.enter_context(machine_pool())
        fleet = [Machine(folder, f"m{number}", (layer, base)) for number in range(1, count + 1)]
        for machine, port in zip(fleet, free_ports(count), strict=True):
            settings = SETTINGS.format(group=GROUP, endpoints=json.dumps(etcd.endpoints), port=port)
            machine.write("etc/locksmith/locksmith.toml", settings)
            machine.start()
        for machine in fleet:
            machine.wait_booted()
        yield fleet


def _roll_out(fleet: Sequence[Machine], etcd: Etcd) -> Rollout:
    meters = Meters(etcd.endpoints[0])
    with Recorder(etcd, keys.group_prefix(GROUP)) as recorder:
        before, asked = meters.read(), time.time()
        with ThreadPoolExecutor(len(fleet)) as pool:
            list(pool.map(lambda machine: machine.run("locksmithctl", "send-need-reboot"), fleet))
        for machine in fleet:
            machine.wait_booted(boots=2, limit=REBOOT_LIMIT * len(fleet))
        recorder.wait(lambda written: _holders(written) == (), REBOOT_LIMIT)
        trips = [_trip(machine) for machine in fleet]
        return Rollout(asked, trips, gaps.find(trips, recorder.written, GROUP), before, meters.read())


def _holders(written: Sequence[Written]) -> tuple[str, ...]:
    last = next(write for write in reversed(written) if write.key == keys.semaphore_key(GROUP))
    assert last.value is not None
    return semaphore.decode(last.value, last.key).holders


def _trip(machine: Machine) -> Trip:
    [down] = _moments(machine, f"MESSAGE_ID={GOES_DOWN}")
    started = _moments(machine, f"MESSAGE_ID={STARTS_A_UNIT}", "UNIT=locksmithd.service")
    ready = _moments(machine, f"MESSAGE_ID={HAS_STARTED_A_UNIT}", "UNIT=locksmithd.service")
    return Trip(machine.id, down, _next(started, down), _next(ready, down))


def _moments(machine: Machine, *matches: str) -> list[float]:
    return [_seconds(record) for record in machine.records(*matches)]


def _seconds(record: dict[str, Any]) -> float:
    """When the sender wrote it, which early in a boot is long before the journal took it."""
    return int(record.get("_SOURCE_REALTIME_TIMESTAMP", record["__REALTIME_TIMESTAMP"])) / 1e6


def _next(moments: Sequence[float], after: float) -> float:
    return min(moment for moment in moments if moment > after)


def _show(rollout: Rollout) -> None:
    count = len(rollout.trips)
    first = min(trip.down for trip in rollout.trips) - rollout.asked
    print(f"{count} machines, one slot, all asked at once")
    print(
        f"  makespan {rollout.makespan:.1f} s, {rollout.makespan / rollout.rebooting:.2f} times the reboots' own time"
    )
    print(f"  reboots {rollout.rebooting:.1f} s in all, {rollout.rebooting / count:.2f} s each")
    print(f"  from the question to the first shutdown {first:.2f} s")
    met = "met" if rollout.idle <= IDLE_AIM else "MISSED"
    print(f"  the slot stood idle for {rollout.idle:.1f} % of the makespan (aim: under {IDLE_AIM:g} %: {met})")
    long_enough = statistics.mean(gap.idle for gap in rollout.gaps) * (100 / IDLE_AIM - 1)
    print(f"  such gaps meet the aim where a reboot takes longer than {long_enough:.1f} s")
    print(f"  with the start of locksmithd counted as idle too: {rollout.strictly_idle:.1f} %")
    requests, writes = rollout.after.since(rollout.before), rollout.after.revision - rollout.before.revision
    print(f"  etcd did {sum(requests.values()) / count:.0f} requests and {writes / count:.0f} writes a machine")
    if count in ORIGINALS:
        times = ORIGINALS[count] / rollout.makespan
        print(f"  the original took {ORIGINALS[count]:g} s, on another machine: {times:.1f} times as long")
    _show_parts(rollout.gaps)


def _show_parts(found: Sequence[Gap]) -> None:
    print(f"the {len(found)} gaps, in ms:   median   longest")
    for part, values in zip(gaps.PARTS, zip(*(gap.parts for gap in found), strict=True), strict=True):
        print(f"  {part:20} {_median_and_longest(values)}")
    print(f"  {'idle (all but start)':20} {_median_and_longest([gap.idle for gap in found])}")


def _median_and_longest(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):9.0f} {1000 * max(seconds):9.0f}"


if __name__ == "__main__":
    main()
