"""`python -m bench.idle [--strategy server] [--daemons N] [--minutes M]`: what idle daemons ask of etcd.

With the strategy `server` they ask a real locksmith-server. What that asks of etcd for itself is counted before the
daemons come, and is told apart.

Real: etcd on v3, and for each daemon the loop, the strategy, the presence and their stores, all in one process. Made up
is the machine below each: it is up, wants nothing, and has its journal in memory. A heartbeat more than ten minutes is
watched, so that the second request of each, which comes at ten minutes, is counted.
"""

import asyncio
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from bench.meters import Meters, Reading
from bench.processes import cpu_seconds, resident
from locksmith.agent.facts import Boot, RebootNeed, ShutdownState, TriggerResult
from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import PreRebootState
from locksmith.agent.loop import Agent
from locksmith.agent.permit import Permit
from locksmith.agent.ports import HEARTBEAT, Ports
from locksmith.agent.settings import Settings
from locksmith.agent.strategy import Strategy, StrategyContext
from locksmith.host.clock import local_clock
from locksmith.host.server_client import ServerClient
from locksmith.host.server_store import ServerStore
from locksmith.lock.connect import open_queued_lock
from locksmith.lock.presence import Presence
from locksmith.lock.records import credential, keys
from locksmith.lock.records.credential import MACHINE, Credential
from locksmith.store.connect import open_store
from locksmith.store.protocol import Expecting, Store
from locksmith.util import tokens
from locksmith.util.tokens import Kind
from locksmith_strategies.etcd_lock import EtcdLock
from locksmith_strategies.server import Server
from tests.harness.etcd import Etcd
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.sim.machine import Disk, SimJournal

GROUP = "bench"
AIM = 1.0
"""Requests of one daemon in five minutes."""
ALONE = 60.0
"""Seconds for which a server without machines is watched."""
START_LIMIT = 120.0
"""Seconds until all daemons are there."""


