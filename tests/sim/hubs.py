"""What a server shares between its machines, in the simulation: the real hub, on a way to the store of its own.

Its watches lag, stay silent, break, and are given by members that lag. It stands still and dies with its server. All
its chance is of its own, so whatever it draws leaves the fate of the others as it was.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from locksmith.errors import StoreUnavailableError
from locksmith.host.http_server import HttpAnswer
from locksmith.lock import machine_wire as wire
from locksmith.server.hub import Hub
from locksmith.server.ports import MachineDesk
from locksmith.store.feed import Batch, Hear, Opened
from locksmith.store.protocol import Observer
from locksmith.util.jsonread import load_object
from tests.sim.behalf import ACTS_FOR, Behalf
from tests.sim.daemon import GROUP, KilledError
from tests.sim.desks import Run
from tests.sim.hub_rules import Answered, HubRules
from tests.sim.machine_wire import Routes
from tests.sim.network import Network, SimServer, SimStore
from tests.sim.plan import Faults

SELDOM = 0.1
"""How much more seldom a server dies at a call of its own than at one for a machine: it makes many more of them."""
AT_LEND = "while it waits for an answer to its lend"
AT_LEND_FOR = (60.0, 230.0)
"""Seconds for which a server stands still there: less than its lease lasts."""
LONGEST_LAG = 30.0
"""Seconds by which a watch lags, at most: a few more than those for which what is known counts as current."""


@dataclass
class Around:
    """One run of a server, as its hub meets it."""

    run: Run
    rng: Random
    faults: Callable[[], Faults]

    async def pause(self, where: str) -> None:
        """Stand still with the server, or die: for a machine's call as all do, and seldom for a call of its own."""
        if ACTS_FOR.get() is not None:
            await self.run.pause(where)
            return
        server = self.run.server
        if where == AT_LEND and self.faults().lend_freezes and self.rng.random() < self.faults().lend_freezes:
            server.freeze(self.rng.uniform(*AT_LEND_FOR))
        await server.stand_still()
        if self.run.alive and self.rng.random() < self.faults().crash * SELDOM:
            server.kill(where)
        if not self.run.alive:
            raise KilledError

    def late(self) -> float | None:
        """Draw the seconds by which the next watch lags; None: it never tells anything."""
        if self.rng.random() >= self.faults().watch_lags:
            return 0.0
        return self.rng.choice((None, self.rng.uniform(0.1, 3), self.rng.uniform(3, LONGEST_LAG)))

    def breaks(self, limit: float) -> float | None:
        """Draw the seconds after which the next watch breaks; None: it lasts for as long as it is wanted."""
        return self.rng.uniform(0, limit) if self.rng.random() < self.faults().watch_breaks else None


@dataclass
class _Watch:
    """One watch, as its server hears it: in order, `lag` seconds late, and nothing while the server stands still.

    `lag` None: it tells nothing. `member`: the revision at which the member that gives it says to be.
    """

    hear: Hear
    around: Around
    network: Network
    lag: float | None
    member: int | None
    due: float = 0.0
    ended: bool = False
    waiting: int = field(default=0)

    def told(self, told: Opened | Batch) -> None:
        """Take what the store tells."""
        loop = asyncio.get_running_loop()
        if self.lag is None or self.network.outages.now(self.network.client):
            self.lag = None  # a connection that was cut tells nothing any more
            return
        if isinstance(told, Opened) and self.member is not None:
            self.hear(Opened(min(told.revision, self.member)))
            return
        now = loop.time()
        self.due = max(self.due, now + self.lag, self.around.run.server.frozen_until)
        if self.due <= now and not self.waiting:
            self.hear(told)
            return
        self.waiting += 1
        loop.call_at(self.due, self._deliver, told)

    def _deliver(self, told: Opened | Batch) -> None:
        loop, until = asyncio.get_running_loop(), self.around.run.server.frozen_until
        if loop.time() < until:
            loop.call_at(until, self._deliver, told)
            return
        self.waiting -= 1
        if not self.ended and self.around.run.alive:
            self.hear(told)


class HubStore(SimStore):
    """A server's way to the store, for itself and for its machines."""

    def __init__(self, server: SimServer, network: Network, around: Around, observer: Observer) -> None:
        super().__init__(server, network, observer)
        self._network, self._around, self._store = network, around, server

    async def feed(self, prefix: str, after: int, hear: Hear, *, limit: float) -> None:
        """Tell each change below a prefix, as the chance of this watch allows.

        A member that lags knows of a change later, and one that is frozen knows of none: the store in memory would tell
        at once that it has forgotten what was missed.
        """
        around = self._around
        lag, breaks = around.late(), around.breaks(limit)
        if lag is None or (lag and self._store.changed(prefix, after, prefix=True)):
            await self._network.pause("while it waits for a watch")
            await asyncio.sleep(limit if lag is None else min(lag, limit))
            return
        behind = lag is not None and lag > 0 and around.rng.random() < 0.5
        member = self._store.revision_at(asyncio.get_running_loop().time() - lag) if lag and behind else None
        watch = _Watch(hear, around, self._network, lag, member)
        try:
            await super().feed(prefix, after, watch.told, limit=limit if breaks is None else breaks)
        finally:
            watch.ended = True
        if breaks is not None:
            raise StoreUnavailableError("the connection of the watch is broken")


class HubRoutes(Routes):
    """The HTTP side of one run of a server that has a hub.

    What it is about to send while it stands still goes out later.
    """

    def __init__(self, desk: MachineDesk, hub: Hub, run: Run, rules: HubRules) -> None:
        super().__init__(desk, GROUP)
        self._hub, self._run, self._rules = hub, run, rules
        hub.start()

    async def answer(self, behalf: Behalf, body: bytes, gone: asyncio.Event) -> HttpAnswer:
        """Answer a call."""
        server = self._run.server
        asked = load_object(body)
        call = Answered(
            server.name,
            behalf.machine,
            behalf.call,
            asked["store"]["revision"],
            self._rules.server.revision,
            self._works_since,
            asked["key"] if asked.get("write") == "renew" else "",
        )
        if behalf.call in (wire.REQUEST, wire.WAIT):
            self._rules.calls(behalf.machine)
        answer = await super().answer(behalf, body, gone)
        self._rules.answered(call, load_object(answer.body))
        await server.stand_still()
        return answer

    def _works_since(self, time: float) -> bool:
        return self._run.alive and self._run.server.frozen_until < time

    def kill(self) -> None:
        """End what goes on by itself, as `kill -9` does: it writes nothing any more."""
        asyncio.ensure_future(self._hub.close())  # noqa: RUF006 - it ends at once, and no task waits for it
