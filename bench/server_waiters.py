"""`python -m bench.server_waiters [--machines N] [--tls]`: what machines cost that wait at one locksmith-server.

Real: etcd on v3, a locksmith-server with its credentials and its HTTP, a connection of its own for each machine, and
what the daemon's strategy `server` asks. The machines are coroutines of this process, and keep no files. Their
credentials, their presence and their places in the queue are written straight to etcd, as they would have written them
one by one. Each prolongs its presence as a daemon does, every 300 to 330 seconds.

Ten machines come first, and then as many as `--machines` says. Of both are printed: the memory of the server and of
etcd, the requests that etcd gets while all wait (its own figures), and the time from the answer to a machine that has
rebooted until the next has its slot. The aims are those of 10,000 machines on a machine that does nothing else.

The machines of the benchmark share the processors with the server. So it tells what they used, and how late the event
loop of the benchmark was while slots were handed over: each of the few answers of a hand-over is read so late.
"""

import asyncio
import json
import random
import resource
import ssl
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from bench.lanes import open_lane
from bench.meters import Meters
from bench.processes import cpu_seconds, resident
from locksmith.lock import machine_wire as wire
from locksmith.lock import places
from locksmith.lock.presence import KEEP_AFTER
from locksmith.lock.records import credential, keys, node, waiter
from locksmith.lock.records.claim import COMMITTED, DAEMON, REBOOT, Claim
from locksmith.lock.records.credential import MACHINE, Credential
from locksmith.lock.records.node import TTL, Node
from locksmith.lock.records.states import WAITING
from locksmith.lock.records.waiter import Waiter
from locksmith.server.machine_desk import PLACE_TTL
from locksmith.store import etcd3, etcd3_wire
from locksmith.store.protocol import ABSENT, Position, Put
from locksmith.util import tokens
from locksmith.util.tokens import Kind
from tests.harness.certificates import Authority
from tests.harness.etcd import Etcd
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer

GROUP, BOOT = "bench", "a boot"
WAITS = {"queue", "slot"}
"""Why a machine that waits is told to: nothing else holds it back."""
FEW = 10
AT_ONCE = 1000
"""Machines that come at one moment."""
TOGETHER = 25
"""Machines that are written in one transaction."""
COMING_LIMIT = 400.0
"""Seconds within which all have come."""
SETTLES = 30.0
"""Seconds until all places have the server's lease."""
LEASE = 3600
"""Seconds: longer than the benchmark."""
CALL_LIMIT = 60.0
"""Seconds for a call that is made again until it is done."""
ASK_AFTER = 60.0
"""Seconds after which a machine asks again, as the strategy does."""
LATER = 30.0
"""Seconds by which a daemon may prolong its presence later: it looks so often."""
ROUND = 60.0
"""Seconds for which requests are counted: a whole number of a mirror's rounds, which begin every ten seconds."""
HAND_OVERS = 30
LATE_AFTER = 0.002
"""Seconds between two checks of how late the benchmark's own event loop is."""
AIM_MEMORY, AIM_P50, AIM_P99 = 400.0, 0.015, 0.080
"""MiB, and seconds."""


