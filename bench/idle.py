"""`python -m bench.idle [--daemons N] [--minutes M]`: what daemons that have nothing to do ask of etcd.

Real: etcd on v3, and for each daemon the loop, the strategy, the presence and their stores, all in one process. Made up
is the machine below each: it is up, wants nothing, and has its journal in memory. A heartbeat more than ten minutes is
watched, so that the second request of each, which comes at ten minutes, is counted.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import click

from bench.meters import Meters, Reading
from locksmith.agent.facts import Boot, RebootNeed, ShutdownState, TriggerResult
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import PreRebootState
from locksmith.agent.loop import Agent
from locksmith.agent.permit import Permit
from locksmith.agent.ports import HEARTBEAT, Ports
from locksmith.agent.settings import Settings
from locksmith.agent.strategy import Strategy, StrategyContext
from locksmith.host.clock import local_clock
from locksmith.lock.connect import open_queued_lock
from locksmith.lock.presence import Presence
from locksmith.store.connect import open_store
from locksmith.store.settings import StoreSettings
from locksmith_strategies.etcd_lock import EtcdLock
from tests.harness.etcd import Etcd
from tests.sim.machine import Disk, SimJournal

GROUP = "bench"
AIM = 1.0
"""Requests of one daemon in five minutes."""
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


@click.command()
@click.option("--daemons", default=200, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--minutes", default=10.5, show_default=True, type=click.FloatRange(0.5), help="How long to watch.")
def main(daemons: int, minutes: float) -> None:
    """Count what idle daemons ask of etcd."""
    with Etcd() as etcd:
        asyncio.run(measure(etcd, daemons, minutes))


async def measure(etcd: Etcd, daemons: int, minutes: float) -> None:
    """Let them come, and count from when all are there."""
    meters = Meters(etcd.endpoints[0])
    empty = meters.read()
    running = [asyncio.ensure_future(_agent(etcd.settings(), number).run()) for number in range(daemons)]
    came = await _all_there(meters, daemons)
    await asyncio.sleep(60 * minutes)
    later = meters.read()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    _show(daemons, minutes, (empty, came, later))


def _agent(settings: StoreSettings, number: int) -> Agent:
    machine = Machine(f"node-{number:05}.example")
    member = Member(uuid.UUID(int=number).hex, machine.name)

    def strategy(target: Target) -> Strategy:
        return EtcdLock(StrategyContext(target.group, lambda: open_queued_lock(settings, target.group)))

    ports = Ports(
        machine=machine,
        triggers=(machine,),
        journal=SimJournal(member.machine_id, Disk(), lambda _moment: None),
        strategy=strategy,
        clock=local_clock(),
        presence=Presence(open_store(settings), GROUP, member.machine_id),
    )
    return Agent(member, Target("etcd-lock", GROUP, settings.api, settings.endpoints), Settings("etcd-lock"), ports)


async def _all_there(meters: Meters, daemons: int) -> Reading:
    """Wait until each has written its presence, and nothing more comes of it."""
    async with asyncio.timeout(START_LIMIT):
        while (seen := meters.read()).requests["Txn"] < daemons:  # noqa: ASYNC110 - etcd tells nobody what it counts
            await asyncio.sleep(1)
    return seen


def _show(daemons: int, minutes: float, readings: Sequence[Reading]) -> None:
    empty, came, later = readings
    start, rest = came.since(empty), later.since(came)
    each = sum(rest.values()) / daemons / (minutes / 5)
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
