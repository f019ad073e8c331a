"""`python -m bench.fleetlock_virtual [--servers N] [--daemon]`: the load of bench.fleetlock, in virtual time.

The store is in memory: a read takes 0.7 ms and a write 3 ms, as of an etcd on disk, and nothing else takes time. So the
figures are the same on every machine, however busy it is. They show what the protocol with the store costs (requests,
lost races, waits), and no CPU time. No server on one machine is faster than this.

With several servers the connections are shared among them. With `--daemon` a daemon takes and releases a slot of the
group as often as it can.
"""

import asyncio
import statistics
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_network

import click

from bench import crowd
from bench.fleetlock import CONNECTIONS, IDS, PAUSE, SLOTS
from bench.scale import presence
from locksmith.config.model import Config
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.errors import ConflictError
from locksmith.host.paths import Paths
from locksmith.lock.admin import LockAdmin
from locksmith.lock.answer import Denied
from locksmith.lock.guarded import Guarded
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, node
from locksmith.lock.records.claim import COMMITTED
from locksmith.server.desk import Desk
from locksmith.server.refusal import Refusal
from locksmith.store.memory import Call, MemoryServer, MemoryStore, T
from locksmith.store.protocol import Store
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
    of_daemon: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What one run asks for."""

    connections: int
    seconds: float
    patient: bool
    servers: int
    daemon: bool


@click.command()
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1), help="How long each run is.")
@click.option("--servers", default=1, show_default=True, type=click.IntRange(1), help="How many servers there are.")
@click.option("--daemon", is_flag=True, help="A daemon takes and releases a slot too, again and again.")
def main(*, seconds: float, servers: int, daemon: bool) -> None:
    """Show grants per second, refusals, the slowest calls, and what a grant costs the store."""
    for patient in (False, True):
        print("a refused client calls again" if patient else "a refused client calls steady-state")
        for count in CONNECTIONS:
            virtual_time.run(partial(_run, Load(count, seconds, patient, servers, daemon)))


async def _run(load: Load, _loop: object) -> None:
    network = Network()
    store = MemoryStore(MemoryServer(), network)
    await LockAdmin(Guarded(store, GROUP)).set_max(SLOTS)
    groups = {GROUP: ServedGroup(clients=(ip_network("0.0.0.0/0"),))}
    config = Config(server=ServerSettings(groups=groups))
    desks = [Desk(config, Paths.from_environment(), store=store) for _ in range(load.servers)]
    ids, tally = deque(f"{number:032x}" for number in range(IDS)), Tally()
    network.requests = network.lost = 0
    until, seconds = _now() + load.seconds, load.seconds
    works = [
        _work(desks[number % len(desks)], ids, tally, until, patient=load.patient) for number in range(load.connections)
    ]
    if load.daemon:
        works.append(_daemon(store, tally, until))
    await asyncio.gather(*works)
    for desk in desks:
        await desk.close()
    grants, calls = max(1, tally.granted), len(tally.seconds)
    print(
        f"  {load.connections} connections: {tally.granted / seconds:.1f} grants/s, {calls / seconds:.0f} requests/s; "
        f"p50 {1000 * statistics.median(tally.seconds):.0f}, "
        f"p99 {1000 * statistics.quantiles(tally.seconds, n=100)[98]:.0f} ms; "
        f"{network.requests / grants:.0f} requests to the store and {network.lost / grants:.1f} lost races for each "
        f"grant; refusals: {dict(tally.refusals)}"
        + (f"; {tally.of_daemon / seconds:.1f} slots/s of the daemon" if load.daemon else "")
    )


async def _daemon(store: Store, tally: Tally, until: float) -> None:
    """Take a slot, commit, and release it, as a daemon does whose reboots take no time."""
    lock = QueuedLock(RebootLock(store, GROUP), Queue(store, GROUP))
    shown = presence(1)
    await store.create(keys.node_key(GROUP, shown.machine_id), node.encode(shown), ttl=900)
    while _now() < until:
        claim = crowd.claim(1)
        while isinstance(await lock.take(claim), Denied) and _now() < until:
            await lock.changed(30)
        if not isinstance(await lock.commit(claim), Denied):
            tally.of_daemon += 1
        await lock.release(
            replace(claim, state=COMMITTED, commits=1), fence_pending=False, why="measured", rebooted=True
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
