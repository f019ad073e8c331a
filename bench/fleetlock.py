"""`python -m bench.fleetlock [--seconds S] [--patient]`: FleetLock's calls on a real `locksmith-server`, etcd on disk.

Each connection takes the next of 100 ids, calls pre-reboot and then steady-state, also after a refusal, and goes on
with another id. The group has 2 slots. An id is used by one connection at a time. With `--patient` a refused client
calls pre-reboot again until it has its slot, as Zincati does: its place in the queue stays.

Exit status 1 if there ever were more holders than slots in etcd's history, or if a call got an answer that is neither a
grant nor a refusal of the protocol.
"""

import asyncio
import itertools
import json
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from bench import history
from bench.meters import Meters
from bench.processes import cpu_seconds, resident
from locksmith.lock.admin import LockAdmin
from locksmith.lock.guarded import Guarded
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.connect import open_store
from tests.harness.etcd import DEBIAN, WHEEL, Etcd
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer

IDS = 100
SLOTS = 2
CONNECTIONS = (2, 16, 64)
GRANTED = 200
STORE = "store"

AIRLOCK = {2: (24, 378, 87, 13), 16: (12, 848, 97, 34), 64: (13, 1141, 98, 100)}
"""airlock's figures by connections, as issue 18 gives them: grants and requests per second, % of takes refused, p99 ms.

They are of airlock (Go) with etcd 3.4 on disk, on such a machine. They were not measured here.
"""


PAUSE = 0.05
"""Seconds between two calls of a patient client; Zincati's are five minutes."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a run asks for: so many connections, for so many seconds."""

    group: str
    connections: int
    seconds: float
    patient: bool


@dataclass
class Tally:
    """What the connections of one run were told: milliseconds of each call, and the kinds of refusals."""

    pre_reboot: list[float] = field(default_factory=list)
    steady_state: list[float] = field(default_factory=list)
    granted: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def calls(self) -> list[float]:
        """Give the milliseconds of every call."""
        return self.pre_reboot + self.steady_state


class QuietServer(FleetLockServer):
    """A server that logs as it does in service, not for debugging."""

    def command(self, *_arguments: str) -> list[str]:
        """Give its command."""
        return super().command()


class Connection:
    """One kept connection that speaks just enough of HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, group: str) -> None:
        self._reader = reader
        self._writer = writer
        self._group = group

    async def call(self, path: str, client: str) -> tuple[int, str, float]:
        """Call once; give the status, the kind of a refusal, and milliseconds."""
        body = json.dumps({"client_params": {"id": client, "group": self._group}}).encode()
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: bench\r\nfleet-lock-protocol: true\r\nContent-Length: {len(body)}"
        began = time.perf_counter()
        self._writer.write(head.encode() + b"\r\n\r\n" + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in answer[1:] if line)
        text = await self._reader.readexactly(int(fields["content-length"]))
        took = (time.perf_counter() - began) * 1000
        status = int(answer[0].split()[1])
        return status, "" if status == GRANTED else str(json.loads(text)["kind"]), took

    def close(self) -> None:
        """Close it."""
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run went: memory in MiB, CPU in seconds of all its `seconds`."""

    connections: int
    seconds: float
    tally: Tally
    server: float
    server_cpu: float
    etcd: float
    etcd_requests: int
    written: Sequence[Semaphore]

    @property
    def problems(self) -> list[str]:
        """Say what must never happen and did."""
        most = max(len(value.holders) for value in self.written)
        return [*([f"{most} holders in etcd's history"] if most > SLOTS else []), *self.tally.problems]


@click.command()
@click.option("--seconds", default=15.0, show_default=True, type=click.FloatRange(1), help="How long each run is.")
@click.option("--debian", is_flag=True, help="Debian's etcd (3.4), as under airlock's figures, not the wheel's (3.5).")
@click.option("--patient", is_flag=True, help="Call pre-reboot again until it is granted, as a client does.")
def main(*, seconds: float, debian: bool, patient: bool) -> None:
    """Measure grants and requests per second, the slowest calls, and memory."""
    good = True
    with Etcd(DEBIAN if debian else WHEEL, on_disk=True) as etcd:
        for count in CONNECTIONS:
            group = f"bench-{count}"
            # A server of its own for each run: its memory is that of this run.
            with QuietServer(etcd, {group: ANYBODY}) as server:
                outcome = asyncio.run(_run(etcd, server, Load(group, count, seconds, patient)))
            good &= _show(outcome)
    print("airlock's figures are those that issue 18 gives, not measured here.")
    sys.exit(not good)