@dataclass
class Machine:
    """A daemon that waits for a slot."""

    number: int
    token: str = ""
    tls: ssl.SSLContext | None = None
    at: Position = field(default_factory=lambda: Position(0))
    granted: "asyncio.Queue[Machine] | None" = None
    had: float = 0.0
    errors: list[str] = field(default_factory=list)
    version: int = 0
    """The version of its presence."""

    def __post_init__(self) -> None:
        """Make its claim."""
        self.id = f"{self.number:032x}"
        now = datetime.now(UTC).replace(microsecond=0)
        self.came = asyncio.Event()
        self.claim = Claim(self.id, REBOOT, f"nonce-{self.number}", now, who=DAEMON, hostname=f"host-{self.number}")

    async def connect(self, url: str) -> None:
        """Open its connection."""
        where = urlsplit(url)
        self.reader, self.writer = await asyncio.open_connection(where.hostname, where.port, ssl=self.tls, limit=4096)
        self.url, self.host = url, where.netloc

    async def call(self, call: str, claim: Claim | None, **fields: Any) -> dict[str, Any]:
        """Make a call; once more where the server has closed a connection that was idle."""
        try:
            return await self._call(call, claim, **fields)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.errors.append(repr(error))
            self.writer.close()
            await self.connect(self.url)
            return await self._call(call, claim, **fields)

    async def _call(self, call: str, claim: Claim | None, **fields: Any) -> dict[str, Any]:
        body = wire.encode_call(self.at, claim, **fields)
        head = (
            f"POST /machines/v1/{GROUP}/{call} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        said: dict[str, Any] = json.loads(await self.reader.readexactly(length))
        if " 200 " not in answer.partition("\r\n")[0]:
            raise RuntimeError(f"{call}: {answer.splitlines()[0]}: {said}")
        if isinstance(store := said.get("store"), dict):
            self.at = Position(max(self.at.revision, int(store["revision"])), str(store["cluster"]))
        if "connection: close" in answer:
            self.writer.close()
            await self.connect(self.url)
        return said

    async def run(self) -> None:
        """Wait for a slot, as the strategy does."""
        while True:
            try:
                if await self._ask():
                    self.had = time.perf_counter()
                    if self.granted is not None:
                        self.granted.put_nowait(self)
                    self.came.set()
                    return
                self.came.set()
                await self._wait()
            except (RuntimeError, OSError, asyncio.IncompleteReadError) as error:
                self.errors.append(repr(error))
                await asyncio.sleep(1)

    async def _ask(self) -> bool:
        await self.call(wire.READ, None, keys=[keys.resume_key(GROUP), keys.semaphore_key(GROUP)])
        answer = await self.call(wire.REQUEST, self.claim)
        if answer["answer"] != wire.GRANTED and answer["code"] not in WAITS:
            raise RuntimeError(f"a machine of the benchmark is held back: {answer}")
        return bool(answer["answer"] == wire.GRANTED)

    async def _wait(self) -> None:
        ends = time.perf_counter() + ASK_AFTER
        while (left := ends - time.perf_counter()) > 0:
            if (await self.call(wire.WAIT, self.claim, seconds=min(50.0, left))).get("changed") is not False:
                return

    async def show(self) -> None:
        """Prolong its presence again and again, over connections of their own, from a moment that chance decides."""
        rng = random.Random(self.number)
        await asyncio.sleep(rng.uniform(0, KEEP_AFTER))
        key = keys.node_key(GROUP, self.id)
        while True:
            link = Machine(self.number, token=self.token, tls=self.tls)
            try:
                await link.connect(self.url)
                await link.call(wire.PRESENCE, None, write="renew", key=key, version=self.version, ttl=TTL)
            except (RuntimeError, OSError, asyncio.IncompleteReadError) as error:
                self.errors.append(repr(error))
            link.writer.close()
            await asyncio.sleep(KEEP_AFTER + rng.uniform(0, LATER))

    async def reboot(self) -> float:
        """Go down and come back; gives when the answer to that came."""
        await self._until_done(wire.COMMIT, self.claim)
        await self._until_done(wire.COMPLETE, replace(self.claim, state=COMMITTED, commits=1))
        return time.perf_counter()

    async def _until_done(self, call: str, claim: Claim) -> None:
        ends = time.perf_counter() + CALL_LIMIT
        while True:
            try:
                await self.call(call, claim)
            except RuntimeError as error:
                self.errors.append(repr(error))
                if time.perf_counter() > ends:
                    raise
                await asyncio.sleep(1)
            else:
                return


@dataclass(frozen=True, slots=True)
class Cost:
    """What was measured: MiB, requests per second by method, shares of a core, and seconds.

    `cores` are those of the server, of etcd and of the benchmark; `late` is how late its own event loop was.
    """

    server: float
    etcd: float
    requests: dict[str, float]
    cores: tuple[float, float, float]
    hand_overs: list[float]
    late: list[float]


@click.command()
@click.option("--machines", default=10_000, show_default=True, type=click.IntRange(2 * FEW), help="How many wait.")
@click.option("--seconds", default=ROUND, show_default=True, help="For how long etcd's requests are counted.")
@click.option("--tls", is_flag=True, help="The machines speak TLS.")
def main(machines: int, seconds: float, *, tls: bool) -> None:
    """Measure few machines, and many."""
    _have_descriptors(machines)
    costs = {}
    for number in (FEW, machines):
        with tempfile.TemporaryDirectory() as folder, Etcd() as etcd:
            authority = Authority(Path(folder)) if tls else None
            with _Quiet(etcd, {GROUP: ANYBODY}, server=_files(authority)) as server:
                context = ssl.create_default_context(cafile=authority.cert) if authority else None
                costs[number] = asyncio.run(measure(etcd, server, number, seconds, context))
        _show(number, costs[number])
    few, many = costs[FEW], costs[machines]
    total = sum(many.requests.values()) / max(1e-9, sum(few.requests.values()))
    print(f"requests to etcd, to those with {FEW}: {total:.2f} times")
    p50, p99 = _quantiles(many.hand_overs)
    for what, value, aim in (
        ("server, MiB", many.server, AIM_MEMORY),
        ("hand-over p50, ms", 1000 * p50, 1000 * AIM_P50),
        ("hand-over p99, ms", 1000 * p99, 1000 * AIM_P99),
    ):
        print(f"{what}: {value:.0f}, aim {aim:.0f}: {'met' if value <= aim else 'MISSED'}")


class _Quiet(FleetLockServer):
    """A server that logs what a server logs by default."""

    def command(self, *_debug: str) -> list[str]:
        """Give its command."""
        return super().command()


def _files(authority: Authority | None) -> dict[str, str]:
    if authority is None:
        return {}
    pair = authority.issue("server")
    return {"certfile": str(pair.cert), "keyfile": str(pair.key)}


def _have_descriptors(machines: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = machines + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise click.UsageError(f"this process may open {hard} files, and needs {wanted}: see `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


async def measure(
    etcd: Etcd, server: FleetLockServer, number: int, seconds: float, tls: ssl.SSLContext | None = None
) -> Cost:
    """Let so many come, wait, and reboot one after another."""
    granted: asyncio.Queue[Machine] = asyncio.Queue()
    machines = [Machine(one + 1, granted=granted, tls=tls) for one in range(number)]
    await _write(etcd.endpoints[0], machines)
    began = time.perf_counter()
    running = await _come(server.url, machines)
    came = time.perf_counter() - began
    this = await granted.get()
    meters = Meters(etcd.endpoints[0])
    await asyncio.sleep(SETTLES)
    before, used, began, own = meters.read(), cpu_seconds(server.pid), time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    after = meters.read()
    lasted = time.perf_counter() - began
    requests = {method: count / lasted for method, count in after.since(before).items()}
    shares = (cpu_seconds(server.pid) - used, after.cpu - before.cpu, time.process_time() - own)
    cores = (shares[0] / lasted, shares[1] / lasted, shares[2] / lasted)
    print(f"  {number} came in {came:.0f} s; {_errors(machines)}", flush=True)
    taken, late = list[float](), list[float]()
    watching = asyncio.create_task(_watch_own_loop(late))
    for _ in range(min(number - 1, HAND_OVERS)):
        at = await this.reboot()
        async with asyncio.timeout(60):
            this = await granted.get()
        taken.append(this.had - at)
    memory = resident(server.pid)
    print(f"  at the end: {_errors(machines)}", flush=True)
    for task in (*running, watching):
        task.cancel()
    await asyncio.gather(*running, watching, return_exceptions=True)
    for machine in machines:
        machine.writer.transport.abort()
    return Cost(memory, after.memory, requests, cores, taken, late)


async def _watch_own_loop(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + LATE_AFTER
        await asyncio.sleep(LATE_AFTER)
        late.append(max(0.0, time.perf_counter() - due))


async def _write(url: str, machines: Sequence[Machine]) -> None:
    """Write the machines' credentials, as the server does, and their places, as they do."""
    lane = await open_lane(url)
    for start in range(0, len(machines), TOGETHER):
        some = machines[start : start + TOGETHER]
        lease, _ = etcd3_wire.granted(await lane.post(etcd3.GRANT, {"TTL": str(LEASE)}))
        leased = [put for machine in some for put in _place(machine)]
        puts = [*leased, *map(_credential, some)]
        done = await lane.post(etcd3.TXN, etcd3_wire.transaction(puts, lease, leased=len(leased)))
        for machine in some:
            machine.version = int(done["header"]["revision"])
    lane.close()


def _credential(machine: Machine) -> Put:
    token = tokens.new_token(Kind.MACHINE, tokens.public_of_machine(GROUP, machine.id))
    new = Credential(role=MACHINE, holder=machine.id, digest=token.digest, since=datetime.now(UTC), groups=(GROUP,))
    machine.token = token.text
    return Put(keys.machines_prefix() + token.public, credential.encode(new), ABSENT)


def _place(machine: Machine) -> list[Put]:
    """Give its presence, and its place with its ticket."""
    place = waiter.encode(Waiter.of(machine.claim, "1", int(PLACE_TTL)))
    shown = Node(machine.id, f"host-{machine.number}", BOOT, GROUP, "server", WAITING, machine.claim.since)
    return [
        Put(keys.node_key(GROUP, machine.id), node.encode(shown), ABSENT),
        Put(places.place_key(GROUP, machine.claim, machine.number), place, ABSENT),
        Put(places.ticket_key(GROUP, machine.claim), str(machine.number).encode(), ABSENT),
    ]


async def _come(url: str, machines: Sequence[Machine]) -> list[asyncio.Task[None]]:
    """Let all come, not too many at one moment."""
    running, room = [], asyncio.Semaphore(AT_ONCE)

    async def come(machine: Machine) -> None:
        with suppress(asyncio.CancelledError):
            await machine.came.wait()
        room.release()

    async with asyncio.timeout(COMING_LIMIT):
        coming = []
        for machine in machines:
            await room.acquire()
            await machine.connect(url)
            running += [asyncio.create_task(machine.run()), asyncio.create_task(machine.show())]
            coming.append(asyncio.create_task(come(machine)))
        await asyncio.gather(*coming)
    return running


def _errors(machines: Sequence[Machine]) -> str:
    """Count the errors that machines met, and quote one of each kind."""
    met = Counter(error for machine in machines for error in machine.errors)
    return f"errors: {met.total()}{''.join(f'; {number} times {error}' for error, number in met.most_common(3))}"


def _quantiles(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), sorted(times)[min(len(times) - 1, int(0.99 * len(times)))]


def _show(number: int, cost: Cost) -> None:
    p50, p99 = _quantiles(cost.hand_overs)
    late50, late99 = _quantiles(cost.late)
    asked = ", ".join(f"{method} {rate:.2f}" for method, rate in cost.requests.items())
    rate = sum(cost.requests.values())
    print(
        f"{number:6,} machines: server {cost.server:.0f} MiB, {100 * cost.cores[0]:.0f} % of a core; etcd "
        f"{cost.etcd:.0f} MiB, {100 * cost.cores[1]:.0f} %; hand-over p50 {1000 * p50:.0f} ms, "
        f"p99 {1000 * p99:.0f} ms\n  the benchmark: {100 * cost.cores[2]:.0f} % of a core, its event loop late by "
        f"{1000 * late50:.1f} ms (p50), {1000 * late99:.0f} ms (p99)\n"
        f"  requests to etcd per second: {rate:.2f} ({asked})",
        flush=True,
    )


if __name__ == "__main__":
    main()
