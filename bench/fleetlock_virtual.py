"""`python -m bench.fleetlock_virtual [--seconds S]`: the load of bench.fleetlock on FleetLock's rules, in virtual time.

The store is in memory: a read takes 0.7 ms and a write 3 ms, as of an etcd on disk, and nothing else takes time. So the
figures are the same on every machine, however busy it is. They show what the protocol with the store costs (requests,
lost races, waits), and no CPU time. No server on one machine is faster than this.
"""

import asyncio
import statistics
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network

import click

from bench.fleetlock import CONNECTIONS, IDS, PAUSE, SLOTS
from locksmith.config.model import Config
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.errors import ConflictError
from locksmith.host.paths import Paths
from locksmith.lock.admin import LockAdmin
from locksmith.lock.guarded import Guarded
from locksmith.server.desk import Desk
from locksmith.server.refusal import Refusal
from locksmith.store.memory import Call, MemoryServer, MemoryStore, T
from tests.sim import virtual_time

READ, WRITE = 0.0007, 0.003
"""Seconds for a request to the store."""
GROUP = "bench"


@dataclass
class Network:
    """Every request takes its time; it counts them, and those that lost a race."""

    requests: int = 0
    lost: int = 0

    async def carry(self, call: Call[T]) -> T:
        """Bring one call to the server."""
        await asyncio.sleep(WRITE if call.write or call.name == "lend" else READ)
        self.requests += 1
        try:
            return call.apply()
        except ConflictError:
            self.lost += 1
            raise


@dataclass
class Tally:
    """What the clients were told: seconds of each call, and the kinds of refusals."""

    seconds: list[float] = field(default_factory=list)
    granted: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


@click.command()
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1), help="How long each run is.")
def main(seconds: float) -> None:
    """Show grants per second, refusals, the slowest calls, and what a grant costs the store."""
    for patient in (False, True):
        print("a refused client calls again" if patient else "a refused client calls steady-state")
        for count in CONNECTIONS:
            virtual_time.run(partial(_run, count, seconds, patient))


async def _run(count: int, seconds: float, patient: bool, _loop: object) -> None:
    network = Network()
    store = MemoryStore(MemoryServer(), network)
    await LockAdmin(Guarded(store, GROUP)).set_max(SLOTS)
    groups = {GROUP: ServedGroup(clients=(ip_network("0.0.0.0/0"),))}
    desk = Desk(Config(server=ServerSettings(groups=groups)), Paths.from_environment(), store=store)
    ids, tally = deque(f"{number:032x}" for number in range(IDS)), Tally()
    network.requests = network.lost = 0
    until = _now() + seconds
    await asyncio.gather(*(_work(desk, ids, tally, until, patient=patient) for _ in range(count)))
    await desk.close()
    grants, calls = max(1, tally.granted), len(tally.seconds)
    print(
        f"  {count} connections: {tally.granted / seconds:.1f} grants/s, {calls / seconds:.0f} requests/s; "
        f"p50 {1000 * statistics.median(tally.seconds):.0f}, "
        f"p99 {1000 * statistics.quantiles(tally.seconds, n=100)[98]:.0f} ms; "
        f"{network.requests / grants:.0f} requests to the store and {network.lost / grants:.1f} lost races for each "
        f"grant; refusals: {dict(tally.refusals)}"
    )


async def _work(desk: Desk, ids: deque[str], tally: Tally, until: float, *, patient: bool) -> None:
    while _now() < until:
        client = ids.popleft()
        granted = await _is_granted(desk, client, tally)
        while patient and not granted and _now() < until:
            await asyncio.sleep(PAUSE)
            granted = await _is_granted(desk, client, tally)
        began = _now()
        _note(tally, began, await desk.steady_state(GROUP, client))
        ids.append(client)


async def _is_granted(desk: Desk, client: str, tally: Tally) -> bool:
    began = _now()
    refusal = await desk.pre_reboot(GROUP, client)
    _note(tally, began, refusal)
    tally.granted += refusal is None
    return refusal is None


def _note(tally: Tally, began: float, refusal: Refusal | None) -> None:
    tally.seconds.append(_now() - began)
    if refusal is not None:
        tally.refusals[refusal.kind.value] += 1


def _now() -> float:
    return asyncio.get_running_loop().time()


if __name__ == "__main__":
    main()