async def _run(etcd: Etcd, server: FleetLockServer, load: Load) -> Outcome:
    store = open_store(etcd.settings())
    await LockAdmin(Guarded(store, load.group)).set_max(SLOTS)
    await store.close()
    meters, ids, tally = Meters(etcd.endpoints[0]), deque(f"{number:032x}" for number in range(IDS)), Tally()
    before, cpu, began = meters.read(), cpu_seconds(server.pid), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(load.connections):
            tasks.create_task(_work(server, load, ids, tally, began + load.seconds))
    took, after = time.perf_counter() - began, meters.read()
    return Outcome(
        connections=load.connections,
        seconds=took,
        tally=tally,
        server=resident(server.pid),
        server_cpu=cpu_seconds(server.pid) - cpu,
        etcd=after.memory,
        etcd_requests=sum(after.since(before).values()),
        written=history.semaphores(etcd, load.group),
    )


async def _work(server: FleetLockServer, load: Load, ids: deque[str], tally: Tally, until: float) -> None:
    connection = Connection(*await asyncio.open_connection("127.0.0.1", server.port), load.group)
    while time.perf_counter() < until:
        client = ids.popleft()
        for again in itertools.count():
            if again:
                await asyncio.sleep(PAUSE)
            if await _is_granted(connection, client, tally) or not load.patient or time.perf_counter() > until:
                break
        status, kind, took = await connection.call("steady-state", client)
        tally.steady_state.append(took)
        if status != GRANTED:
            tally.problems.append(f"steady-state: {status} {kind}")
        ids.append(client)
    connection.close()


async def _is_granted(connection: Connection, client: str, tally: Tally) -> bool:
    status, kind, took = await connection.call("pre-reboot", client)
    tally.pre_reboot.append(took)
    tally.granted += status == GRANTED
    if status != GRANTED:
        tally.refusals[kind] += 1
    if kind == STORE:
        tally.problems.append(f"pre-reboot: {status} {kind}")
    return status == GRANTED


def _p99(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100)[98] if len(times) > 1 else max(times, default=0.0)


def _show(outcome: Outcome) -> bool:
    tally, seconds = outcome.tally, outcome.seconds
    grants, requests, takes = tally.granted / seconds, len(tally.calls) / seconds, len(tally.pre_reboot)
    refused = 100 * (1 - tally.granted / takes) if takes else 0.0
    theirs = dict(zip(("grants", "requests", "refused", "p99"), AIRLOCK[outcome.connections], strict=True))
    print(
        f"{outcome.connections} connections: {grants:.1f} grants/s (airlock {theirs['grants']}), "
        f"{requests:.0f} requests/s ({theirs['requests']}), {refused:.0f}% of takes refused ({theirs['refused']}%), "
        f"p99 {_p99(tally.calls):.0f} ms ({theirs['p99']})"
    )
    print(
        f"  pre-reboot p50 {statistics.median(tally.pre_reboot):.0f} p99 {_p99(tally.pre_reboot):.0f} ms, "
        f"steady-state p50 {statistics.median(tally.steady_state):.0f} p99 {_p99(tally.steady_state):.0f} ms; "
        f"refusals: {dict(tally.refusals)}"
    )
    print(
        f"  server {outcome.server:.0f} MiB, {100 * outcome.server_cpu / seconds:.0f}% of a core; etcd "
        f"{outcome.etcd:.0f} MiB, {outcome.etcd_requests / max(1, tally.granted):.0f} requests for each grant"
    )
    for problem, count in Counter(outcome.problems).most_common(5):
        print(f"  PROBLEM: {problem}{f' ({count} times)' if count > 1 else ''}")
    if len(outcome.problems) > 5:  # noqa: PLR2004 - as many as are shown
        print(f"  {len(outcome.problems)} problems in all")
    return not outcome.problems


if __name__ == "__main__":
    main()