@dataclass(slots=True)
class Machine:
    """A machine that is up and wants nothing."""

    name: str
    where: Boot = field(default_factory=lambda: Boot(str(uuid.uuid4())))

    async def boot(self) -> Boot:
        """Give the one boot it ever has."""
        return self.where

    async def shutdown_state(self) -> ShutdownState:
        """Stay up."""
        return ShutdownState.RUNNING

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        """Say how it is."""
        return PreRebootState(need.trigger if need else "")

    def system(self) -> str:
        """Say what runs."""
        return ""

    async def reboot(self, permit: Permit) -> None:  # noqa: ARG002 - part of the interface
        """Never come to this."""
        raise AssertionError(f"{self.name} was to be idle")

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Want nothing."""
        return TriggerResult()


@dataclass(frozen=True, slots=True)
class Way:
    """How daemons reach the lock: a strategy for a machine id, and the store of its presence."""

    name: str
    strategy: Callable[[str, Target], Strategy]
    store: Callable[[str], Store]
    server: FleetLockServer | None = None


@contextmanager
def _direct(etcd: Etcd) -> Iterator[Way]:
    settings = etcd.settings()

    def strategy(_machine: str, target: Target) -> Strategy:
        return EtcdLock(StrategyContext(target.group, lambda: open_queued_lock(settings, target.group)))

    yield Way("etcd-lock", strategy, lambda _machine: open_store(settings))


@contextmanager
def _through_a_server(etcd: Etcd, daemons: int) -> Iterator[Way]:
    with tempfile.TemporaryDirectory() as folder, FleetLockServer(etcd, {GROUP: ANYBODY}) as server:
        asyncio.run(_enrol(etcd, daemons, Path(folder)))

        def settings(machine: str) -> FleetServerSettings:
            return FleetServerSettings((server.url,), token_file=Path(folder) / machine)

        def strategy(machine: str, target: Target) -> Strategy:
            return Server(StrategyContext(target.group, _no_lock, fleet_server=settings(machine)))

        def store(machine: str) -> Store:
            return ServerStore(ServerClient(settings(machine), GROUP, Expecting(str)))

        yield Way("server", strategy, store, server)


def _no_lock() -> Any:
    raise AssertionError("a machine without etcd has no lock of its own")


async def _enrol(etcd: Etcd, daemons: int, folder: Path) -> None:
    store = open_store(etcd.settings())
    for number in range(daemons):
        machine = uuid.UUID(int=number).hex
        token = tokens.new_token(Kind.MACHINE, tokens.public_of_machine(GROUP, machine))
        new = Credential(role=MACHINE, holder=machine, digest=token.digest, since=datetime.now(UTC), groups=(GROUP,))
        await store.create(keys.machines_prefix() + token.public, credential.encode(new))
        (folder / machine).write_text(token.text)
        (folder / machine).chmod(0o600)
    await store.close()


@click.command()
@click.option("--strategy", default="etcd-lock", show_default=True, type=click.Choice(["etcd-lock", "server"]))
@click.option("--daemons", default=200, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--minutes", default=10.5, show_default=True, type=click.FloatRange(0.5), help="How long to watch.")
def main(strategy: str, daemons: int, minutes: float) -> None:
    """Count what idle daemons ask of etcd."""
    with Etcd() as etcd, _through_a_server(etcd, daemons) if strategy == "server" else _direct(etcd) as way:
        asyncio.run(measure(etcd, way, daemons, minutes))


async def measure(etcd: Etcd, way: Way, daemons: int, minutes: float) -> None:
    """Let them come, and count from when all are there."""
    meters = Meters(etcd.endpoints[0])
    alone = 0.0
    if way.server is not None:
        before = meters.read()
        await asyncio.sleep(ALONE)
        alone = sum(meters.read().since(before).values()) / ALONE
        print(f"a server without machines: {60 * alone:.0f} requests a minute")
    empty = meters.read()
    agents = [_agent(etcd, way, number) for number in range(daemons)]
    running = [asyncio.ensure_future(agent.run()) for agent in agents]
    came = await _all_there(meters, empty, daemons)
    used = cpu_seconds(way.server.pid) if way.server else 0.0
    await asyncio.sleep(60 * minutes)
    later = meters.read()
    if way.server is not None:
        share = (cpu_seconds(way.server.pid) - used) / (60 * minutes)
        print(f"the server: {resident(way.server.pid):.0f} MiB, {100 * share:.1f} % of a core")
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    _show(daemons, minutes, (empty, came, later), alone)


def _agent(etcd: Etcd, way: Way, number: int) -> Agent:
    settings = etcd.settings()
    machine = Machine(f"node-{number:05}.example")
    member = Member(uuid.UUID(int=number).hex, machine.name)

    ports = Ports(
        machine=machine,
        triggers=(machine,),
        journal=SimJournal(member.machine_id, Disk(), lambda _moment: None),
        strategy=partial(way.strategy, member.machine_id),
        clock=local_clock(),
        presence=Presence(way.store(member.machine_id), GROUP, member.machine_id),
    )
    return Agent(member, Target(way.name, GROUP, settings.api, settings.endpoints), Settings(way.name), ports)


async def _all_there(meters: Meters, empty: Reading, daemons: int) -> Reading:
    """Wait until each has written its presence, and nothing more comes of it."""
    async with asyncio.timeout(START_LIMIT):
        while (seen := meters.read()).since(empty).get("LeaseGrant", 0) < daemons:  # noqa: ASYNC110 - etcd can only be asked for its counts
            await asyncio.sleep(1)
    return seen


def _show(daemons: int, minutes: float, readings: Sequence[Reading], alone: float) -> None:
    empty, came, later = readings
    start, rest = came.since(empty), later.since(came)
    each = max(0.0, sum(rest.values()) - 60 * minutes * alone) / daemons / (minutes / 5)
    print(f"{daemons} daemons come: {_words(start)}; {(came.size - empty.size) / daemons:.0f} bytes of database each")
    print(f"{minutes:g} idle minutes: {_words(rest) or 'nothing'}; {later.revision - came.revision} writes")
    print(f"  one daemon in five minutes: {each:.2f} requests (aim {AIM:g}: {'met' if each <= AIM else 'MISSED'})")
    if each:
        print(f"  with one request at each heartbeat it would be {300 / HEARTBEAT / each:.1f} times as many")
    print(f"  etcd used {100 * (later.cpu - came.cpu) / (60 * minutes):.2f} % of a core")


def _words(requests: dict[str, int]) -> str:
    return ", ".join(f"{count} {method}" for method, count in requests.items())


if __name__ == "__main__":
    main()
